"""The verb singer_tap: a built-in extractor as a Singer tap, its messages on standard output.

For each stream: SCHEMA, then all RECORDs, then STATE. DuckDB writes the records as JSON text into a pipe, and its
blocks go to standard output as they are: no row becomes an object. Bookmarks are those of the verb move, so a
pipeline may change between a built-in loader and another.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import duckdb

from jobs.engine.movers import json_schema, move, reading, types
from jobs.engine.movers.pipes import Pipe, produced, widen
from jobs.engine.movers.ports import Part, Reader, Source, Stream
from jobs.engine.movers.protocol import MoverError, emit, log
from jobs.engine.movers.quoting import text

OUT = 1  # standard output
EVERY_SECONDS = 1.0
# The text is one column of CSV without quotes; it holds no line break, and none of its letters is a delimiter.
AS_TEXT = r"FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'".replace(r"\x01", "\x01")
REPLACES = ("replace", "overwrite")
ONLY_ADDS = ("jsonl", "csv")  # kinds of stores whose targets know no keys


def prepare(needs: Sequence[str]) -> None:
    """Import what the extractor needs, while the interpreter's folder can be read."""
    move.prepare(needs)


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Read all streams. A reader of standard output that is gone ends it with BrokenPipeError."""
    reader = move.make_reader(spec)
    streams = reading.streams_of(reader, spec)
    widen(OUT)
    with closing(reading.engine_of(spec)) as engine:
        tap = Tap(spec, reader, engine)
        for stream in streams:
            tap.send(stream)
    return {"streams": len(streams), "rows": tap.rows}


def method_of(stream: Stream, spec: Mapping[str, Any]) -> str:
    """How the source is read: append, merge or replace, as `move` means them.

    A target that is given keys updates rows by them, so those that tie with the last bookmark are sent again (merge);
    without keys, or into files, they would be there twice (append). A full refresh and a target that replaces its
    tables get all rows (replace).
    """
    loader = spec.get("loader") or {}
    wanted = str((loader.get("settings") or {}).get("load_method") or "").lower()
    if spec.get("full_refresh") or wanted in REPLACES:
        return "replace"
    kind = (spec.get("store") or {}).get("kind")
    return "merge" if stream.primary_keys and kind not in ONLY_ADDS else "append"


def send(data: bytes | memoryview) -> None:
    """Write all of it to standard output. Raises BrokenPipeError when nobody reads it any more."""
    view = memoryview(data)
    while view:
        view = view[os.write(OUT, view) :]


def say(message: Mapping[str, Any]) -> None:
    """One Singer message."""
    send(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


class Tap:
    """One run: where the bookmarks stand, and what was sent."""

    def __init__(self, spec: Mapping[str, Any], reader: Reader, engine: Any) -> None:
        self._spec = spec
        self._reader = reader
        self._engine = engine
        self._bookmarks: dict[str, Any] = dict((spec.get("state") or {}).get("bookmarks") or {})
        self.rows = 0

    def send(self, stream: Stream) -> None:
        """One stream and, after its rows, the state."""
        sent = Sent(stream.name)
        bookmark = {} if self._spec.get("full_refresh") else dict(self._bookmarks.get(stream.name) or {})
        method = method_of(stream, self._spec)
        # Rows that were sent cannot be taken back, so types are not guessed from the first ones alone.
        with self._reader.open(stream, engine=self._engine, bookmark=bookmark, method=method, careful=True) as source:
            if source.columns:
                self._send_source(stream, source, sent, bookmark)
            elif not source.nothing_new:
                log(f"{stream.name}: nothing was read, for no file holds anything", level="warning")
        if source.columns and not source.nothing_new:
            self._bookmarks[stream.name] = {**source.bookmark}
        say({"type": "STATE", "value": {"bookmarks": self._bookmarks}})
        self.rows += sent.rows
        sent.done()

    def _send_source(self, stream: Stream, source: Source, sent: Sent, bookmark: Mapping[str, Any]) -> None:
        keys = reading.key_columns(stream, source.columns)
        replication_key = reading.replication_key(stream)
        say(
            {
                "type": "SCHEMA",
                "stream": stream.name,
                "schema": json_schema.object_schema(source.columns),
                "key_properties": keys,
                "bookmark_properties": [replication_key] if replication_key else [],
            }
        )
        if source.nothing_new:
            return
        known = set(bookmark.get("files") or ()) if source.by_file else set()
        again = [part.file for part in source.parts if part.file in known]
        if again and not keys:
            log(
                f"{stream.name}: {', '.join(map(str, again))} changed and is read again; without a primary key the"
                " target keeps the rows it has of it, too",
                level="warning",
            )
        kinds = {column.name: types.stored(column.type) for column in source.columns}
        # Of rows with one key the last is to win, so they stay in order; otherwise order only costs memory.
        self._engine.execute(f"SET preserve_insertion_order = {str(bool(keys)).lower()}")
        for part in source.parts:
            self._send_part(part, kinds, sent)

    def _send_part(self, part: Part, kinds: Mapping[str, str], sent: Sent) -> None:
        before = sent.rows
        with part.scan(self._engine, kinds) as scan:
            record = json_schema.record_of(sent.stream, kinds, present=scan.names)
            try:
                written = sent.relay(self._engine, f"SELECT {record} FROM ({scan.select})")
            except duckdb.Error as error:
                raise _explained(part, error) from error
        read = scan.rows_read()
        if not sent.rows - before == written == (written if read is None else read):
            raise _counts_differ(sent.stream, read, written, sent.rows - before)


class Sent:
    """What went to standard output of one stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.rows = 0
        self._bytes = 0
        self._started = self._said = time.monotonic()
        self._is_alone = False

    def relay(self, engine: Any, select: str) -> int:
        """Pass the lines of a SELECT on; answers how many rows DuckDB says they are."""
        written: list[int] = []

        def produce(pipe: Pipe) -> None:
            statement = f"COPY ({select}) TO {text(pipe.write_path)} ({AS_TEXT})"
            try:
                written.append(engine.execute(statement).fetchall()[0][0])
            except duckdb.Error as error:
                if self._is_alone:  # the writer's error is only the echo of our reader's end
                    raise BrokenPipeError from error
                raise

        with produced(produce) as pipe:
            for chunk in pipe.chunks():
                try:
                    send(chunk)
                except BrokenPipeError:
                    self._is_alone = True
                    raise
                self.rows += chunk.count(b"\n")
                self._bytes += len(chunk)
                if time.monotonic() - self._said >= EVERY_SECONDS:
                    self._say(done=False)
        return written[0]

    def _say(self, *, done: bool) -> None:
        self._said = time.monotonic()
        seconds = round(self._said - self._started, 3)
        emit("stream", stream=self.stream, rows_read=self.rows, bytes=self._bytes, seconds=seconds, done=done)

    def done(self) -> None:
        """The stream's last event and its line in the log."""
        self._say(done=True)
        seconds = self._said - self._started
        rate = f" ({self.rows / seconds:,.0f} rows/s)" if self.rows and seconds > 0 else ""
        log(f"{self.stream}: {self.rows:,} rows read in {seconds:.1f} s{rate}")


def _explained(part: Part, error: Exception) -> Exception:
    found = part.explain(error)
    if isinstance(found, MoverError) and found.event["code"] == "value-refused":
        found.event["reason"] = "The loader gets JSON, which has no such value. No state was sent after these rows."
        found.event["remedy"] = "Correct the value, leave the column out, or read it as text."
    return found


def _counts_differ(stream: str, read: int | None, written: int, sent: int) -> MoverError:
    return MoverError(
        f"Stream {stream}: {read if read is not None else written:,} rows were read, {sent:,} were sent",
        reason="The numbers must be the same, so no state was sent for this stream.",
        remedy="Run again. If it happens again, report it with the log.",
        code="counts-differ",
        stream=stream,
    )
