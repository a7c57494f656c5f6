"""The lines of a tap: reading them in large chunks, and telling what kind of message each is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from jobs.engine.movers import failures
from jobs.engine.movers.pipes import widen
from jobs.engine.movers.protocol import MoverError

CHUNK = 1 << 20  # bytes
MAX_LINE = 64 << 20  # bytes
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError)
# Most taps begin a record so: what it is can be seen without decoding it.
RECORD_HEAD = re.compile(rb'\{"type": ?"RECORD", ?"stream": ?"([^"\\]*)"')

# One of the two escapes that together write a character beyond \\uffff, without the other.
HALF = re.compile(rb"(?i)\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}")


class Head(msgspec.Struct, gc=False):
    """What every message says of itself."""

    type: str
    stream: str | None = None


class Activation(msgspec.Struct, gc=False):
    """An ACTIVATE_VERSION message."""

    version: int


class State(msgspec.Struct, gc=False):
    """A STATE message."""

    value: dict[str, Any]


class Encoding(msgspec.Struct, gc=False):
    """How the files of a BATCH are written."""

    format: str = "jsonl"
    compression: str | None = None


class Batch(msgspec.Struct, gc=False):
    """A BATCH message."""

    encoding: Encoding
    manifest: list[str]
    version: int | None = None


_head = msgspec.json.Decoder(Head)
REASONS = {
    "Object missing required field `type`": "It does not say its type.",
    "Object missing required field `record`": "It is a RECORD without a record.",
}


def bad_line(
    number: int, line: bytes, reason: str, *, stream: str | None = None, file: str | None = None
) -> MoverError:
    """A line that is no Singer message."""
    where = f"{file}, line {number}" if file else f"Line {number} of the tap's output"
    return MoverError(
        f"{where} is not a Singer message",
        reason=f"{reason} The line is: {failures.clip(line[:400].decode(errors='replace')) or '(empty)'}",
        remedy="Each line is one JSON object in UTF-8. Correct the tap or what it reads, then run again; what was"
        " committed before stays.",
        code="singer-line",
        stream=stream,
        file=file,
        line=number,
    )


def explain(
    error: Exception, number: int, line: bytes, *, stream: str | None = None, file: str | None = None
) -> MoverError:
    """Why a line could not be decoded."""
    if isinstance(error, UnicodeDecodeError):
        reason = "It holds bytes that are not UTF-8."
    elif isinstance(error, msgspec.ValidationError):
        reason = next((REASONS[text] for text in REASONS if str(error).startswith(text)), "")
        reason = reason or ("It is JSON, but not an object." if line.lstrip()[:1] != b"{" else f"{error}.")
    elif HALF.search(line):
        reason = "It holds half of a surrogate pair, which is no character."
    else:
        reason = f"It is not JSON: {error}."
    return bad_line(number, line, reason, stream=stream, file=file)


def head_of(line: bytes, number: int) -> Head:
    """A message's type and stream. Raises MoverError: singer-line."""
    try:
        return _head.decode(line)
    except UNDECODABLE as error:
        if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError):
            raise explain(error, number, line) from error
        found = re.search(rb'"type"\s*:\s*"RECORD"', line[:200])
        name = re.search(rb'"stream"\s*:\s*"([^"\\]*)"', line)
        if found and name:  # it may hold NaN, which a record is decoded with patience for
            return Head("RECORD", name[1].decode(errors="replace"))
        raise explain(error, number, line) from error


def decoded(kind: Any, line: bytes, number: int, *, stream: str | None = None) -> Any:
    """A message of a known kind. Raises MoverError: singer-line."""
    try:
        return msgspec.json.decode(line, type=kind)
    except UNDECODABLE as error:
        raise explain(error, number, line, stream=stream) from error


class Lines:
    """The lines that come from a descriptor: those that each chunk completes, with the chunk's size in bytes.

    `rest` is, after the last chunk, a line without an end: of a tap that died while it wrote, a piece. Raises
    MoverError for an endless line.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.rest = b""

    def __iter__(self) -> Iterator[tuple[list[bytes], int]]:
        widen(self._descriptor)
        begun: list[bytes] = []  # of a line that is not complete
        size = 0
        number = 0
        while chunk := os.read(self._descriptor, CHUNK):
            lines = chunk.split(b"\n")
            size += len(lines[0])
            if size > MAX_LINE:
                raise bad_line(number + 1, b"".join(begun), f"It is longer than {MAX_LINE >> 20} MiB.")
            if len(lines) == 1:
                begun.append(chunk)
                continue
            if begun:
                lines[0] = b"".join([*begun, lines[0]])
            last = lines.pop()
            begun, size = ([last], len(last)) if last else ([], 0)
            number += len(lines)
            yield lines, len(chunk)
        self.rest = b"".join(begun)
