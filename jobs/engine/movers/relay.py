"""The verb relay: passes Singer messages from a tap (standard input) to a target (standard output), and counts them.

It works on large blocks of whole lines: a block that holds records of one stream alone is counted by its line ends,
and no record becomes an object. Other lines are looked at one by one.

With `gate` in its specification it stops at the first SCHEMA of each stream, says so (`schema` {stream, keys}), and
goes on when it hears anything: until then the target has not heard of the stream, so its table can be counted.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jobs.engine.movers.pipes import widen
from jobs.engine.movers.protocol import MoverError, emit, hear

BLOCK = 1 << 20  # bytes read at once
LONGEST_LINE = 64 << 20  # bytes
EVERY_SECONDS = 1.0
MOST_KEYS = 1_000_000  # of all streams; beyond it keys are no longer told apart
SAMPLES = 20  # keys kept of the first records of a stream, and of the last ones
SHOWN = 200  # characters of a line that a message quotes
RECORD = re.compile(rb'\{"type": ?"RECORD", ?"stream": ?"([^"\\]+)"')


class Envelope(msgspec.Struct, gc=False):
    """What counting needs of a message."""

    type: str
    stream: str = ""
    key_properties: list[str] | None = None


@dataclass
class Stream:
    """What was passed on of a stream."""

    records: int = 0
    size: int = 0  # bytes
    said: int = 0
    keys: list[str] = field(default_factory=list)
    decoder: Any = None  # of a record's keys, where they are to be told apart
    distinct: set[int] | None = None
    first: list[list[Any]] = field(default_factory=list)
    last: list[bytes] = field(default_factory=list)


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Pass everything on. Raises MoverError (singer-line) for what is no Singer message; lines before it are passed."""
    relay = Relay(has_gate=bool(spec.get("gate")), wants_keys=bool(spec.get("keys")))
    widen(0)
    widen(1)
    try:
        for block in blocks(0):
            for passed in relay.look_at(block):
                _write(passed)
            relay.say()
        os.close(1)
    finally:  # what was read is worth knowing, also where the target is gone
        relay.say(is_last=True)
    return {"streams": {name: relay.facts_of(stream) for name, stream in relay.streams.items()}}


def blocks(reading: int) -> Iterator[bytes]:
    """What arrives, in blocks of whole lines; an empty one where nothing came for a while, so that counts can be said.

    Only the last line may have no end.
    """
    rest = bytearray()
    while True:
        if not select.select([reading], [], [], EVERY_SECONDS)[0]:
            yield b""
            continue
        if not (chunk := os.read(reading, BLOCK)):
            break
        end = chunk.rfind(b"\n")
        if end < 0:
            rest += chunk
            if len(rest) > LONGEST_LINE:
                yield bytes(rest)  # refused by its length
            continue
        yield bytes(rest) + chunk[: end + 1]
        rest = bytearray(chunk[end + 1 :])
    if rest.strip():
        yield bytes(rest)


def _write(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except BrokenPipeError:  # not ours: whoever judges the pair is told that the target no longer reads
        emit("cut")
        raise


class Relay:
    """Counts what passes."""

    def __init__(self, *, has_gate: bool, wants_keys: bool) -> None:
        self.streams: dict[str, Stream] = {}
        self._has_gate = has_gate
        self._wants_keys = wants_keys
        self._prefix = b""  # how the last record began, up to its stream's name
        self._current = Stream()
        self._lines = 0
        self._decode = msgspec.json.Decoder(Envelope).decode
        self._started = self._said = time.monotonic()
        self._kept_keys = 0

    def look_at(self, block: bytes) -> Iterator[bytes]:
        """Count a block of whole lines; yields what may be passed on, in order."""
        lines = block.count(b"\n")
        prefix = self._prefix
        if (
            prefix
            and self._current.decoder is None
            and block.startswith(prefix)
            and block.count(b"\n" + prefix) == lines - 1
            and len(block) < LONGEST_LINE
        ):
            self._current.records += lines
            self._current.size += len(block)
            self._lines += lines
            yield block
            return
        start = passed = 0
        while (end := block.find(b"\n", start)) >= 0:
            try:
                is_held = self._look_at_line(block[start:end])
            except MoverError:
                yield block[passed:start]
                raise
            if is_held:
                yield block[passed:start]
                passed = start
                hear()
            start = end + 1
        yield block[passed:start]
        if start < len(block):  # a line without an end
            if self._look_at_line(block[start:], is_last=True):
                hear()
            yield block[start:] + b"\n"

    def _look_at_line(self, line: bytes, *, is_last: bool = False) -> bool:
        """Count a line; whether it is to be held at the gate. The last one may be half of what was to be written."""
        self._lines += 1
        if len(line) > LONGEST_LINE:
            raise self._too_long()
        if is_last:
            try:
                msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._refused(line, str(error)) from error
        found = RECORD.match(line)
        if found:
            self._count(line, found[1].decode("utf-8", "replace"))
            if line[: found.end()] != self._prefix:
                self._prefix = line[: found.end()]
            return False
        if not line.strip():
            return False
        try:
            message = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._refused(line, str(error)) from error
        if message.type == "RECORD":
            self._count(line, message.stream)
            self._prefix = b""
        elif message.type == "SCHEMA" and message.stream not in self.streams:
            self.streams[message.stream] = self._new_stream(message.key_properties or [])
            if self._has_gate:
                emit("schema", stream=message.stream, keys=message.key_properties or [])
            return self._has_gate
        return False

    def _new_stream(self, keys: list[str]) -> Stream:
        stream = Stream(keys=keys)
        if keys and self._wants_keys:
            fields = [(f"key_{number}", msgspec.Raw, msgspec.field(name=name)) for number, name in enumerate(keys)]
            record = msgspec.defstruct("Record", fields, gc=False)
            envelope = msgspec.defstruct("Keyed", [("record", record)], gc=False)
            stream.decoder, stream.distinct = msgspec.json.Decoder(envelope).decode, set()
        return stream

    def _count(self, line: bytes, name: str) -> None:
        stream = self.streams.setdefault(name, Stream())
        self._current = stream
        stream.records += 1
        stream.size += len(line) + 1
        if stream.decoder is None:
            return
        try:
            record = stream.decoder(line).record
        except (msgspec.DecodeError, UnicodeDecodeError):  # a record without its key: the target's to refuse
            stream.distinct = None
            return
        keys = [bytes(memoryview(getattr(record, f"key_{number}"))) for number in range(len(stream.keys))]
        if stream.distinct is not None:
            before = len(stream.distinct)
            stream.distinct.add(hash(tuple(keys)))
            self._kept_keys += len(stream.distinct) - before
            if self._kept_keys > MOST_KEYS:
                stream.distinct = None
        if len(stream.first) < SAMPLES:
            stream.first.append([msgspec.json.decode(key) for key in keys])
        else:
            stream.last = [*stream.last[1 - SAMPLES :], b"[" + b",".join(keys) + b"]"]

    def say(self, *, is_last: bool = False) -> None:
        """Stream events, at most once a second."""
        now = time.monotonic()
        if not is_last and now - self._said < EVERY_SECONDS:
            return
        self._said = now
        for name, stream in self.streams.items():
            if stream.records != stream.said or is_last:
                stream.said = stream.records
                seconds = round(now - self._started, 3)
                emit("stream", stream=name, rows_read=stream.records, bytes=stream.size, seconds=seconds)

    @staticmethod
    def facts_of(stream: Stream) -> dict[str, Any]:
        """What is to be compared with the target's table."""
        return {
            "records": stream.records,
            "bytes": stream.size,
            "keys": stream.keys,
            "distinct": None if stream.distinct is None else len(stream.distinct),
            "samples": [*stream.first, *(msgspec.json.decode(key) for key in stream.last)],
        }

    def _too_long(self) -> MoverError:
        return MoverError(
            f"Line {self._lines:,} of the tap's output is longer than {LONGEST_LINE >> 20} MiB",
            reason="A Singer message is one line, and so long a one would fill the memory of whoever reads it.",
            remedy="Leave the stream or the column out that holds such values, or have the extractor split them.",
            code="singer-line",
            line=self._lines,
        )

    def _refused(self, line: bytes, why: str) -> MoverError:
        text = " ".join(line[:SHOWN].decode("utf-8", "replace").split())
        return MoverError(
            f"Line {self._lines:,} of the tap's output is not a Singer message",
            reason=f"{why.rstrip('.')}. The line is: {text}{'…' if len(line) > SHOWN else ''}",
            remedy="A tap writes messages to standard output and everything else to standard error. Use another"
            " version of it, or report this to its makers.",
            code="singer-line",
            line=self._lines,
        )
