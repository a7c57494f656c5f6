"""States as values: merged, taken apart, compared, and read from every form Meltano keeps them in. Pure.

A state is a JSON object. Native extractors keep {"bookmarks": {stream: {...}}}; Singer taps mostly do so too, but may
have keys of their own beside it, or no "bookmarks" at all: then each key is taken for a stream. `partial` is what an
unfinished run came to; the next run begins with `merge(state, partial)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.values import ValueFault, shown

BOOKMARKS = "bookmarks"
SYNCING = "currently_syncing"  # of pipelinewise taps: the stream at which an unfinished run goes on
LARGEST_BYTES = 1024 * 1024
DEEPEST = 100
UNFOLDED = 3  # bookmarks, stream, key: what lies deeper is told apart only where it changed
LONGEST_SHOWN = 120
MISSING = object()
FORMS = ("meltano", "singer_state", "singer")
PARTS = {"completed": ("completed", "completed_state"), "partial": ("partial", "partial_state")}


# ---------- streams ----------


def merge(state: Mapping[str, Any], partial: Mapping[str, Any]) -> dict[str, Any]:
    """`partial` over `state`, as Meltano does: objects are merged key by key, everything else is replaced."""
    merged = dict(state)
    for key, value in partial.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def bookmarks_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Each stream's bookmark; without an object `bookmarks` each key of the state is a stream."""
    bookmarks = state.get(BOOKMARKS)
    if isinstance(bookmarks, Mapping):
        return dict(bookmarks)
    return {name: value for name, value in state.items() if name not in (BOOKMARKS, SYNCING)}


def others_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a state holds that is no stream's: keys of the tap's own."""
    if isinstance(state.get(BOOKMARKS), Mapping):
        return {key: value for key, value in state.items() if key != BOOKMARKS}
    return {key: value for key, value in state.items() if key in (BOOKMARKS, SYNCING)}


def streams_of(state: Mapping[str, Any]) -> list[str]:
    """The streams a state has a bookmark for, in order of their names."""
    return sorted(bookmarks_of(state))


def without_streams(state: Mapping[str, Any], streams: Iterable[str]) -> dict[str, Any]:
    """The state without these streams' bookmarks; what else is in it stays as it is."""
    gone = set(streams)
    kept = {key: value for key, value in state.items() if key != SYNCING or value not in gone}
    if isinstance(state.get(BOOKMARKS), Mapping):
        left = {name: value for name, value in bookmarks_of(state).items() if name not in gone}
        return {**kept, BOOKMARKS: left}
    return {key: value for key, value in kept.items() if key not in gone}


def emptied(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that remembers nothing, in the form of this one."""
    return {BOOKMARKS: {}} if BOOKMARKS in state else {}


def brief(value: Any) -> str:
    """A value of a state on one line, cut where it is long; of large lists and objects how many entries they have."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping | list) and len(text) > LONGEST_SHOWN:
        return f"{len(value):,} {'entry' if len(value) == 1 else 'entries'}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


# ---------- comparing ----------


@dataclass(frozen=True)
class Difference:
    """One value of two states: `op` is add, remove, replace or same; `before` or `after` may be MISSING."""

    op: str
    path: tuple[str, ...]
    before: Any
    after: Any

    @property
    def pointer(self) -> str:
        """Where it is, as a JSON pointer (RFC 6901)."""
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in self.path)

    @property
    def name(self) -> str:
        """Where it is, as people say it: `orders.updated_at`."""
        return ".".join(self.path[1:] if len(self.path) > 1 and self.path[0] == BOOKMARKS else self.path)


def differences(before: Any, after: Any, *, with_same: bool = False) -> list[Difference]:
    """What changed between two states, in order of names; with_same adds what did not."""
    found = _compare((), before, after)
    return [each for each in found if with_same or each.op != "same"]


def _compare(path: tuple[str, ...], before: Any, after: Any) -> Iterator[Difference]:
    is_same = before is not MISSING and after is not MISSING and _equal(before, after)
    sides = [side for side in (before, after) if side is not MISSING]
    is_unfolded = len(path) < UNFOLDED if is_same or len(sides) < 2 else True
    if is_unfolded and all(isinstance(side, Mapping) for side in sides) and any(sides):
        for key in sorted({key for side in sides for key in side}):
            yield from _compare((*path, key), _at(before, key), _at(after, key))
    elif not is_same and len(sides) == 2 and isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            pair = [side[index] if index < len(side) else MISSING for side in (before, after)]
            yield from _compare((*path, str(index)), *pair)
    elif path:
        op = "same" if is_same else "add" if before is MISSING else "remove" if after is MISSING else "replace"
        yield Difference(op, path, before, after)


def _at(side: Any, key: str) -> Any:
    return MISSING if side is MISSING else side.get(key, MISSING)


def _equal(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike Python's, true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


# ---------- in and out ----------


def read_text(text: str) -> Any:
    """The JSON value of a text that a person wrote. Raises ValueFault with line and column."""
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueFault("There is nothing here. Write a JSON object; {} is the empty state.") from None
        line = text.split("\n")[error.lineno - 1].strip()
        place = f"line {error.lineno}, column {error.colno}" + (f", in {shown(line)}" if line else "")
        raise ValueFault(f"This is not JSON: {error.msg} at {place}. Mend it there.") from None
    except (RecursionError, ValueError) as error:
        raise ValueFault(f"This is not JSON that can be read here: {error}. Mend that.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def as_text(value: Any) -> str:
    """A value as JSON that people read and edit."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def check_state(state: Any, *, is_native: bool = False) -> None:
    """Raise ValueFault unless this may be stored as a state; a native extractor's holds objects under bookmarks alone."""
    if not isinstance(state, Mapping):
        raise ValueFault(f"{shown(state)} is not a JSON object. Write one; {{}} is the empty state.")
    _check_values(state)
    size = len(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode())
    if size > LARGEST_BYTES:
        raise ValueFault(
            f"The state has {size:,} bytes; at most {LARGEST_BYTES:,} are kept. Take out what no run needs."
        )
    if is_native:
        _check_native(state)


def _check_values(state: Any) -> None:
    """Refuse what one database stores and another does not: no value may depend on which it is."""
    waiting = [(state, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueFault(f"The state is nested more than {DEEPEST} levels deep. Make it flatter.")
        if isinstance(value, Mapping):
            waiting += [(part, depth + 1) for part in (*value.keys(), *value.values())]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and ("\0" in value or (not value.isascii() and _has_half_character(value))):
            raise ValueFault("A text of the state holds a NUL or half a character, which is not kept. Take it out.")
        elif (isinstance(value, float) and value in (float("inf"), float("-inf"))) or value != value:
            raise ValueFault("A number of the state is too large to be kept. Write it as text, or smaller.")


def _has_half_character(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_native(state: Mapping[str, Any]) -> None:
    other = next((key for key in state if key != BOOKMARKS), None)
    form = 'Write {"bookmarks": {"<stream>": {…}}}.'
    if other is not None:
        raise ValueFault(f"This extractor keeps its state under bookmarks, and {shown(other)} stands beside it. {form}")
    bookmarks = state.get(BOOKMARKS, {})
    if not isinstance(bookmarks, Mapping):
        raise ValueFault(f"bookmarks is {shown(bookmarks)}, not an object. {form}")
    for stream, bookmark in bookmarks.items():
        if not isinstance(bookmark, Mapping):
            raise ValueFault(f"The bookmark of {shown(stream)} is {shown(bookmark)}, not an object. {form}")


def import_form(value: Any) -> dict[str, Any]:
    """The Singer state in any form it is handed over in, an unfinished run's part merged in. Raises ValueFault.

    1. {"type": "STATE", "value": {...}}: a tap's message;
    2. {"singer_state": {...}}: what `meltano state get` prints and `meltano state set` takes;
    3. {"completed": {"singer_state": ...}, "partial": ...}, or with completed_state and partial_state, those as JSON
       texts too: as Meltano's backends keep it;
    4. anything else: the state itself.
    """
    if not isinstance(value, Mapping):
        raise ValueFault(f"{shown(value)} is not a JSON object. Give a state, or what meltano state get prints.")
    if value.get("type") == "STATE" and "value" in value:
        return _object(value["value"], "value")
    if "singer_state" in value:
        return _object(value["singer_state"], "singer_state")
    if not any(name in value for names in PARTS.values() for name in names):
        return dict(value)
    parts = {part: _part(value, names) for part, names in PARTS.items()}
    return merge(parts["completed"], parts["partial"])


def _part(value: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    name = next((name for name in names if value.get(name) is not None), "")
    part = value[name] if name else {}
    if isinstance(part, str):
        try:
            part = json.loads(part or "{}")
        except ValueError as error:
            raise ValueFault(f"{name} is a text that is not JSON: {error}. Export the state again.") from None
    part = _object(part, name)
    return _object(part["singer_state"], f"{name}.singer_state") if "singer_state" in part else part


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueFault(f"{name} is {shown(value)}, not a JSON object. Export the state again.")
    return dict(value)


def export_form(state: Mapping[str, Any], partial: Mapping[str, Any], form: str) -> dict[str, Any]:
    """A state for others. meltano: as its backends keep it; singer_state: for `meltano state set`; singer: for a tap."""
    if form == "meltano":
        return {
            "completed": {"singer_state": dict(state)} if state else {},
            "partial": {"singer_state": dict(partial)} if partial else {},
        }
    whole = merge(state, partial)
    return {"singer_state": whole} if form == "singer_state" else whole
