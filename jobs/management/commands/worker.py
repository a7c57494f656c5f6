from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from jobs.worker import WorkerParent


class Command(BaseCommand):
    help = "Run jobs on this host until a signal comes. It keeps a queue cluster and replaces it when it hangs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--slots", type=int, default=settings.ELTSITE_SLOTS, help="jobs that run at once")
        parser.add_argument(
            "--drain", type=float, default=settings.ELTSITE_DRAIN_SECONDS, help="seconds jobs may take to end at a stop"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        WorkerParent(slots=options["slots"], drain_seconds=options["drain"]).run()
