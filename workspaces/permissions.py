"""Who may do what: role times token scope, for API and pages alike.

Four verbs. A role allows: viewer read; operator read and run; owner all. A token's scope cuts that down further.

- read: look at everything but secrets and sample rows
- run: run, stop, retry, pause, reset state
- write: define and delete pipelines, components, files, and delete jobs
- admin: people, plugins, scripts, secrets, and the workspace itself
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model, QuerySet
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from eltsite.errors import NotFound, Refused
from workspaces.models import ROLE_ORDER, ApiToken, Membership, Role, User, Workspace

READ, RUN, WRITE, ADMIN = "read", "run", "write", "admin"
VERBS = (READ, RUN, WRITE, ADMIN)  # each includes the ones before it, as token scopes do
ROLE_FOR = {READ: Role.VIEWER, RUN: Role.OPERATOR, WRITE: Role.OWNER, ADMIN: Role.OWNER}
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Access:
    """What one caller may do. Roles are read once, however many objects are asked about."""

    def __init__(self, user: User | AnonymousUser, token: ApiToken | None = None) -> None:
        self.user = user
        self.token = token

    @cached_property
    def _roles(self) -> dict[UUID, str]:
        if not self.user.is_authenticated:
            return {}
        return dict(Membership.objects.filter(user=self.user).values_list("workspace_id", "role"))

    def role_in(self, workspace_id: UUID) -> str | None:
        """The caller's role; a superuser owns everything."""
        return str(Role.OWNER) if self.user.is_superuser else self._roles.get(workspace_id)

    def token_allows(self, verb: str) -> bool:
        """Whether the token's scope, if there is a token, includes the verb."""
        return self.token is None or VERBS.index(verb) <= VERBS.index(self.token.scope)

    def can(self, workspace: Workspace | UUID, verb: str) -> bool:
        """Whether the caller may do this in that workspace."""
        workspace_id = workspace.pk if isinstance(workspace, Workspace) else workspace
        if self.token and self.token.workspace_id not in (None, workspace_id):
            return False
        role = self.role_in(workspace_id)
        return role is not None and rank(role) >= rank(ROLE_FOR[verb]) and self.token_allows(verb)

    def require(self, workspace: Workspace | UUID, verb: str) -> None:
        """Raise Refused, saying what is missing, unless the caller may."""
        if self.can(workspace, verb):
            return
        workspace_id = workspace.pk if isinstance(workspace, Workspace) else workspace
        role = self.role_in(workspace_id)
        if not self.token_allows(verb):
            raise Refused(
                f"This token's scope is {self.token.scope}; this request needs {verb}."  # type: ignore[union-attr]
                " Use a token with a wider scope."
            )
        held = f"Your role in this workspace is {role}" if role else "You are not a member"
        raise Refused(f"{held}; this needs the role {ROLE_FOR[verb]}. Ask one of its owners.")

    def visible(self, rows: Any) -> QuerySet:
        """The rows this caller may know of: those of their workspaces, or of the token's one."""
        found = rows.visible_to(self.user)
        if self.token and self.token.workspace_id:
            path = "pk" if found.model is Workspace else "workspace"
            found = found.filter(**{path: self.token.workspace_id})
        return found

    def find(self, rows: Any, pk: Any, verb: str = READ) -> Any:
        """One visible row on which the caller may do `verb`. What is not visible is not there: NotFound."""
        row = self.visible(rows).filter(pk=pk).first()
        if row is None:
            noun = rows.model._meta.verbose_name
            raise NotFound(f"There is no {noun} {pk} here, or it belongs to a workspace you are not a member of.")
        self.require(workspace_id_of(row), verb)
        return row


def workspace_id_of(row: Model) -> UUID:
    """The workspace a row belongs to."""
    return row.pk if isinstance(row, Workspace) else row.workspace_id  # type: ignore[attr-defined]


def rank(role: Any) -> int:
    """A role's place among the roles; the higher includes the lower."""
    return ROLE_ORDER[role]


def can(user: User | AnonymousUser, workspace: Workspace | UUID, verb: str, token: ApiToken | None = None) -> bool:
    """Whether a user (with this token) may do `verb` in a workspace."""
    return Access(user, token).can(workspace, verb)


def access_of(request: Any) -> Access:
    """The caller of a request, API or page; kept on it, so that roles are read once."""
    held = getattr(request, "eltsite_access", None)
    if held is None or held.user is not request.user:
        token = getattr(request, "auth", None)
        held = request.eltsite_access = Access(request.user, token if isinstance(token, ApiToken) else None)
    return held


class WorkspacePermission(BasePermission):
    """Only known callers; and objects by the verb that the view has for its method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)

    def has_object_permission(self, request: Request, view: Any, obj: Model) -> bool:
        access_of(request).require(workspace_id_of(obj), verb_of(request, view))
        return True


def verb_of(request: Request, view: Any) -> str:
    """The verb of a view's method: reading is `read`; a method that changes something is `admin` unless declared."""
    if request.method in SAFE_METHODS:
        return READ
    return getattr(view, "verbs", {}).get(request.method, ADMIN)
