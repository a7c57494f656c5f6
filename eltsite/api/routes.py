"""Routes that answer with and without a trailing slash, never with a redirect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path, register_converter
from django.urls.converters import UUIDConverter


class IdConverter(UUIDConverter):
    """A UUID in either case."""

    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"


register_converter(IdConverter, "id")


def route(pattern: str, view: Callable[..., Any], *, name: str) -> list[URLPattern]:
    """Both forms of one address; links are made of the one without the slash."""
    return [path(pattern, view, name=name), path(f"{pattern}/", view)]
