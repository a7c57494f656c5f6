"""Writes of workspaces, memberships and tokens."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from eltsite.errors import Conflict, FieldError, Invalid, NotFound, Refused
from workspaces.models import ApiToken, Membership, Role, TokenScope, User, Workspace
from workspaces.signals import workspace_created, workspace_deleting

LONGEST_NAME = 120
TRIES = 20  # at a free number and alias
TOKEN_BYTES = 32
TOKEN_START = "elt_"
SHOWN_LETTERS = 8  # of a token, to tell tokens apart


@transaction.atomic
def create_workspace(*, name: str, owner: User, domains: Sequence[str] = (), now: datetime | None = None) -> Workspace:
    """Make a workspace with its owner, default store and set-up job."""
    values = _checked(name, domains)
    workspace = _insert(values)
    Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    if owner.default_workspace_id is None:
        User.objects.filter(pk=owner.pk, default_workspace__isnull=True).update(default_workspace=workspace)
        owner.default_workspace = workspace
    workspace_created.send(Workspace, workspace=workspace, user=owner)
    return workspace


@transaction.atomic
def update_workspace(workspace: Workspace, *, name: str, domains: Sequence[str] = ()) -> Workspace:
    """Change a workspace's name and the domains it invites from."""
    values = _checked(name, domains)
    row = _locked(workspace)
    row.name, row.domains = str(values["name"]), list(values["domains"])
    row.save(update_fields=["name", "domains", "modified_at"])
    return row


@transaction.atomic
def delete_workspace(workspace: Workspace, *, user: User | None = None, now: datetime | None = None) -> None:
    """Hide a workspace and ask its jobs to stop. The row goes when none of them is active."""
    row = _locked(workspace)
    row.deleting_at = now or timezone.now()
    row.save(update_fields=["deleting_at", "modified_at"])
    workspace_deleting.send(Workspace, workspace=row, user=user)


@transaction.atomic
def set_member(workspace: Workspace, *, user: User, role: str) -> Membership:
    """Make the person a member in that role, or change the role. The last owner stays owner."""
    row = _locked(workspace)
    if role not in Role.values:
        raise Invalid.field("role", f"{role} is not a role. Write one of {', '.join(Role.values)}.", value=role)
    if role != Role.OWNER:
        _keep_an_owner(row, user)
    return Membership.objects.update_or_create(workspace=row, user=user, defaults={"role": role})[0]


@transaction.atomic
def remove_member(workspace: Workspace, *, user: User) -> None:
    """End a membership. The last owner stays."""
    row = _locked(workspace)
    _keep_an_owner(row, user)
    if not Membership.objects.filter(workspace=row, user=user).delete()[0]:
        raise NotFound(f"{user.display_name} is not a member of {row.name}.")


@transaction.atomic
def issue_token(
    user: User, *, name: str, scope: str, workspace: Workspace | None = None, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """A new token, and its text, which is shown this once and not kept."""
    errors = []
    if not name.strip() or len(name.strip()) > LONGEST_NAME:
        message = f"A token has a name of 1 to {LONGEST_NAME} characters, such as nightly export. Give it one."
        errors.append(FieldError("name", message, value=name))
    if scope not in TokenScope.values:
        message = f"{scope} is not a scope. Write one of {', '.join(TokenScope.values)}."
        errors.append(FieldError("scope", message, value=scope))
    if expires_at is not None and expires_at <= timezone.now():
        message = f"{expires_at:%Y-%m-%d %H:%M} is over, so the token would never work. Choose a later time or none."
        errors.append(FieldError("expires_at", message, value=str(expires_at)))
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    if workspace is not None and not Workspace.objects.visible_to(user).filter(pk=workspace.pk).exists():
        raise Refused(f"{user.display_name} is not a member of {workspace.name}, so no token of theirs reaches it.")
    text = TOKEN_START + secrets.token_urlsafe(TOKEN_BYTES)
    token = ApiToken.objects.create(
        user=user,
        workspace=workspace,
        name=name.strip(),
        scope=scope,
        digest=ApiToken.digest_of(text),
        prefix=text[:SHOWN_LETTERS],
        expires_at=expires_at,
    )
    return token, text


def revoke_token(token: ApiToken, *, now: datetime | None = None) -> ApiToken:
    """End a token for good. A second time changes nothing."""
    ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now or timezone.now())
    token.refresh_from_db(fields=["revoked_at"])
    return token


def _checked(name: str, domains: Sequence[str]) -> dict[str, str | list[str]]:
    errors = []
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        message = f"A workspace has a name of 1 to {LONGEST_NAME} characters in one line, such as Shop. Give it one."
        errors.append(FieldError("name", message, value=name))
    cleaned = list(dict.fromkeys(domain.strip().lower() for domain in domains if domain.strip()))
    for domain in cleaned:
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", domain):
            message = f"{domain} is not an e-mail domain. Write the part after the @, such as example.com."
            errors.append(FieldError("domains", message, value=domain))
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    return {"name": name, "domains": cleaned}


def _insert(values: dict[str, str | list[str]]) -> Workspace:
    """The row under the next free number. Two at once may read the same highest one: the second tries again."""
    for _ in range(TRIES):
        highest = Workspace.objects.aggregate(highest=Max("number"))["highest"] or 0
        try:
            with transaction.atomic():
                return Workspace.objects.create(number=highest + 1, **values)
        except IntegrityError:
            continue
    raise Conflict("Many workspaces are being made at this moment. Try again.")


def _locked(workspace: Workspace) -> Workspace:
    row = Workspace.objects.select_for_update(no_key=True).filter(pk=workspace.pk, deleting_at__isnull=True).first()
    if row is None:
        raise NotFound(f"{workspace.name} was deleted meanwhile.")
    return row


def _keep_an_owner(workspace: Workspace, user: User) -> None:
    owners = Membership.objects.filter(workspace=workspace, role=Role.OWNER)
    if owners.filter(user=user).exists() and not owners.exclude(user=user).exists():
        raise Conflict(f"{user.display_name} is the only owner of {workspace.name}. Make another member owner first.")
