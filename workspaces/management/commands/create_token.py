"""`manage.py create_token USER`: makes a developer token and prints it, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from eltsite.errors import DomainError
from workspaces.models import TokenScope, User, Workspace
from workspaces.services import issue_token

LONGEST_DAYS = 36_500


class Command(BaseCommand):
    """Makes a developer token for the API. It is printed once and cannot be shown again."""

    help = (
        "Make a developer token for the API and print it; only its digest is kept, so it cannot be shown again. "
        "A token never allows more than its owner's role does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user name of its owner")
        parser.add_argument(
            "--scope",
            choices=TokenScope.values,
            default=str(TokenScope.ADMIN),
            help="what it may do at most; each includes the ones before it (default: admin, all its owner may do)",
        )
        parser.add_argument("--name", default="command line", help="what to tell it by (default: command line)")
        parser.add_argument("--workspace", metavar="ALIAS", help="only for this workspace: its alias or id")
        parser.add_argument("--days", type=int, help="expires after so many days (default: never)")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}. Give the name they sign in with.")
        days = options["days"]
        if days is not None and not 1 <= days <= LONGEST_DAYS:
            raise CommandError(f"--days {days}: give a number from 1 to {LONGEST_DAYS}.")
        try:
            _, secret = issue_token(
                user,
                name=options["name"],
                scope=options["scope"],
                workspace=self._workspace(user, options["workspace"]),
                expires_at=timezone.now() + timedelta(days=days) if days else None,
            )
        except DomainError as refusal:
            raise CommandError(refusal.message) from None
        self.stdout.write(secret)

    def _workspace(self, user: User, wanted: str | None) -> Workspace | None:
        if wanted is None:
            return None
        visible = Workspace.objects.visible_to(user)
        try:
            found = visible.filter(Q(alias=wanted) | Q(pk=wanted)).first()
        except ValidationError:  # an alias, which is no id
            found = visible.filter(alias=wanted).first()
        if found is None:
            raise CommandError(f"{user.username} is a member of no workspace with alias or id {wanted}.")
        return found
