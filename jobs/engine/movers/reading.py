"""What the verbs share that read a source and load nothing: the streams, the engine that scans them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.engine.movers import duckdb as store
from jobs.engine.movers.move import wanted_of
from jobs.engine.movers.ports import Column, Reader, Stream
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.tables import no_key_column


def engine_of(spec: Mapping[str, Any]) -> Any:
    """A DuckDB without a file."""
    spill = f"{spec.get('run_folder') or '.'}/spill"
    return store.connect(":memory:", limits=spec.get("limits") or {}, temp_folder=spill)


def streams_of(reader: Reader, spec: Mapping[str, Any]) -> list[Stream]:
    """The streams that are wanted. Raises MoverError where there is none, and for names that are missing or twice."""
    streams = reader.streams()
    names = [stream.name for stream in streams]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            raise MoverError(
                f"The stream name {name or '(none)'} cannot be used",
                reason="Another stream has it too." if name else "It is empty.",
                remedy="Give the stream another name.",
                code="stream-name",
                stream=name or None,
            )
    wanted = wanted_of(spec, names)
    found = [stream for stream in streams if wanted is None or stream.name in wanted]
    if not found:
        raise MoverError("There is no stream to read", remedy="Add one to the extractor's settings.", code="no-streams")
    return found


def replication_key(stream: Stream) -> str:
    """The column an incremental stream is read by; empty for any other stream."""
    is_incremental = str(stream.settings.get("replication_method") or "").upper() == "INCREMENTAL"
    return str(stream.settings.get("replication_key") or "") if is_incremental else ""


def key_columns(stream: Stream, columns: Sequence[Column]) -> list[str]:
    """The stream's primary key as its columns spell it. Raises MoverError (column-missing)."""
    spelled = {column.name.lower(): column.name for column in columns}
    for key in stream.primary_keys:
        if key.lower() not in spelled:
            raise no_key_column(stream.name, key, columns)
    return [spelled[key.lower()] for key in stream.primary_keys]
