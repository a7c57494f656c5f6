"""The form of log lines inside a chunk. Pure.

One line each: microseconds since the epoch, source, level and text, separated by tabs. The text holds no line
break and no ANSI code; a tab in it is kept, for it is the last field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's log. `level` is one of LEVELS; `source` names the process that wrote it."""

    at: datetime
    source: str
    level: str
    text: str


def pack(lines: Iterable[LogLine]) -> str:
    """Lines as the text of a chunk."""
    return "\n".join(
        f"{int(line.at.timestamp() * 1_000_000)}\t{line.source}\t{line.level}\t{line.text}" for line in lines
    )


def unpack(text: str, *, skip: int = 0) -> Iterator[LogLine]:
    """The lines of a chunk, without the first `skip`."""
    # Only "\n" separates lines: splitlines() would also split at other characters a text may hold.
    for row in text.split("\n")[skip:]:
        micros, source, level, message = row.split("\t", 3)
        yield LogLine(datetime.fromtimestamp(int(micros) / 1_000_000, UTC), source, level, message)
