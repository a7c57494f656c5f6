"""One stream of a tap: its records in memory, then in the stage, then in their table."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa

from jobs.engine.movers import singer_messages, singer_values, tables
from jobs.engine.movers.ports import VERSION_COLUMN, Column, Counts, Load, Target, Transaction
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.singer_messages import UNDECODABLE
from jobs.engine.movers.singer_nulls import without_nulls
from jobs.engine.movers.singer_records import Path, RecordShape
from jobs.engine.movers.singer_schema import Property, StreamSchema
from jobs.engine.movers.singer_stage import Stage, StagePart
from jobs.engine.movers.types import ZONED

MAX_UNKNOWN = 50  # properties of a stream that are named because they are not loaded
DELETED_AT = "_sdc_deleted_at"
METADATA = (
    Column("_sdc_extracted_at", ZONED),
    Column("_sdc_received_at", ZONED),
    Column("_sdc_batched_at", ZONED),
    Column(DELETED_AT, ZONED),
    Column("_sdc_sequence", "BIGINT"),
    Column(VERSION_COLUMN, "BIGINT"),
)
_numbers = itertools.count(1)  # of stages: all streams share the engine's names


@dataclass(frozen=True)
class Options:
    """What the loader's settings say of all streams. `null_texts`: keep, refuse or drop NUL characters."""

    flatten: bool
    add_metadata: bool
    null_texts: str


@dataclass
class Activation:
    """An ACTIVATE_VERSION message, and the versions of the records after it."""

    line: int
    version: int
    later: set[int] = field(default_factory=set)


class SingerStream:
    """The state of one stream between its messages."""

    def __init__(self, schema: StreamSchema, target: Target, engine: Any, options: Options) -> None:
        self.target = target
        self.counts = Counts()  # of all commits
        self.is_verified = True
        self.is_loaded = False
        self.started = time.monotonic()
        self.bytes = 0
        self.rows: list[Any] = []
        self.lines: list[int] = []
        self.buffered = 0  # bytes of the lines in `rows`
        self._engine = engine
        self._options = options
        self._stages: list[Stage] = []
        self._activations: list[Activation] = []
        self._has_unversioned = False
        self._unknown: list[Path] = []  # properties that the schema does not have
        self._arrivals: list[tuple[int, datetime]] = []
        self._use(schema)

    def _use(self, schema: StreamSchema) -> None:
        self.schema = schema
        self.shape = RecordShape(
            schema,
            with_times=self._options.add_metadata,
            ignored=self._unknown,
            tolerated=len(self._unknown) >= MAX_UNKNOWN,
        )
        self.decode: Callable[[bytes], Any] = self.shape.decode

    @property
    def name(self) -> str:
        return self.schema.stream

    @property
    def rows_read(self) -> int:
        return self.counts.read + sum(stage.rows for stage in self._stages) + len(self.rows)

    def change(self, schema: StreamSchema, target: Target) -> None:
        """Go on with another schema. Raises MoverError: keys-changed."""
        if "merge" in (self.target.method, target.method) and set(schema.keys) != set(self.schema.keys):
            raise self._keys_changed(schema)
        if schema != self.schema:
            self.flush()
            self._use(schema)
        self.target = target

    def take(self, line: bytes, number: int) -> None:
        """Take in a RECORD message. Raises MoverError: singer-line."""
        try:
            self.rows.append(self.decode(line))
        except UNDECODABLE:
            self.rows.append(self.decode_loosely(line, number))
        self.lines.append(number)
        self.buffered += len(line)

    def decode_loosely(self, line: bytes, number: int) -> Any:
        """A record that is not as the schema says."""
        try:
            found = self.shape.decode_loosely(line)
        except UNDECODABLE as error:
            raise singer_messages.explain(error, number, line, stream=self.name) from error
        self.ignore(self.shape.unknown)
        return found

    def ignore(self, unknown: Sequence[Path]) -> None:
        """Properties that the schema does not have are not loaded: each is said once, and then passed over."""
        new = [path for path in unknown if path not in self._unknown]
        if not new:
            return
        for path in new[: MAX_UNKNOWN - len(self._unknown)]:
            name = ".".join(path)
            log(f"{self.name}: the schema does not have the property {name}; it is not loaded", level="warning")
        self._unknown += new
        if len(self._unknown) >= MAX_UNKNOWN:
            log(f"{self.name}: no more properties that are not loaded are named, for there are too many")
        self._use(self.schema)

    def arrived(self) -> None:
        """Note when the records since the last call came."""
        if self._options.add_metadata:
            known = sum(count for count, _ in self._arrivals)
            if len(self.rows) > known:
                self._arrivals.append((len(self.rows) - known, datetime.now(UTC)))

    def activate(self, version: int, line: int) -> None:
        """From here on only rows of this version count."""
        self.flush()
        self._activations.append(Activation(line, version))

    def note_version(self, version: int | None) -> None:
        """Rows of this version come; None: they have none, and no ACTIVATE_VERSION of this run takes them away."""
        self._has_unversioned |= version is None

    def flush(self) -> None:
        """Put the records in memory into the stage. Raises MoverError for a value that its column does not hold."""
        if not self.rows:
            return
        rows, lines, size = self.rows, self.lines, self.buffered
        self.arrived()
        arrivals, self._arrivals = self._arrivals, []
        self.rows, self.lines, self.buffered = [], [], 0
        self.bytes += size
        versions = [row.version for row in rows]
        seen = set(versions) - {None}
        self.note_version(None if None in versions else versions[0])
        if self._activations:
            self._activations[-1].later |= seen
        records = [row.record for row in rows]
        arrays, is_ready, columns = [pa.array(lines, pa.int64())], [], []
        extra = self._extra(rows, versions if seen else None, arrivals)
        for found in self.properties(extra):
            array, ready = self._column(found, self.shape.values(found, records), lines)
            array = without_nulls(array, found, lines, stream=self.name, treatment=self._options.null_texts)
            arrays.append(array)
            is_ready.append(ready)
            columns.append(Column(found.name, found.kind))
        for column, array in extra:
            arrays.append(array)
            is_ready.append(array.type != pa.string())
            columns.append(column)
        names = [singer_values.LINE, *(f"c{number}" for number in range(len(columns)))]
        self.stage_for(columns).add(pa.table(arrays, names=names), is_ready=is_ready, size=size)

    def properties(self, extra: Sequence[tuple[Column, Any]]) -> list[Property]:
        """The schema's properties but those whose columns are filled otherwise."""
        taken = {column.name for column, _ in extra}
        return [found for found in self.schema.properties if found.name.lower() not in taken]

    def _column(self, found: Property, values: list[Any], lines: Sequence[int]) -> tuple[pa.Array, bool]:
        if found.name in self.schema.keys and msgspec.UNSET in values:
            raise self._key_missing(found.name, lines[values.index(msgspec.UNSET)])
        try:
            return singer_values.column_of(values, found.form, found.kind)
        except (UnicodeError, pa.ArrowInvalid) as error:
            raise self._no_utf8(found, values, lines) or error from error

    def _no_utf8(self, found: Property, values: list[Any], lines: Sequence[int]) -> MoverError | None:
        """The first value that is no text."""
        for value, line in zip(values, lines, strict=True):
            try:
                bytes(value).decode() if not isinstance(value, str) else value.encode()
            except (UnicodeError, TypeError):
                if not isinstance(value, int | None):
                    shown = bytes(value) if not isinstance(value, str) else value.encode(errors="replace")
                    return singer_messages.bad_line(
                        line, shown, f"Its property {found.name} holds bytes that are not UTF-8.", stream=self.name
                    )
        return None

    def _keys_changed(self, schema: StreamSchema) -> MoverError:
        return MoverError(
            f"The key properties of stream {self.name} change from {', '.join(self.schema.keys) or 'none'}"
            f" to {', '.join(schema.keys) or 'none'}",
            reason="Records that came before were to be merged by other keys than those that come now.",
            remedy="Correct the tap's key properties, or load with append or replace.",
            code="keys-changed",
            stream=self.name,
        )

    def _key_missing(self, key: str, line: int) -> MoverError:
        return MoverError(
            f"Line {line} of the tap's output: the record of stream {self.name} has no {key}, which is a key property",
            reason="A record is told from others by its key properties. Nothing after the last stored state was"
            " committed.",
            remedy="Select the property in the tap, or correct its key properties.",
            code="key-missing",
            stream=self.name,
            line=line,
            column=key,
        )

    def _extra(
        self, rows: Sequence[Any], versions: Sequence[int | None] | None, arrivals: Sequence[tuple[int, datetime]]
    ) -> list[tuple[Column, pa.Array]]:
        """The columns that no property fills."""
        if not self._options.add_metadata:
            return [] if versions is None else [(METADATA[-1], pa.array(versions, pa.int64()))]
        received = [moment for count, moment in arrivals for _ in range(count)]
        instants = pa.array(received, pa.timestamp("us", tz="UTC"))
        found: dict[str, pa.Array] = {
            "_sdc_extracted_at": pa.array([row.time_extracted for row in rows], pa.string()),
            "_sdc_received_at": instants,
            "_sdc_batched_at": pa.array([received[0]] * len(rows), pa.timestamp("us", tz="UTC")),
            DELETED_AT: pa.nulls(len(rows), pa.timestamp("us", tz="UTC")),
            "_sdc_sequence": pa.array([round(moment.timestamp() * 1000) for moment in received], pa.int64()),
            VERSION_COLUMN: pa.array(versions or [None] * len(rows), pa.int64()),
        }
        has_deleted = any(found.name.lower() == DELETED_AT for found in self.schema.properties)
        return [(column, found[column.name]) for column in METADATA if not (column.name == DELETED_AT and has_deleted)]

    def stage_for(self, columns: Sequence[Column]) -> Stage:
        """The stage with these columns: the last one, or a new one after it."""
        if not self._stages or self._stages[-1].columns != tuple(columns):
            self._stages.append(Stage(self._engine, self.name, columns, number=next(_numbers)))
        return self._stages[-1]

    def is_pending(self) -> bool:
        """Whether there is something to load: also a new stream without rows, for its table is to be there."""
        return bool(self._stages or self._activations or not self.is_loaded)

    def columns(self) -> list[Column]:
        """What all stages together need, or the schema where there is none."""
        merged: dict[str, Column] = {}
        known = [stage.columns for stage in self._stages]
        for column in (column for columns in known for column in columns):
            old = merged.setdefault(column.name.lower(), column)
            if old.type != column.type:
                merged[column.name.lower()] = Column(old.name, tables.fitting(old, column, self.target))
        if not known:
            return [Column(found.name, found.kind) for found in self.schema.properties]
        return list(merged.values())

    def load(self, transaction: Transaction, load: Load, *, up_to: int | None, verify: str) -> Counts:
        """Bring the staged rows into the table, up to a line of the tap's output."""
        target = Target(**{**vars(self.target), "verify": verify})
        into = transaction.load(target)
        columns = self.columns()
        into.prepare(columns, replaced_files=())
        spelled = {column.name.lower(): column.name for column in columns}
        for stage in self._stages:
            into.write(StagePart(stage, [spelled[column.name.lower()] for column in stage.columns], up_to))
        active = [found for found in self._activations if up_to is None or found.line <= up_to]
        versions: list[int | None] = []
        if active:
            later = {version for found in self._activations for version in found.later if found.line >= active[-1].line}
            versions = [active[-1].version, *later, *([None] if self._has_unversioned else [])]
        return into.settle(load, versions=versions)

    def committed(self, counts: Counts) -> None:
        """Forget what is in the table now."""
        for stage in self._stages:
            stage.drop()
        self._stages, self._activations = [], []
        for name in ("read", "written", "inserted", "updated", "deleted"):
            setattr(self.counts, name, getattr(self.counts, name) + getattr(counts, name))
        self.is_verified = self.is_verified and counts.verified
        self.is_loaded = True
