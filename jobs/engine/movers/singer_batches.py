"""BATCH messages: records that a tap left in files instead of its output."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import duckdb

from jobs.engine.movers import failures, paths, singer_messages
from jobs.engine.movers.ports import VERSION_COLUMN, Column
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import ident, text
from jobs.engine.movers.singer_messages import UNDECODABLE, Batch
from jobs.engine.movers.singer_stream import METADATA, SingerStream
from jobs.engine.movers.singer_values import LINE

FLUSH_ROWS = 20_000  # more gain nothing: they no longer fit the processor's cache
FLUSH_BYTES = 32 << 20
PACKED = (None, "none", "gzip")


def _refused(stream: str, line: int, reason: str, *, file: str | None = None) -> MoverError:
    return MoverError(
        f"Line {line} of the tap's output: the BATCH of stream {stream} cannot be read",
        reason=reason,
        remedy="Have the tap write JSON lines, plain or packed with gzip, or Parquet, into the run's folder or another"
        " one that is allowed.",
        code="singer-batch",
        stream=stream,
        line=line,
        file=file,
    )


def take_batch(
    stream: SingerStream, batch: Batch, line: int, *, engine: Any, allowed: Sequence[str], loaded: Callable[[int], None]
) -> None:
    """Read all files of a BATCH into the stream. `loaded` is told how many rows came."""
    form, packed = batch.encoding.format, batch.encoding.compression
    if form not in ("jsonl", "parquet") or (form == "jsonl" and packed not in PACKED):
        raise _refused(stream.name, line, f"It is {form}{f' packed with {packed}' if packed else ''}.")
    for place in batch.manifest:
        path = _path(stream.name, place, line, allowed)
        if form == "parquet":
            loaded(_take_parquet(stream, path, line, batch.version, engine))
        else:
            loaded(_take_jsonl(stream, path, line, batch.version, is_packed=packed == "gzip"))


def _path(stream: str, place: str, line: int, allowed: Sequence[str]) -> str:
    """The file that a manifest names. Raises MoverError: singer-batch, path-outside."""
    parts = urlsplit(place)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise _refused(stream, line, f"{place} is not a file of this host.", file=place)
    path = unquote(parts.path) if parts.scheme else place
    path = paths.resolve(path, allowed=allowed, what="The batch file")
    if not os.path.isfile(path):
        raise _refused(stream, line, f"There is no file {paths.shown(path)}.", file=paths.shown(path))
    return path


def _take_jsonl(stream: SingerStream, path: str, line: int, version: int | None, *, is_packed: bool) -> int:
    opener: Any = gzip.open if is_packed else open
    rows = 0
    shown = paths.shown(path)
    envelope = stream.shape.envelope_type
    file: IO[bytes]
    try:
        with opener(path, "rb") as file:
            for number, text_line in enumerate(iter(lambda: file.readline(singer_messages.MAX_LINE), b""), 1):
                if not text_line.strip():
                    continue
                stream.rows.append(envelope(record=_record(stream, text_line, number, shown), version=version))
                stream.lines.append(line)
                stream.buffered += len(text_line)
                rows += 1
                if len(stream.rows) >= FLUSH_ROWS or stream.buffered >= FLUSH_BYTES:
                    stream.flush()
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(stream.name, line, f"{shown}: {error}.", file=shown) from error
    return rows


def _record(stream: SingerStream, line: bytes, number: int, file: str) -> Any:
    try:
        return stream.shape.decode_record(line)
    except UNDECODABLE:
        try:
            found = stream.shape.decode_record_loosely(line)
        except UNDECODABLE as error:
            raise singer_messages.explain(error, number, line, stream=stream.name, file=file) from error
        stream.ignore(stream.shape.unknown)
        return found


def _take_parquet(stream: SingerStream, path: str, line: int, version: int | None, engine: Any) -> int:
    """The rows of a Parquet file, each value by its text under the guard of its column."""
    stream.flush()
    shown = paths.shown(path)
    source = f"read_parquet({text(''.join(f'[{c}]' if c in '*?[' else c for c in path))})"
    try:
        come = {name: kind for name, kind, *_ in engine.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    except duckdb.Error as error:
        raise _refused(stream.name, line, f"{shown}: {failures.first_line(error)}.", file=shown) from error
    known = {found.path[0] for found in stream.schema.properties if found.path}
    stream.ignore([(name,) for name in come if known and name not in known])
    extra = [(METADATA[-1], None)] if version is not None else []
    columns, values = [], []
    for found in stream.properties(extra):
        columns.append(Column(found.name, found.kind))
        values.append(_text_of(found.path, found.kind, come))
    if version is not None:
        columns.append(Column(VERSION_COLUMN, "BIGINT"))
        values.append(text(str(version)))
    stream.note_version(version)
    select = ", ".join(f"{value} AS c{number}" for number, value in enumerate(values))
    stage = stream.stage_for(columns)
    is_ready = [False] * len(columns)
    return stage.add_from(
        f"(SELECT {line}::BIGINT AS {LINE}, {select} FROM {source})", is_ready=is_ready, size=os.path.getsize(path)
    )


def _text_of(path: Sequence[str], kind: str, come: dict[str, str]) -> str:
    """A column of a Parquet file as text; JSON where that is wanted. A property it does not have is NULL."""
    if not path or path[0] not in come:
        return "NULL::VARCHAR"
    column = ident(path[0])
    for step in path[1:]:
        column = f"{column}[{text(step)}]"
    if kind == "JSON" and come[path[0]] not in ("VARCHAR", "JSON"):
        return f"CAST(to_json({column}) AS VARCHAR)"
    return f"CAST({column} AS VARCHAR)"
