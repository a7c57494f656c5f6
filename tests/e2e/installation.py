"""A real installation around the test database: real workers, schedulers and web servers as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import psutil
from django.conf import settings
from django.db import connection

from jobs.engine.process import marked_processes
from jobs.models import Job
from jobs.status import TERMINAL

ROOT = Path(settings.BASE_DIR)


def environment(**more: str) -> dict[str, str]:
    """The environment under which `manage.py` works with the test's home and database."""
    home = Path(settings.ELTSITE_HOME)
    values = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ELTSITE_", "TEST_", "PYTEST", "DJANGO"))
    }
    values |= {
        "ELTSITE_HOME": str(home),
        "ELTSITE_ENVIRONMENTS": str(settings.ELTSITE_ENVIRONMENTS),
        "ELTSITE_SLOTS": "2",
        "ELTSITE_DRAIN_SECONDS": "1",
        "ELTSITE_KEY_FILE": str(home / "key"),
        "ELTSITE_SECRET_KEY_FILE": str(home / "secret_key"),
        "ELTSITE_ALLOW_PRIVATE_ADDRESSES": "1",
    }
    if connection.vendor == "postgresql":
        parts = connection.settings_dict
        host = quote(parts["HOST"] or parts["OPTIONS"].get("host", ""), safe="")
        values["ELTSITE_DATABASE_URL"] = f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{host}/{parts['NAME']}"
    return values | more


def until(condition, *, seconds: float = 30.0, what: str = "") -> float:
    """Wait for a condition; how long it took. Fails the test when it never comes."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what or condition}")


class Installation:
    """Starts `manage.py` commands; at the end nothing of them may be left."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._processes: list[subprocess.Popen] = []

    def start(self, *command: str, **more: str) -> subprocess.Popen:
        """Start a command of manage.py in a session of its own."""
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *command],
                env=environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End everything; raises when a job's process or one of ours outlives that."""
        everyone = [p for process in self._processes for p in self.tree(process)]
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        until(lambda: not any(alive(one) for one in everyone), seconds=10, what=f"processes left: {everyone}")
        assert not self.job_processes(), "a job's process was left"

    @staticmethod
    def tree(process: subprocess.Popen) -> list[psutil.Process]:
        """A process and its descendants."""
        try:
            root = psutil.Process(process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.Error:
            return []

    @staticmethod
    def job_processes() -> list[psutil.Process]:
        """Processes that carry the mark of a job of this test."""
        jobs = {str(pk) for pk in Job.objects.values_list("pk", flat=True)}
        return [p for mark, found in marked_processes().items() if mark.split(":")[0] in jobs for p in found]

    @property
    def log(self) -> str:
        """What all of them wrote."""
        return self._log.read_text() if self._log.exists() else ""


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait_for_end(job: Job, *, seconds: float = 60.0) -> Job:
    """The job in its final status."""
    until(lambda: Job.objects.get(pk=job.pk).status in TERMINAL, seconds=seconds, what=f"the end of {job}")
    return Job.objects.get(pk=job.pk)
