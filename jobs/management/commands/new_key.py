from typing import Any

from django.core.management.base import BaseCommand

from eltsite import crypto


class Command(BaseCommand):
    help = "Print a new encryption key for ELTSITE_KEY."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(crypto.generate_key())
