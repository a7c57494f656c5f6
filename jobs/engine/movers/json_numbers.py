"""Numbers in JSON lines that have more digits than a double keeps.

DuckDB's JSON reader makes a double of each number with a point or an exponent, and says nothing of the digits that go.
So a file is searched for such numbers beside the first look at it; where there are some, a copy is read in which each
value that may be one is a JSON string of its own text.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import IO

import msgspec

BLOCK_BYTES = 1 << 20
SAFE_DIGITS = 15  # so many any double keeps
PRINTED_DIGITS = 17  # with so many a program prints a double
SAMPLES = 64  # numbers of 16 or 17 digits in each block that are looked at: mostly they are doubles that were printed
SPANS = bytes(ord("0") if byte in b"0123456789." else ord(" ") for byte in range(256))
SHORT_SPAN = b"0" * (SAFE_DIGITS + 2)  # the point is one of them
LONG_SPAN = b"0" * (PRINTED_DIGITS + 2)
BEFORE = b":,[ \t-"
AFTER = b",}] \t\r\neE"
EXPONENT = re.compile(rb"[eE][+-]?[0-9]+")
MALFORMED = msgspec.DecodeError
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@contextmanager
def searching(opened: Callable[[], IO[bytes]], *, most_lines: int | None) -> Iterator[Callable[[], bool]]:
    """Search a file beside what the caller does; what is given waits for the answer. The end of the block ends it."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        answer = beside.submit(_search, opened, most_lines, stop)
        try:
            yield answer.result
        finally:
            stop.set()


def _search(opened: Callable[[], IO[bytes]], most_lines: int | None, stop: threading.Event) -> bool:
    """Whether a number would lose digits: surely with more than 17 of them, and by samples with 16 or 17."""
    lines = 0
    with opened() as file:
        while (block := file.read(BLOCK_BYTES) + file.readline()) and not stop.is_set():
            if _is_lossy(block):
                return True
            lines += block.count(b"\n") if most_lines else 0
            if most_lines and lines >= most_lines:
                return False
    return False


def _is_lossy(block: bytes) -> bool:
    spans = block.translate(SPANS)
    first = spans.find(SHORT_SPAN)
    if first < 0:
        return False
    sampled = itertools.islice(_reals(block, spans, first, SHORT_SPAN, SAFE_DIGITS), SAMPLES)
    found = itertools.chain(sampled, _reals(block, spans, first, LONG_SPAN, PRINTED_DIGITS))
    return any(_loses_digits(_number(block, *span)) and _is_in_line(block, *span) for span in found)


def _reals(block: bytes, spans: bytes, first: int, wanted: bytes, digits: int) -> Iterator[tuple[int, int]]:
    """Where numbers begin and end that have more than so many digits, and a point or an exponent."""
    end = first
    while (start := spans.find(wanted, end)) >= 0 and (end := spans.find(b" ", start)) >= 0:
        if end - start <= digits + 2 and block.startswith(b"0.", start):
            continue
        span = block[start:end]
        if b"." not in span and block[end] not in b"eE":
            continue  # whole numbers are kept
        is_long = len(span.replace(b".", b"").strip(b"0")) > digits
        if is_long and (not start or block[start - 1] in BEFORE) and block[end] in AFTER and span.count(b".") < 2:
            yield start, end


def _number(block: bytes, start: int, end: int) -> str:
    exponent = EXPONENT.match(block, end)
    return block[start : exponent.end() if exponent else end].decode()


def _loses_digits(number: str) -> bool:
    printed = repr(float(number))
    return printed != number and Decimal(printed) != Decimal(number)


def _is_in_line(block: bytes, start: int, end: int) -> bool:
    """Whether the line holds such a number indeed, and not in a text."""
    line_end = block.find(b"\n", end)
    line = block[block.rfind(b"\n", 0, start) + 1 : len(block) if line_end < 0 else line_end]
    lossy: list[str] = []

    def keep(number: str) -> None:
        if _loses_digits(number):
            lossy.append(number)

    try:
        json.loads(line, parse_float=keep)
    except (ValueError, RecursionError):  # no JSON: the reader's to name
        return False
    return bool(lossy)


class Rewriter:
    """Makes the lines of the copy. `numbers`: keys whose numbers and nested values become their own text, while texts
    stay; `anything`: keys of which all values do. Raises MALFORMED for a line that is not an object.
    """

    def __init__(self, *, numbers: Set[str], anything: Set[str]) -> None:
        self._numbers = numbers
        self._anything = anything
        self._keys: dict[str, bytes] = {}

    def line(self, line: bytes) -> bytes:
        """One line, with its end."""
        if not line.strip():
            return b"\n"
        return (
            b"{"
            + b",".join([self._key(key) + self._value(key, bytes(raw)) for key, raw in _members(line).items()])
            + b"}\n"
        )

    def _key(self, key: str) -> bytes:
        if key not in self._keys:
            self._keys[key] = msgspec.json.encode(key) + b":"
        return self._keys[key]

    def _value(self, key: str, raw: bytes) -> bytes:
        if raw == b"null" or not (key in self._anything or (key in self._numbers and raw[:1] != b'"')):
            return raw
        return msgspec.json.encode(raw.decode())
