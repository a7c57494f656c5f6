from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from eltsite.crypto import KeyFault
from eltsite.errors import DomainError
from jobs import installation
from jobs.supervisor import Supervisor


class Command(BaseCommand):
    help = "Start eltsite: web, worker and scheduler as one command; Ctrl-C stops all of them."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
        parser.add_argument(
            "--no-worker", action="store_true", help="this host serves pages and schedules, but runs no job"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.check()
            installation.prepare()
            supervisor = Supervisor(bind=options["bind"], port=options["port"], with_worker=not options["no_worker"])
            supervisor.start()
        except (DomainError, KeyFault) as error:
            raise CommandError(str(error)) from error
        try:
            self.stdout.write(f"eltsite is at {supervisor.address}")
            if link := installation.first_administrator_link(supervisor.address):
                self.stdout.write(f"Make the first administrator with this one-time link:\n  {link}")
            self.stdout.write("Ctrl-C stops it.")
            supervisor.keep()
        finally:
            self.stdout.write("Stopping; running jobs are ended or handed back.")
            supervisor.stop()
