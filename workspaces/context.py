"""The frame around each page: which workspace it belongs to, who looks at it, and what they may do there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control, patch_vary_headers

from eltsite.errors import NotFound
from workspaces.models import Workspace
from workspaces.permissions import access_of

Page = Callable[..., HttpResponse]
SWITCHER_LIMIT = 50
THEMES = [("light", "Light"), ("dark", "Dark"), ("auto", "As the system")]


def is_part(request: HttpRequest) -> bool:
    """Whether a script asks for a part of a page or for data, not for a whole page."""
    return "HX-Request" in request.headers or "application/json" in request.headers.get("Accept", "")


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """To the sign-in page and back; a live part asks its whole page to go there."""
    if is_part(request):
        return HttpResponse(status=401, headers={"HX-Refresh": "true"})
    return redirect_to_login(request.get_full_path())


def offered(request: HttpRequest) -> list[Workspace]:
    """The workspaces the switcher offers, read once per request."""
    held = getattr(request, "offered_workspaces", None)
    if held is None:
        held = list(Workspace.objects.visible_to(request.user)[:SWITCHER_LIMIT])
        request.offered_workspaces = held  # type: ignore[attr-defined]
    return held


def find_workspace(request: HttpRequest, alias: str) -> Workspace:
    """A visible workspace by its alias. Whole pages need the switcher's list anyway and find it there."""
    if is_part(request):
        found = None
    else:
        found = next((item for item in offered(request) if item.alias == alias), None)
    found = found or Workspace.objects.visible_to(request.user).filter(alias=alias).first()
    if found is None:
        raise NotFound(f"There is no workspace {alias}, or you are not a member of it.")
    return found


def workspace_page(verb: str = "read") -> Callable[[Page], Page]:
    """A page inside `/w/<alias>/`: asks to sign in, finds the workspace among those visible, checks the role.

    The page gets the workspace in place of its alias. A workspace one may not see is not found.
    """

    def decorate(page: Page) -> Page:
        @wraps(page)
        def wrapped(request: HttpRequest, alias: str, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return sign_in_first(request)
            workspace = find_workspace(request, alias)
            request.workspace = workspace  # type: ignore[attr-defined]
            access_of(request).require(workspace, verb)
            response = page(request, workspace, *args, **kwargs)
            # One address may answer with a whole page or a part of it; and nobody but this person may keep either.
            patch_vary_headers(response, ["HX-Request"])
            patch_cache_control(response, private=True, no_cache=True)
            return response

        return wrapped

    return decorate


class Frame:
    """What templates ask of the frame; each answer is fetched when it is first wanted."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.user = request.user

    @property
    def workspaces(self) -> list[Workspace]:
        """Those the switcher offers."""
        return offered(self.request)

    @property
    def workspace(self) -> Workspace | None:
        """The page's own workspace, else the person's default, so that the navigation leads somewhere."""
        current = getattr(self.request, "workspace", None)
        if current is not None:
            return current
        found = [item for item in self.workspaces if item.pk == getattr(self.user, "default_workspace_id", None)]
        return next(iter(found or self.workspaces), None)

    def allows(self, verb: str) -> bool:
        """Whether the person may do this in the page's workspace."""
        return self.workspace is not None and access_of(self.request).can(self.workspace, verb)

    @property
    def may_run(self) -> bool:
        return self.allows("run")

    @property
    def may_write(self) -> bool:
        return self.allows("write")

    @property
    def themes(self) -> list[tuple[str, str]]:
        return THEMES

    @property
    def zone_name(self) -> str:
        return timezone.get_current_timezone_name()

    @property
    def version(self) -> str:
        return settings.VERSION

    @property
    def api_docs(self) -> str:
        """The address of the API's own pages, where they are mounted."""
        try:
            return reverse("api-docs")
        except NoReverseMatch:
            return ""


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `frame` in every template. Costs nothing until a template asks it something."""
    return {"frame": Frame(request)} if hasattr(request, "user") else {}
