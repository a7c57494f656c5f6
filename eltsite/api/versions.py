"""Versions of what people change: an ETag on the way out, If-Match on the way in."""

from __future__ import annotations

from rest_framework.exceptions import APIException
from rest_framework.request import Request


class VersionChanged(APIException):
    """The version a change was made for is not the present one."""

    status_code = 412
    default_code = "changed-meanwhile"
    default_detail = "This was changed since you read it. Read it again, repeat your change, and send its new ETag."


def etag_of(version: str) -> str:
    """The ETag header's value of a version."""
    return f'"{version}"'


def is_matched(request: Request, version: str) -> bool:
    """Whether the request insists on this very version; False where it does not say. Raises VersionChanged."""
    wanted = request.headers.get("If-Match", "").strip()
    if wanted in ("", "*"):
        return False
    if etag_of(version) not in [tag.strip() for tag in wanted.split(",")]:
        raise VersionChanged()
    return True
