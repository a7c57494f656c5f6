"""The one error body, for every answer of 400 and above."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import (
    APIException,
    MethodNotAllowed,
    NotAuthenticated,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.renderers import HALRenderer, JSONRenderer
from eltsite.api.times import write_instant
from eltsite.errors import Conflict, DomainError, FieldError, Invalid, NotFound, Refused

logger = logging.getLogger("eltsite.api")

DOMAIN_STATUS: tuple[tuple[type[DomainError], int], ...] = (
    (NotFound, 404),
    (Refused, 403),
    (Conflict, 409),
    (Invalid, 400),
)
UNKNOWN_ADDRESS = "There is nothing at this address. GET /api lists where to begin."
SERVER_FAILED = "The server failed while it answered; its log says why. Nothing you sent was at fault."
DATABASE_AWAY = "The database cannot be reached or is busy. Try again in a moment."


class Unavailable(APIException):
    """The server cannot do this now but will be able to later."""

    status_code = 503
    default_code = "unavailable"

    def __init__(self, detail: str, *, wait_seconds: int) -> None:
        super().__init__(detail)
        self.wait = wait_seconds


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """The answer to whatever a view raised."""
    request: Request = context["request"]
    status, message, fields = _explain(error, context)
    response = Response(error_body(request.path, status, message, fields), status=status)
    if getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
    if status == 503:
        response["Retry-After"] = str(getattr(error, "wait", 1))
    # An error is JSON also where the answer would have been text.
    if not isinstance(getattr(request, "accepted_renderer", None), HALRenderer):
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type  # type: ignore[attr-defined]
    return response


def error_body(path: str, status: int, message: str, fields: list[FieldError] | None = None) -> dict[str, Any]:
    """The contract's error object; `errors` is there for faulty fields only."""
    body: dict[str, Any] = {
        "timestamp": write_instant(timezone.now()),
        "status": status,
        "error": HTTPStatus(status).phrase,
    }
    if fields:
        body["errors"] = [_field_item(field) for field in fields]
    return {**body, "message": message, "path": path}


def _field_item(fault: FieldError) -> dict[str, Any]:
    item = {"field": fault.field, "defaultMessage": fault.message, "code": fault.code}
    if fault.value is None:
        return item
    value = fault.value if isinstance(fault.value, str | int | float | bool | list | dict) else str(fault.value)
    return {"field": fault.field, "rejectedValue": value, "defaultMessage": fault.message, "code": fault.code}


def _explain(error: Exception, context: dict[str, Any]) -> tuple[int, str, list[FieldError]]:
    """Status, message and faulty fields of an exception."""
    if isinstance(error, DomainError):
        status = next((code for kind, code in DOMAIN_STATUS if isinstance(error, kind)), 400)
        return status, error.message, error.errors
    if isinstance(error, ValidationError):
        fields = list(_flatten(error.detail))
        return 400, " ".join(field.message for field in fields), fields
    if isinstance(error, APIException):
        return error.status_code, _api_message(error, context), []
    if isinstance(error, Http404):
        return 404, NotFound().message, []
    if isinstance(error, PermissionDenied):
        return 403, str(error) or Refused().message, []
    if isinstance(error, RequestDataTooBig):
        return 413, str(error), []
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("The database failed during %s", context["request"].path, exc_info=error)
        return 503, DATABASE_AWAY, []
    logger.error("%s %s failed", context["request"].method, context["request"].path, exc_info=error)
    return 500, SERVER_FAILED, []


def _api_message(error: APIException, context: dict[str, Any]) -> str:
    if isinstance(error, NotAuthenticated):
        return "This request carries no token. Send one as 'Authorization: Bearer <token>', or sign in."
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(name for name in context["view"].allowed_methods if name not in ("HEAD", "OPTIONS"))
        return f"{context['request'].method} is not possible here. Possible: {allowed}."
    if isinstance(error, UnsupportedMediaType):
        sent = context["request"].content_type
        return f"The body is {sent}, which is not read here. Send application/json or application/hal+json."
    return str(error.detail)


def _flatten(detail: Any, field: str = "") -> Iterator[FieldError]:
    """The leaves of a validation error's tree, each under its dotted field name."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from _flatten(value, f"{field}.{key}" if field else str(key))
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            yield from _flatten(value, f"{field}[{index}]" if isinstance(value, dict | list) else field)
    else:
        yield FieldError(field=field, message=str(detail), code=getattr(detail, "code", "invalid"))


@csrf_exempt
def unknown_address(request: HttpRequest, *args: Any) -> HttpResponse:
    """Every address below /api that is no route."""
    return plain_error(request, 404, UNKNOWN_ADDRESS)


def is_api(request: HttpRequest) -> bool:
    """Whether a request is for the API, not for a page."""
    return request.path == "/api" or request.path.startswith("/api/")


def plain_error(request: HttpRequest, status: int, message: str) -> HttpResponse:
    """The error body where no API view is at hand: unknown addresses and failures outside of views."""
    content = JSONRenderer().render(error_body(request.path, status, message))
    return HttpResponse(content, status=status, content_type=JSONRenderer.media_type)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    if not is_api(request):
        return defaults.bad_request(request, exception)
    return plain_error(request, 400, str(exception) or "The request cannot be read.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    if not is_api(request):
        return defaults.permission_denied(request, exception)
    return plain_error(request, 403, str(exception) or Refused().message)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return (
        plain_error(request, 404, UNKNOWN_ADDRESS) if is_api(request) else defaults.page_not_found(request, exception)
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return plain_error(request, 500, SERVER_FAILED) if is_api(request) else defaults.server_error(request)
