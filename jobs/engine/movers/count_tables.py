"""What is known of a target's table, and how keys are looked for in one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLES = 1000  # keys that are looked for at most
INTEGER = re.compile(r"\s*-?[0-9]{1,18}\s*")
TIME = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}|\s*[0-9]{2}:[0-9]{2}")


@dataclass
class Table:
    """A target's table. `rows` is None where it could not be counted, and `why` says why not; 0 where there is none.

    `missing` are the keys that were looked for and are not there; None where none was looked for.
    """

    rows: int | None = None
    exists: bool | None = None
    missing: list[list[Any]] | None = None
    why: str = ""

    def event(self) -> dict[str, Any]:
        """As the event `counted` has it."""
        facts: dict[str, Any] = {"rows": self.rows, "exists": self.exists}
        if self.missing is not None:
            facts["missing"] = self.missing
        if self.why:
            facts["why"] = self.why
        return facts


def spelled(name: str, there: Iterable[str]) -> str | None:
    """A name as the store has it: exactly so, or the only one that differs in case alone."""
    names = list(there)
    if name in names:
        return name
    alike = [other for other in names if other.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True)
class Wanted:
    """Keys to look for: the table's columns, and for each sample, by its number, the value of each as text."""

    columns: Sequence[str]
    rows: Sequence[tuple[int, list[str]]]


def wanted_keys(keys: Mapping[str, Any], kinds: Mapping[str, str]) -> Wanted | None:
    """The keys that can be compared by their text; None where they cannot.

    `kinds` maps the table's columns to "integer", "text", "uuid", or "" for types such as times and doubles, which a
    target may well write otherwise than they came: a row that is there must never seem to be missing.
    """
    columns = [spelled(str(name), kinds) for name in keys.get("columns") or ()]
    found = [column for column in columns if column is not None and kinds[column]]
    if not found or len(found) != len(columns):
        return None
    rows = []
    for number, sample in enumerate(list(keys.get("samples") or ())[:SAMPLES]):
        values = [_as_text(value, kinds[column]) for value, column in zip(sample, found, strict=False)]
        known = [value for value in values if value is not None]
        if len(known) == len(found):
            rows.append((number, known))
    return Wanted(found, rows) if rows else None


def _as_text(value: Any, kind: str) -> str | None:
    """A key's value as text; None for one that no text stands for."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if kind == "integer":
        return str(value).strip() if INTEGER.fullmatch(str(value)) else None
    # A text that is a time may have been one on its way; NUL is what many targets leave out.
    return None if TIME.match(str(value)) or "\x00" in str(value) else str(value)
