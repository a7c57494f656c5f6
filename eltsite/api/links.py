"""HAL: links, embedded resources and the base of all serializers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

Link = dict[str, str]


def absolute(request: Request | HttpRequest, path: str) -> str:
    """A path as clients reach it: behind the configured base address, or the one the request used."""
    base = settings.ELTSITE_BASE_URL
    return f"{base.rstrip('/')}{path}" if base else request.build_absolute_uri(path)


def href(request: Request | HttpRequest, name: str, *args: Any, query: dict[str, Any] | None = None) -> str:
    """The absolute address of a named route."""
    path = reverse(name, args=args)
    return absolute(request, f"{path}?{urlencode(query, doseq=True)}" if query else path)


def link(address: str, method: str = "") -> Link:
    """One link object. `type` is the HTTP method; links that are only read, such as `self`, have none."""
    return {"href": address, "type": method} if method else {"href": address}


def is_absent(value: Any) -> bool:
    """Whether a field has no value and is left out; empty lists and maps are values."""
    return value is None or value == ""


class HALSerializer(serializers.Serializer):
    """A resource: its fields in order, then `_embedded`, then `_links`. A field without value is left out.

    `bare=True` gives the form in which other resources embed it, without links.
    """

    def __init__(self, *args: Any, bare: bool = False, **options: Any) -> None:
        self.bare = bare
        super().__init__(*args, **options)

    @property
    def request(self) -> Request:
        """The request that is being answered; links need its address and its caller."""
        return self.context["request"]

    def to_representation(self, instance: Any) -> dict[str, Any]:
        body = {key: value for key, value in super().to_representation(instance).items() if not is_absent(value)}
        if self.bare:
            return body
        embedded = {name: value for name, value in self.embedded(instance).items() if value is not None}
        if embedded:
            body["_embedded"] = embedded
        body["_links"] = self.links(instance)
        return body

    def embedded(self, instance: Any) -> dict[str, Any]:
        """Related resources by relation; None means there is none."""
        return {}

    def links(self, instance: Any) -> dict[str, Link]:
        """What the caller can do now, by relation."""
        return {}
