import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from jobs.scheduler import PASS_SECONDS, make_pass


class Command(BaseCommand):
    help = "Start due pipelines, end lost jobs and drop old ones, until a signal comes. Several may run."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        count = 0
        while not stop.is_set():
            started = time.monotonic()
            close_old_connections()
            make_pass(count=count)
            count += 1
            stop.wait(max(0.05, PASS_SECONDS - (time.monotonic() - started)))
