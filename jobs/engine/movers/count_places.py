"""Where a target's rows are: the store of a connector's definition, its placeholders filled in. Pure."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


def setting(settings: Mapping[str, Any], name: str) -> str:
    """A setting's value as text, also a nested one such as `oauth.client_id`; empty where there is none."""
    if name in settings:
        value: Any = settings[name]
    else:
        value = settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def stream_names(stream: str) -> dict[str, str]:
    """What a stream is called in paths and tables.

    `stream_last` is how the SDK's targets read schema-table: the part behind the last dash. `stream_pipelinewise` is how
    PipelineWise's do, and those made after them: in lower case, of a stream with one dash what is behind it, of one
    with more what is behind the second.
    """
    lower = stream.lower()
    parts = lower.split("-")
    behind = parts[1:] if len(parts) == 2 else parts[2:] or parts
    return {
        "stream": stream,
        "stream_lower": lower,
        "stream_table": re.sub("[-./]", "_", lower),
        "stream_last": stream.split("-")[-1],
        "stream_pipelinewise": "_".join(behind).replace(".", "_"),
    }


def filled(template: Any, settings: Mapping[str, Any], stream: str = "") -> str:
    """A value of the store with its placeholders filled in. Text outside braces stays."""
    names = stream_names(stream)

    def value(found: re.Match[str]) -> str:
        return names[found[1]] if found[1] in names else setting(settings, found[1])

    return PLACEHOLDER.sub(value, str(template if template is not None else ""))


def filled_path(template: Any, settings: Mapping[str, Any], stream: str) -> tuple[str, bool]:
    """A file's path, and whether it is a pattern: only an asterisk of the template makes it one.

    A folder that is not set is the one the target works in, and not the root of the host.
    """
    written = str(template or "")
    first = PLACEHOLDER.match(written)
    if first and not filled(first[0], settings, stream):
        written = written[first.end() :].lstrip("/")
    is_pattern = "*" in PLACEHOLDER.sub("", written)

    def value(found: re.Match[str]) -> str:
        text = filled(found[0], settings, stream)
        return glob.escape(text) if is_pattern else text

    return PLACEHOLDER.sub(value, written), is_pattern
