"""Singer catalogs, as values. Pure.

Selection and metadata rules mean what they mean in Meltano: `stream.attribute` with wildcards, `!` excludes and wins,
`\\.` is a dot that belongs to a name. Two things are more lenient here. A rule without an attribute stands for the
whole stream. What a rule says of an object holds for all in it, and the objects around a selected attribute are
selected with it: taps drop an attribute whose object is not selected, and leave an object empty whose attributes are not.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from jobs.engine.streams import Path, Stream, name_of

EVERYTHING = "*.*"
BACKSLASH_DOT = "\\."  # a dot that belongs to a name
METHODS = ("FULL_TABLE", "INCREMENTAL", "LOG_BASED")


class Selection(StrEnum):
    """Whether an attribute is read."""

    AUTOMATIC = "AUTOMATIC"  # always, when its stream is
    SELECTED = "SELECTED"
    EXCLUDED = "EXCLUDED"


@dataclass(frozen=True)
class _Rule:
    """A selection rule, taken apart."""

    stream: re.Pattern[str]
    attribute: re.Pattern[str]
    is_exclusion: bool
    is_whole: bool  # it speaks of the stream with all its attributes


@dataclass(frozen=True)
class _Assignment:
    """One key of one metadata rule; without an attribute it is the stream's own."""

    stream: re.Pattern[str]
    attribute: re.Pattern[str] | None
    key: str
    value: Any


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern.replace(BACKSLASH_DOT, ".")))


def _halves(text: str) -> tuple[str, str]:
    """Stream and attribute of a rule, split at the first dot that is not escaped; no attribute: all of them."""
    stream, *attribute = re.split(r"(?<!\\)\.", text, maxsplit=1)
    return stream, attribute[0] if attribute else "*"


@lru_cache(maxsize=4096)
def _rule(text: str) -> _Rule:
    stream, attribute = _halves(text.removeprefix("!"))
    return _Rule(_glob(stream), _glob(attribute), text.startswith("!"), attribute == "*")


def rule_for(stream: str, attribute: str = "") -> str:
    """The selection rule that names exactly this stream, or this attribute of it."""
    stream, attribute = (re.sub(r"([*?[])", r"[\1]", name) for name in (stream, attribute))
    return f"{stream.replace('.', BACKSLASH_DOT)}.{attribute or '*'}"


def _opened(catalog: Mapping[str, Any]) -> list[Stream]:
    streams = catalog.get("streams")
    return [Stream(entry) for entry in streams if isinstance(entry, Mapping)] if isinstance(streams, list) else []


def _chosen(stream: Stream, rules: Sequence[_Rule]) -> dict[Path, bool]:
    """Which attributes the rules choose. `rules` are those whose stream matches."""
    names = {path: ".".join(path) for path in stream.attributes}
    include = [rule for rule in rules if not rule.is_exclusion]
    exclude = [rule for rule in rules if rule.is_exclusion]
    named = {path for path, name in names.items() if any(rule.attribute.match(name) for rule in include)}
    around = {path[:depth] for path in named for depth in range(1, len(path))}
    chosen: dict[Path, bool] = {}
    whole: set[Path] = set()  # objects all of whose attributes are meant
    for path, name in names.items():
        above = path[:-1]
        is_meant = path in named or above in whole
        if is_meant and path not in around:
            whole.add(path)
        inclusion = stream.inclusion(path)
        is_refused = any(rule.attribute.match(name) for rule in exclude) or (bool(above) and not chosen[above])
        if inclusion == "unsupported":
            chosen[path] = False
        elif inclusion == "automatic":
            chosen[path] = not above or chosen[above]
        else:
            chosen[path] = (is_meant or path in around) and not is_refused
    return chosen


def _select(stream: Stream, rules: Sequence[_Rule]) -> None:
    mine = [rule for rule in rules if rule.stream.match(stream.name)]
    chosen = _chosen(stream, mine)
    is_selected = (
        any(not rule.is_exclusion for rule in mine)
        and not any(rule.is_exclusion and rule.is_whole for rule in mine)
        and stream.inclusion(()) != "unsupported"
        and (any(chosen.values()) or not chosen)  # a stream without known attributes is read as it comes
    )
    stream.select(chosen if is_selected else dict.fromkeys(chosen, False), is_selected=is_selected)


def _assignments(metadata: Mapping[str, Any], names: Sequence[str]) -> list[_Assignment]:
    """Metadata rules, taken apart. A name that matches a stream as it stands is a stream's, else it is an attribute's."""
    found = []
    for pattern, values in metadata.items():
        if not isinstance(values, Mapping):
            continue
        attribute = None
        stream = _glob(pattern)
        if not any(stream.match(name) for name in names) and re.search(r"(?<!\\)\.", pattern):
            first, second = _halves(pattern)
            stream, attribute = _glob(first), _glob(second)
        for key, value in values.items():
            if isinstance(value, Mapping) and attribute is None:
                found += [_Assignment(stream, _glob(key), inner, innermost) for inner, innermost in value.items()]
            else:
                found.append(_Assignment(stream, attribute, key, value))
    return found


def _assign(stream: Stream, assignments: Iterable[_Assignment]) -> None:
    for rule in assignments:
        if not rule.stream.match(stream.name):
            continue
        if rule.attribute is None:
            stream.put((), rule.key, rule.value)
        else:
            for path in stream.attributes:
                if rule.attribute.match(".".join(path)):
                    stream.put(path, rule.key, rule.value)


def apply_metadata(catalog: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The catalog with Meltano's `_metadata` rules in it; the one that was given stays as it is.

    {"stream": {"replication-method": ..., "attribute": {"is-replication-key": true}}} or {"stream.attribute": {...}}.
    """
    streams = _opened(catalog)
    assignments = _assignments(metadata, [stream.name for stream in streams])
    for stream in streams:
        _assign(stream, assignments)
    return {**catalog, "streams": [stream.closed() for stream in streams]}


def apply_selection(
    catalog: Mapping[str, Any], select: Sequence[str], metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The catalog with Meltano's `_metadata` and `_select` rules in it; the one that was given stays as it is.

    1. metadata, for it may change what is automatic; 2. selection: what no rule chooses is deselected; 3. `selected` of
    the metadata rules, which have the last word. Without a selection rule what the catalog itself selects stays, and
    all is selected where it says nothing.
    """
    streams = _opened(catalog)
    assignments = _assignments(metadata or {}, [stream.name for stream in streams])
    rules = [_rule(text) for text in select]
    if not rules and not any(stream.said(path) for stream in streams for path in ((), *stream.attributes)):
        rules = [_rule(EVERYTHING)]
    for stream in streams:
        _assign(stream, assignments)
        if rules:
            _select(stream, rules)
            _assign(stream, [rule for rule in assignments if rule.key == "selected"])
    return {**catalog, "streams": [stream.closed() for stream in streams]}


def unmatched(select: Sequence[str], catalog: Mapping[str, Any]) -> list[str]:
    """The selection rules that match nothing in the catalog: often a name written wrong."""
    streams = _opened(catalog)

    def matches(rule: _Rule) -> bool:
        return any(
            rule.is_whole or any(rule.attribute.match(".".join(path)) for path in stream.attributes)
            for stream in streams
            if rule.stream.match(stream.name)
        )

    return [text for text in select if not matches(_rule(text))]


def _selection_of(stream: Stream, path: Path, above: bool) -> Selection:
    inclusion = stream.inclusion(path)
    if inclusion == "unsupported":
        return Selection.EXCLUDED
    if inclusion == "automatic" and path:
        return Selection.AUTOMATIC
    said = stream.said(path)
    return Selection.SELECTED if (above if said is None else said) else Selection.EXCLUDED


def streams_of(catalog: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The streams as pages and API show them, in the catalog's order.

    {"name", "selected": true|false, "fields": [{"name", "selected": AUTOMATIC|SELECTED|EXCLUDED}],
    "key_properties": [...], "replication_method", "replication_key"}. A nested field's name is "object.field". What the
    catalog says nothing about follows what is around it; a stream it says nothing about is excluded.
    """
    rows = []
    for stream in _opened(catalog):
        own = _selection_of(stream, (), False)
        fields: dict[Path, Selection] = {(): own}
        for path in stream.attributes:
            fields[path] = _selection_of(stream, path, fields[path[:-1]] != Selection.EXCLUDED)
        rows.append(
            {
                "name": stream.name,
                "selected": own != Selection.EXCLUDED,
                "fields": [{"name": ".".join(path), "selected": str(is_)} for path, is_ in fields.items() if path],
                "key_properties": stream.key_properties,
                "replication_method": stream.replication_method,
                "replication_key": stream.replication_key,
            }
        )
    return rows


def check_catalog(catalog: Any) -> str | None:
    """What is wrong with a catalog, as a sentence; None where a tap can be run with it."""
    if not isinstance(catalog, Mapping):
        return "The catalog is not a JSON object."
    streams = catalog.get("streams")
    if not isinstance(streams, list):
        return 'The catalog has no list "streams".'
    if not streams:
        return "The catalog has no streams: the source holds nothing that these settings may see."
    seen: set[str] = set()
    for number, stream in enumerate(streams, start=1):
        if not isinstance(stream, Mapping) or not name_of(stream):
            return f'Stream {number} of the catalog has no "tap_stream_id".'
        name = name_of(stream)
        if not isinstance(stream.get("schema"), Mapping):
            return f'Stream {name} of the catalog has no "schema".'
        if not isinstance(stream.get("metadata", []), list):
            return f'"metadata" of stream {name} is not a list.'
        if name in seen:
            return f"Stream {name} is in the catalog twice."
        seen.add(name)
    return None


def replication_faults(catalog: Mapping[str, Any]) -> list[str]:
    """Replication settings of selected streams that cannot work, each as a sentence."""
    faults = []
    for stream in _opened(catalog):
        if _selection_of(stream, (), False) == Selection.EXCLUDED:
            continue
        method, key, valid = (
            stream.replication_method,
            stream.replication_key,
            stream.root.get("valid-replication-keys"),
        )
        if method and method not in METHODS:
            faults.append(
                f"Stream {stream.name}: {method} is not a replication method; there are {', '.join(METHODS)}."
            )
        if method == "INCREMENTAL" and not key and not valid and not stream.root.get("forced-replication-method"):
            faults.append(f"Stream {stream.name} is INCREMENTAL but names no replication-key.")
        if key and stream.attributes and (key,) not in stream.attributes:
            faults.append(f"Stream {stream.name}: the replication-key {key} is not among its fields.")
        elif key and isinstance(valid, list) and valid and key not in valid:
            faults.append(f"Stream {stream.name} cannot be read by {key}; its tap offers {', '.join(map(str, valid))}.")
    return faults
