"""Middleware of pages: what a browser may load, the person's time zone, and errors a person can act on."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from eltsite.errors import Conflict, DomainError, Invalid, NotFound, Refused

Answer = Callable[[HttpRequest], HttpResponse]

# Nothing from another host, no inline script or style. Pictures in style sheets are `data:` addresses.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
API_PREFIX = "/api/"
STATUS_OF = ((NotFound, 404), (Refused, 403), (Conflict, 409), (Invalid, 400))


class ContentSecurityPolicyMiddleware:
    """Sends the policy with every answer that does not bring its own."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class TimeZoneMiddleware:
    """Pages show times in the zone of the person who looks at them; the API speaks UTC."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(API_PREFIX):
            return self.get_response(request)
        zone = getattr(request.user, "time_zone", "") or "UTC"
        try:
            chosen = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            chosen = zoneinfo.ZoneInfo("UTC")  # a zone that a later release of the zone data dropped
        with timezone.override(chosen):
            return self.get_response(request)


class DomainErrorMiddleware:
    """An error a person can act on becomes a page that says so, with the status that fits. The API has its own."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DomainError) or request.path.startswith(API_PREFIX):
            return None
        status = next((code for kind, code in STATUS_OF if isinstance(exception, kind)), 400)
        context = {
            "fault": exception,
            "status": status,
            "job": getattr(exception, "job", None),
            "back": _came_from(request),
        }
        return render(request, "refusal.html", context, status=status)


def _came_from(request: HttpRequest) -> str:
    """The page of ours that led here; empty where none did."""
    referer = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    return referer if is_ours and request.method == "POST" else ""
