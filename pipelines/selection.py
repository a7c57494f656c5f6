"""The properties `_select` and `_metadata` of an extractor, read from their JSON texts. Pure.

They mean what they mean in Meltano; jobs/engine/singer.py applies them to a catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.values import ValueFault, json_of, nearest, shown

METHODS = ("FULL_TABLE", "INCREMENTAL", "LOG_BASED")
METHOD, KEY = "replication-method", "replication-key"
KNOWN_KEYS = (METHOD, KEY, "selected", "inclusion", "table-key-properties", "view-key-properties", "key-properties")


def select_of(text: Any) -> list[str]:
    """The selection rules: `stream.attribute` with wildcards, `!` in front excludes. Raises ValueFault."""
    rules = json_of(text, list)
    for position, rule in enumerate(rules):
        if not isinstance(rule, str):
            raise ValueFault(
                f'Entry {position + 1}, {shown(rule)}, is not a text. Write rules such as "orders.*".',
                where=(position,),
            )
        bare = rule.strip().removeprefix("!")
        if not bare or bare != rule.removeprefix("!") or not bare.isprintable():
            raise ValueFault(
                f'Entry {position + 1}, "{rule}", names no stream, or has spaces around it. Write it such as "orders.*" '
                'or "!orders.note".',
                where=(position,),
            )
        if bare.startswith("!"):
            raise ValueFault(
                f"Entry {position + 1}, {rule}, has two exclamation marks. Take one out.", where=(position,)
            )
    found: list[str] = rules
    return found


def metadata_of(text: Any) -> dict[str, dict[str, Any]]:
    """Metadata by stream, or by `stream.attribute`. Raises ValueFault."""
    found = json_of(text, dict)
    for pattern, values in found.items():
        if not isinstance(values, Mapping):
            raise ValueFault(
                f"{pattern or 'The empty name'} has {shown(values)}, not an object. "
                f'Write it such as {{"{METHOD}": "FULL_TABLE"}}.',
                where=(pattern,),
            )
        if not pattern.strip():
            raise ValueFault('A name of a stream is empty. Write the stream\'s name, or "*" for all.', where=(pattern,))
        _check_entry(pattern, values)
    checked: dict[str, dict[str, Any]] = found
    return checked


def _check_entry(pattern: str, values: Mapping[str, Any]) -> None:
    for name in values:
        dashed = name.replace("_", "-")
        if name not in KNOWN_KEYS and dashed in KNOWN_KEYS:
            raise ValueFault(f"{pattern} has {name}. Write {dashed}, with a dash.", where=(pattern, name))
        meant = nearest(name, KNOWN_KEYS) if name.startswith("replication") else None
        if name not in KNOWN_KEYS and meant:
            raise ValueFault(f"{pattern} has {name}. Did you mean {meant}?", where=(pattern, name))
    method = values.get(METHOD)
    if method is not None and method not in METHODS:
        raise ValueFault(
            f"{pattern}: {shown(method)} is no replication method. Write one of {', '.join(METHODS)}.",
            where=(pattern, METHOD),
        )
    key = values.get(KEY)
    if key is not None and (not isinstance(key, str) or not key):
        raise ValueFault(f"{pattern}: {KEY} is to be the name of one attribute, in quotes.", where=(pattern, KEY))
    if values.get("selected") is not None and not isinstance(values["selected"], bool | Mapping):
        raise ValueFault(f"{pattern}: selected is to be true or false, without quotes.", where=(pattern, "selected"))


def select_warnings(rules: list[str]) -> list[str]:
    """What is allowed and probably not meant."""
    found = []
    if rules and all(rule.startswith("!") for rule in rules):
        found.append('only excludes, so nothing is selected. Add "*.*" to begin with everything.')
    found += [
        f'has a comma in "{rule}", which belongs to a name. Write each rule as an entry of its own.'
        for rule in rules
        if "," in rule and "{" not in rule
    ]
    return found


def metadata_warnings(metadata: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is allowed and probably not meant."""
    keyed = [name for name, values in metadata.items() if values.get(KEY)]
    return [
        f"makes {name} INCREMENTAL without a {KEY}. Name the attribute that only grows, unless the extractor knows it."
        for name, values in metadata.items()
        if values.get(METHOD) == "INCREMENTAL" and not keyed
    ]
