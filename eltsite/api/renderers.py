"""Media types: what bodies look like on the way out and on the way in, and how the form is agreed."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

JSON_TYPES = ("application/json", "application/hal+json")
MAX_ACCEPT_PARTS = 64


class BodyTooLarge(APIException):
    """The body is larger than this server takes."""

    status_code = 413
    default_code = "too-large"


class LengthRequired(APIException):
    """A body came in pieces without its length, which this server cannot read."""

    status_code = 411
    default_code = "length-required"
    default_detail = "The body came without a Content-Length. Send its length, or no body at all."


class HALRenderer(BaseRenderer):
    """HAL JSON, compact, in UTF-8."""

    media_type = "application/hal+json"
    format = "hal"
    charset = None  # JSON is UTF-8 by its definition

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        if data is None:
            return b""
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


class JSONRenderer(HALRenderer):
    """The same body, for a caller that asks for plain JSON."""

    media_type = "application/json"
    format = "json"


class TextRenderer(BaseRenderer):
    """Plain text."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return str(data or "").encode()


class NDJSONRenderer(BaseRenderer):
    """One JSON object per line."""

    media_type = "application/x-ndjson"
    format = "ndjson"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"".join(render_ndjson_line(line) for line in data or ())


class StreamJSONRenderer(NDJSONRenderer):
    """The older name of the same."""

    media_type = "application/stream+json"
    format = "stream"


def render_ndjson_line(line: Mapping[str, Any]) -> bytes:
    """One object and its line end."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


class HALParser(BaseParser):
    """A JSON object from a body; a body of white space is an empty object."""

    media_type = "application/hal+json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        content = stream.read(limit + 1)
        if len(content) > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes, the most this server takes.")
        try:
            text = codecs.decode(content, "utf-8-sig")
            body = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8: byte {error.start} cannot be read. Send UTF-8.") from None
        except json.JSONDecodeError as error:
            raise ParseError(
                f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from None
        except (RecursionError, ValueError) as error:
            raise ParseError(f"The body is not JSON this server can read: {error}.") from None
        if not isinstance(body, dict):
            raise ParseError("The body is to be a JSON object, such as {}.")
        return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


class LenientNegotiation(BaseContentNegotiation):
    """Takes what the caller likes best of what there is, else the first: never an answer 406."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        """The JSON parser for JSON types and for a body without a type; None, which makes 415, for others."""
        named = (request.content_type or "").partition(";")[0].strip().lower()
        return parsers[0] if not named or named in JSON_TYPES else None

    def select_renderer(
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The renderer for the Accept header, and its media type."""
        for wanted in accepted_types(request.META.get("HTTP_ACCEPT", "")):
            for renderer in renderers:
                if _matches(wanted, renderer.media_type):
                    return renderer, renderer.media_type
        return renderers[0], renderers[0].media_type


def accepted_types(header: str) -> list[str]:
    """The media types of an Accept header, best first; those with q=0 and unreadable parts are left out."""
    ranked = []
    for position, part in enumerate(header.split(",")[:MAX_ACCEPT_PARTS]):
        name, *parameters = [piece.strip().lower() for piece in part.split(";")]
        quality = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        if name.count("/") == 1 and quality > 0:
            ranked.append((-quality, name.count("*"), position, name))
    return [name for *_, name in sorted(ranked)]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _matches(wanted: str, offered: str) -> bool:
    return wanted in ("*/*", offered) or (wanted.endswith("/*") and offered.startswith(wanted[:-1]))
