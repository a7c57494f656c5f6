"""The verb singer_load: what a Singer tap writes, from standard input into one of the native loaders.

1. Say where the tap is to begin (`ready`). 2. Read its messages; records go into a stage. 3. At a STATE message, once
enough has gathered, bring all stages into their tables and the state into the store in one transaction, and only then
say so. 4. At the end hear how the tap ended: after a failure nothing counts that came after its last state.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from jobs.engine.movers import move, resuming, singer_messages, tables
from jobs.engine.movers.ports import ALL_STREAMS, Load, Stored, Target, Writer
from jobs.engine.movers.protocol import MoverError, emit, hear, log
from jobs.engine.movers.singer_batches import FLUSH_BYTES, FLUSH_ROWS, take_batch
from jobs.engine.movers.singer_messages import RECORD_HEAD, UNDECODABLE, Activation, Batch, State
from jobs.engine.movers.singer_progress import SingerProgress
from jobs.engine.movers.singer_schema import StreamSchema, read_schema
from jobs.engine.movers.singer_stream import Options, SingerStream

STDIN = 0
COMMIT_ROWS = 100_000
COMMIT_BYTES = 64 << 20
COMMIT_SECONDS = 30.0
REWRITES = 10  # a merge into files writes a stream anew: so many times more must have gathered
BUFFER_BYTES = 64 << 20  # of all streams together
NOWHERE = b"\n"  # how no line begins

prepare = move.prepare


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Load what the tap writes. Answers {"streams", "rows"}, and {"incomplete": True} where the tap failed."""
    writer: Writer = move.make_writer(spec)
    is_complete = False
    try:
        load = SingerLoad(spec, writer)
        result = load.run()
        is_complete = not result.get("incomplete")
    finally:
        writer.close(is_complete=is_complete)
    return result


class SingerLoad:
    """One run: the streams, the last state, and what has been committed."""

    def __init__(self, spec: Mapping[str, Any], writer: Writer) -> None:
        self._spec = spec
        self._writer = writer
        settings = spec["loader"]["settings"]
        self._method = move.load_method(settings)
        self._verify = str(settings.get("verify") or "auto")
        nulls = "drop" if settings.get("sanitize_null_text_characters") else "refuse"
        self._options = Options(
            flatten=bool(settings.get("flatten")),
            add_metadata=bool(settings.get("add_record_metadata")),
            null_texts=nulls if writer.takes_copy else "keep",
        )
        # Replacing asks for all rows: half of them would take the place of the old ones.
        self._is_once = bool(spec.get("full_refresh")) or self._method == "replace"
        rewrites = self._method == "merge" and spec["loader"]["plugin"] == "target-files"
        self._patience = REWRITES if rewrites else 1
        self._streams: dict[str, SingerStream] = {}
        self._current: SingerStream | None = None
        self._prefix = NOWHERE
        self._schemas: dict[str, bytes] = {}  # each stream's last SCHEMA line
        self._said: set[str] = set()
        self._state_line: tuple[int, bytes] | None = None  # the last STATE, as it came
        self._gathered = 0  # rows since the last commit, nearly
        self._gathered_bytes = 0
        self._committed_at = time.monotonic()

    def run(self) -> dict[str, Any]:
        self._begin()
        number = 0
        with SingerProgress(self._streams):
            output = singer_messages.Lines(STDIN)
            for lines, size in output:
                self._gathered_bytes += size
                number = self._take(lines, number)
                self._flush_full()
            is_well = (hear() or {}).get("extractor_exit") == 0
            self._take_rest(output.rest, number, is_well=is_well)
            self._end(is_well=is_well)
        self._say()
        rows = sum(stream.counts.written for stream in self._streams.values())
        result: dict[str, Any] = {"streams": len(self._streams), "rows": rows}
        return result if is_well else {**result, "incomplete": True}

    # Where to begin

    def _begin(self) -> None:
        stored = self._writer.stored(str(self._spec["pipeline"]))
        begins = resuming.beginning(self._spec, stored)
        self._epoch, self._sequence = begins.epoch, begins.sequence
        self._state = begins.state
        if self._is_once:
            self._state = {}
            why = "full refresh" if self._spec.get("full_refresh") else "the load method is replace"
            log(f"All is read again: {why}, so the stored state is not used")
        elif begins.newer:
            job = max(begins.newer.values(), key=lambda load: (load.epoch, load.sequence)).job
            log(f"The store knows a newer state than ours, from job {job}; going on from there")
        self._state = self._without_lost(self._state, stored)
        emit("ready", state=self._state, epoch=self._epoch, sequence=self._sequence)

    def _without_lost(self, state: dict[str, Any], stored: Mapping[str, Stored]) -> dict[str, Any]:
        """The state without bookmarks of streams whose table is gone: they are read from the start.

        A tap may call its bookmarks otherwise than its streams: a name of which the store never heard stays, unless
        the store never heard of this pipeline at all.
        """
        known = {name for name in stored if name != ALL_STREAMS}
        lost = [
            name
            for name in resuming.bookmarks(state)
            if (name in known or not stored) and not self._writer.has_table(tables.table_name(name))
        ]
        for name in lost:
            table = tables.table_name(name)
            log(f"{name}: table {table} does not exist, so the stored state is not used", level="warning")
        if not lost:
            return state
        kept = {name: mark for name, mark in resuming.bookmarks(state).items() if name not in lost}
        return {**state, "bookmarks": kept}

    # Messages

    def _take(self, lines: Sequence[bytes], number: int) -> int:
        """Take in lines, the first of which is the one after `number`; answers the last one's number."""
        stream, prefix, decode, add_row, add_line = self._ways()
        size = 0
        for line in lines:
            number += 1
            if line.startswith(prefix):
                try:
                    add_row(decode(line))
                except UNDECODABLE:
                    add_row(self._decode_loosely(line, number))
                    decode = self._ways()[2]
                add_line(number)
                size += len(line)
                continue
            if stream is not None:
                stream.buffered += size
                size = 0
            self._take_other(line, number)
            stream, prefix, decode, add_row, add_line = self._ways()
        if stream is not None:
            stream.buffered += size
        self._gathered += len(lines)
        return number

    def _take_rest(self, line: bytes, number: int, *, is_well: bool) -> None:
        """The last line, where it has no end. A tap that died while it wrote is the cause, not the piece it left."""
        if not line:
            return
        try:
            self._take([line], number)
        except MoverError as error:
            if is_well or error.event["code"] != "singer-line":
                raise
            log(f"The tap's output ends in the middle of line {number + 1}, which is left out", level="warning")

    def _ways(self) -> tuple[SingerStream | None, bytes, Callable[[bytes], Any], Callable[[Any], None], Any]:
        """How the next lines are taken in, as long as they are records of the stream of the last one."""
        stream = self._current
        if stream is None:
            return None, NOWHERE, bytes, _nothing, _nothing
        return stream, self._prefix, stream.decode, stream.rows.append, stream.lines.append

    def _decode_loosely(self, line: bytes, number: int) -> Any:
        assert self._current is not None  # no line begins with NOWHERE
        return self._current.decode_loosely(line, number)

    def _take_other(self, line: bytes, number: int) -> None:
        """A line that is not a record of the stream of the line before."""
        begins = RECORD_HEAD.match(line)
        if begins:
            stream = self._streams.get(begins[1].decode(errors="replace"))
            if stream is not None:
                self._current, self._prefix = stream, begins[0]
                stream.take(line, number)
                return
        if not line.strip():
            return
        head = singer_messages.head_of(line, number)
        name = head.stream
        if head.type == "STATE":
            self._take_state(line, number)
        elif head.type == "SCHEMA":
            self._take_schema(line, number, name)
        elif head.type in ("RECORD", "ACTIVATE_VERSION", "BATCH"):
            if not name:
                raise singer_messages.bad_line(number, line, f"It is a {head.type} that names no stream.")
            stream = self._streams.get(name)
            if stream is None:
                raise _no_schema(name, head.type, number)
            if head.type == "RECORD":
                stream.take(line, number)
            elif head.type == "BATCH":
                self._take_batch(stream, line, number)
            else:
                stream.activate(singer_messages.decoded(Activation, line, number, stream=name).version, number)
        else:
            self._say_once(f"Messages of the type {head.type} are not known here and not loaded")

    def _take_batch(self, stream: SingerStream, line: bytes, number: int) -> None:
        batch = singer_messages.decoded(Batch, line, number, stream=stream.name)
        allowed = [str(folder) for folder in self._spec.get("allowed_folders") or ()]
        take_batch(stream, batch, number, engine=self._writer.engine, allowed=allowed, loaded=self._batch_loaded)

    def _batch_loaded(self, rows: int) -> None:
        self._gathered += rows

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log(text, level="warning")

    def _take_schema(self, line: bytes, number: int, name: str | None) -> None:
        if name and self._schemas.get(name) == line:
            return
        try:
            message = json.loads(line, parse_float=Decimal)
        except ValueError as error:
            raise singer_messages.explain(error, number, line) from error
        schema = read_schema(message, line=number, flatten=self._options.flatten)
        target = self._target(schema, number)
        self._schemas[schema.stream] = line
        stream = self._streams.get(schema.stream)
        if stream is not None:
            stream.change(schema, target)
        else:
            self._streams[schema.stream] = SingerStream(schema, target, self._writer.engine, self._options)

    def _target(self, schema: StreamSchema, line: int) -> Target:
        name, table = schema.stream, tables.table_name(schema.stream)
        other = next((s.name for s in self._streams.values() if s.target.table == table and s.name != name), None)
        if other is not None or table.startswith("_eltsite"):
            raise move.bad_name(name, table, other)
        method = self._method
        if method == "merge" and not schema.keys:
            self._say_once(f"{name}: it has no key properties, so its records are added and none is updated")
            method = "append"
        if self._spec.get("full_refresh") and method == "append":
            method = "replace"  # all is read again: added to the table it would be there twice
        return Target(name, table, method, schema.keys, False, self._verify)

    def _flush_full(self) -> None:
        buffered = 0
        for stream in self._streams.values():
            stream.arrived()
            if len(stream.rows) >= FLUSH_ROWS or stream.buffered >= FLUSH_BYTES:
                self._flush(stream)
            buffered += stream.buffered
        if buffered >= BUFFER_BYTES:
            for stream in self._streams.values():
                self._flush(stream)

    def _flush(self, stream: SingerStream) -> None:
        stream.flush()
        # The next record of any stream is looked at anew.
        self._current, self._prefix = None, NOWHERE

    # Commits

    def _take_state(self, line: bytes, number: int) -> None:
        self._state_line = (number, line)
        enough = (
            self._gathered >= COMMIT_ROWS * self._patience
            or self._gathered_bytes >= COMMIT_BYTES * self._patience
            or time.monotonic() - self._committed_at >= COMMIT_SECONDS * self._patience
        )
        if enough and not self._is_once:
            self._commit(up_to=None, verify="often" if self._verify == "auto" else self._verify)

    def _end(self, *, is_well: bool) -> None:
        """After the last message."""
        if is_well:
            if self._state_line is None and self._streams:
                log("The tap wrote no STATE: the next run begins where this one did")
            if self._streams or self._state_line is not None:
                self._commit(up_to=None, verify=self._verify)
        elif self._is_once:
            log("The tap did not end well, so nothing of this run counts", level="warning")
        elif self._state_line is not None:
            self._commit(up_to=self._state_line[0], verify=self._verify)

    def _commit(self, *, up_to: int | None, verify: str) -> None:
        """Bring all streams into their tables, and the state with them. Say it only afterwards."""
        if self._state_line is not None:
            number, line = self._state_line
            self._state = singer_messages.decoded(State, line, number).value
        for stream in self._streams.values():
            self._flush(stream)
        pending = [stream for stream in self._streams.values() if stream.is_pending()]
        sequence = self._sequence + 1
        with self._writer.transaction() as transaction:
            done = [
                (stream, stream.load(transaction, self._load(stream, sequence), up_to=up_to, verify=verify))
                for stream in pending
            ]
            rows = sum(counts.written for _, counts in done)
            transaction.remember(self._load(None, sequence), rows=rows)
            transaction.commit()
        self._sequence = sequence
        for stream, counts in done:
            stream.committed(counts)
        self._state_line = None
        self._gathered = self._gathered_bytes = 0
        self._committed_at = time.monotonic()
        emit("state", state=self._state, epoch=self._epoch, sequence=self._sequence)

    def _load(self, stream: SingerStream | None, sequence: int) -> Load:
        """What the store remembers: of all streams the state, of each its counts."""
        return Load(
            pipeline=str(self._spec["pipeline"]),
            stream=stream.name if stream else ALL_STREAMS,
            table=stream.target.table if stream else "",
            job=str(self._spec["job"]),
            attempt=int(self._spec.get("attempt") or 0),
            epoch=self._epoch,
            sequence=sequence,
            state={} if stream else self._state,
        )

    def _say(self) -> None:
        for stream in self._streams.values():
            counts = stream.counts
            changes = [
                f"{number:,} {word}"
                for number, word in ((counts.updated, "updated"), (counts.deleted, "removed"))
                if number
            ]
            text = ", ".join([f"{counts.read:,} rows read", f"{counts.inserted:,} inserted", *changes])
            log(f"{stream.name}: {text} in {time.monotonic() - stream.started:.1f} s")


def _nothing(_value: Any) -> None:
    """No line comes here."""


def _no_schema(stream: str, kind: str, line: int) -> MoverError:
    """A message of a stream that no SCHEMA introduced."""
    return MoverError(
        f"Line {line} of the tap's output: a {kind} of stream {stream} comes before its SCHEMA",
        reason="Without a SCHEMA nothing is known of the stream's columns.",
        remedy="Correct the tap: each stream begins with a SCHEMA message.",
        code="schema-missing",
        stream=stream,
        line=line,
    )
