"""The verbs discover and sample: what a built-in extractor's source holds, and a few rows of it. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import duckdb

from jobs.engine.movers import json_schema, move, reading, types
from jobs.engine.movers.ports import Column, GuessFailed, Part, Reader, Source, Stream
from jobs.engine.movers.protocol import MoverError, emit, log
from jobs.engine.movers.quoting import ident

SAMPLE_ROWS = 10
SHOWN_CHARACTERS = 200
LOOKED_AT_ROWS = 1000  # to find the types of columns that have none of their own


def prepare(needs: Sequence[str]) -> None:
    """Import what the extractor needs, while the interpreter's folder can be read."""
    move.prepare(needs)


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Look at each stream, whichever fails; the first failure then ends the verb."""
    reader = move.make_reader(spec)
    streams = reading.streams_of(reader, spec)
    failures: list[MoverError] = []
    with closing(reading.engine_of(spec)) as engine:
        if verb == "sample":
            engine.execute("SET threads = 1")  # others would read on, far behind the rows that are wanted
            for stream in streams:
                _tried(partial(_sample, reader, stream, engine), failures)
        else:
            entries = [_tried(partial(_entry, reader, stream, engine), failures) for stream in streams]
            emit("catalog", streams=[entry for entry in entries if entry is not None])
    if failures:
        raise failures[0]
    return {"streams": len(streams)}


def _tried(look: Callable[[], Any], failures: list[MoverError]) -> Any:
    try:
        return look()
    except MoverError as error:
        failures.append(error)
        log(f"{error}. {error.event['reason']}", level="error")
        return None


def _limited(stream: Stream, rows: int) -> Stream:
    """The stream as far as it is looked at: a few rows, all of its columns, wherever it was read up to."""
    settings = {**stream.settings, "limit_rows": rows, "replication_method": "FULL_TABLE"}
    key = reading.replication_key(stream)
    if key and settings.get("columns"):
        settings["columns"] = [*settings["columns"], key]
    return replace(stream, settings=settings)


def _entry(reader: Reader, stream: Stream, engine: Any) -> dict[str, Any]:
    """A stream of a Singer catalog. All of it is read: what is not wanted is left out of the settings."""
    opened = reader.open(_limited(stream, LOOKED_AT_ROWS), engine=engine, bookmark={}, method="append", careful=False)
    with opened as source:
        columns = source.columns
    keys = reading.key_columns(stream, columns) if columns else []
    replication_key = reading.replication_key(stream)
    automatic = {*keys, replication_key}
    root: dict[str, Any] = {"inclusion": "available", "selected": True, "table-key-properties": keys}
    root["forced-replication-method"] = "INCREMENTAL" if replication_key else "FULL_TABLE"
    if replication_key:
        root |= {"replication-key": replication_key, "valid-replication-keys": [replication_key]}
    fields = [
        {
            "breadcrumb": ["properties", column.name],
            "metadata": {"inclusion": "automatic" if column.name in automatic else "available", "selected": True},
        }
        for column in columns
    ]
    return {
        "tap_stream_id": stream.name,
        "stream": stream.name,
        "schema": json_schema.object_schema(columns),
        "key_properties": keys,
        "metadata": [{"breadcrumb": [], "metadata": root}, *fields],
    }


def _sample(reader: Reader, stream: Stream, engine: Any, *, careful: bool = False) -> None:
    try:
        opened = reader.open(
            _limited(stream, SAMPLE_ROWS), engine=engine, bookmark={}, method="append", careful=careful
        )
        with opened as source:
            columns, rows = [column.name for column in source.columns], _rows(source, engine)
    except GuessFailed:
        _sample(reader, stream, engine, careful=True)
        return
    emit("sample", stream=stream.name, columns=columns, rows=rows)


def _rows(source: Source, engine: Any) -> list[list[str | None]]:
    """The first rows of the first parts that have some."""
    kinds = {column.name: types.stored(column.type) for column in source.columns}
    engine.execute("SET preserve_insertion_order = true")
    rows: list[list[str | None]] = []
    for part in source.parts:
        if len(rows) < SAMPLE_ROWS:
            rows += _rows_of(part, source.columns, kinds, engine, count=SAMPLE_ROWS - len(rows))
    return rows


def _rows_of(
    part: Part, columns: Sequence[Column], kinds: dict[str, str], engine: Any, *, count: int
) -> list[list[str | None]]:
    with part.scan(engine, kinds) as scan:
        values = ", ".join(_shown(column.name, kinds[column.name], scan.names) for column in columns)
        # A database was asked for a few rows only, and takes it ill when they are not taken.
        limit = f" LIMIT {count}" if part.file is not None else ""
        try:
            rows = engine.execute(f"SELECT {values} FROM ({scan.select}){limit}").fetchall()
        except duckdb.Error as error:
            raise part.explain(error) from error
    return [list(row) for row in rows[:count]]


def _shown(name: str, kind: str, present: Sequence[str]) -> str:
    if name not in present:
        return "NULL"
    value = f"to_json({ident(name)})" if types.is_nested(kind) else ident(name)
    return f"left(CAST({value} AS VARCHAR), {SHOWN_CHARACTERS})"
