"""`manage.py up`: web, worker and scheduler as one foreground command. It restarts what ends, and stops all of it."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

from django.conf import settings

from eltsite.errors import Conflict
from jobs.engine.process import Service, become_subreaper

logger = logging.getLogger("eltsite.up")

TICK_SECONDS = 0.5
START_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = {"web": 8.0, "scheduler": 8.0, "worker": 45.0}


class PortTaken(Conflict):
    """Another program listens on the port."""


class Supervisor:
    """Starts the services and keeps them until a signal comes."""

    def __init__(self, *, bind: str, port: int, with_web: bool = True, with_worker: bool = True) -> None:
        self._bind = bind
        self._port = port
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        self._commands: dict[str, Sequence[str]] = {"scheduler": [*manage, "scheduler"]}
        if with_web:
            self._commands["web"] = [*manage, "web", "--bind", bind, "--port", str(port)]
        if with_worker:
            self._commands["worker"] = [*manage, "worker"]
        self._services: dict[str, Service] = {}
        self._pauses: dict[str, float] = {}
        self._restart_at: dict[str, float] = {}
        self.is_stopping = False

    @property
    def address(self) -> str:
        """Where the pages are."""
        return (
            settings.ELTSITE_BASE_URL
            or f"http://{'localhost' if self._bind in ('127.0.0.1', '0.0.0.0') else self._bind}:{self._port}"
        )

    def start(self) -> None:
        """Start all services; returns when the web server answers. Raises PortTaken."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        become_subreaper()
        if "web" in self._commands:
            self._require_port()
        for name, argv in self._commands.items():
            self._services[name] = Service(argv, name=name)
        if "web" in self._commands:
            self._wait_for_web()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def _require_port(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._bind, self._port))
            except OSError as error:
                raise PortTaken(
                    f"Port {self._port} cannot be used: {error.strerror}. Choose another: --port {self._port + 1}"
                ) from error

    def _wait_for_web(self) -> None:
        host = "127.0.0.1" if self._bind == "0.0.0.0" else self._bind
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and not self.is_stopping:
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex((host, self._port)) == 0:
                    return
            time.sleep(0.1)

    def keep(self) -> None:
        """Restart services that end, each time after a longer pause, until a signal comes."""
        while not self.is_stopping:
            for name, service in list(self._services.items()):
                if service.poll() is not None:
                    self._restart_later(name, service)
            time.sleep(TICK_SECONDS)

    def _restart_later(self, name: str, ended: Service) -> None:
        now = time.monotonic()
        if name not in self._restart_at:
            ran_well = now - ended.started > 60
            pause = 0.0 if ran_well else self._pauses.get(name, 0.0)
            self._pauses[name] = min(max(1.0, pause * 2), LONGEST_PAUSE_SECONDS)
            self._restart_at[name] = now + pause
            logger.warning("%s ended with code %s; started anew in %.0f s", name, ended.poll(), pause)
        if now >= self._restart_at[name]:
            del self._restart_at[name]
            self._services[name] = Service(self._commands[name], name=name)

    def stop(self) -> None:
        """Ask all to end, wait for each as long as it may take, kill what is left."""
        for service in self._services.values():
            service.terminate()
        started = time.monotonic()
        for name, service in self._services.items():
            left = STOP_SECONDS[name] - (time.monotonic() - started)
            if not service.wait(max(0.1, left)):
                logger.warning("%s did not stop and is killed", name)
                service.kill_tree()
