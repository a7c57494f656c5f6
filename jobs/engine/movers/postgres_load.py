"""A stream on its way into a PostgreSQL table: COPY in, and the transaction's own snapshot for the counts.

Replace and merge load a temporary table first, so that readers of the real one wait for the end only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import duckdb
import psycopg

from jobs.engine.movers import failures, postgres, tables, types
from jobs.engine.movers.pipes import Pipe, produced
from jobs.engine.movers.ports import FILE_COLUMN, VERSION_COLUMN, Column, Counts, Load, Part, Target
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.quoting import ident, idents, text

STAGE = "_eltsite_stage"
NEW = "_eltsite_new"
MAX_NAME_BYTES = 63
ROUNDS = re.compile(r"time(stamp)?\(\d\)")  # a type of times that drops the finer part of a fraction
KIND_SQL = """SELECT c.relkind, greatest(c.reltuples, 0)::bigint FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"""


class Store(Protocol):
    """What a load needs of its writer."""

    schema: str
    connection: psycopg.Connection[Any]

    @property
    def engine(self) -> Any: ...

    def run(self, sql: str, values: Sequence[Any] | None = None) -> psycopg.Cursor[Any]: ...

    def columns(self, table: str) -> dict[str, Column]: ...

    def remember(self, load: Load, *, rows: int) -> None: ...


class PostgresLoad:
    """One stream on its way into a PostgreSQL table."""

    def __init__(self, writer: Store, target: Target) -> None:
        self._writer = writer
        self._target = target
        self._table = ident(writer.schema, target.table)
        self._into = self._table
        self._before: int | None = None
        self._plan = tables.Plan(is_new=True)
        self._natives: dict[str, str] = {}
        self._scanned: dict[str, str] = {}
        self.counts = Counts()

    def prepare(self, columns: Sequence[Column], *, replaced_files: Sequence[str]) -> None:
        run, target = self._writer.run, self._target
        tables.check_keys(columns, target)
        self._check_names(columns)
        kind = run(KIND_SQL, [self._writer.schema, target.table]).fetchone()
        if kind and kind[0] not in ("r", "p"):
            raise tables.is_view(target)
        existing = self._writer.columns(target.table)
        stored = [replace(column, type=types.landed(column.type)) for column in columns]
        self._plan = tables.make_plan(existing, stored, target, is_empty=self._is_empty)
        self._widen_fractions(existing, columns)
        self._scanned = {column.name: self._scan_as(column) for column in columns}
        self._natives = self._native_types(existing, columns)
        if kind and tables.is_counted(target, kind[1]):
            self._before = self._count()
        self._shape()
        if target.method == "append" and replaced_files and not self._plan.is_new:
            self.counts.deleted = run(
                f"DELETE FROM {self._table} WHERE {ident(FILE_COLUMN)} = ANY(%s)", [list(replaced_files)]
            ).rowcount
        if target.method != "append" and not self._plan.is_new:
            self._into = f"pg_temp.{ident(STAGE)}"
            shape = ", ".join(f"{ident(name)} {self._natives[name]}" for name in self._plan.names)
            run(f"CREATE TEMPORARY TABLE {ident(STAGE)} ({shape}) ON COMMIT DROP")
        elif target.method == "merge":
            self._into = f"pg_temp.{ident(STAGE)}"
            run(f"CREATE TEMPORARY TABLE {ident(STAGE)} ON COMMIT DROP AS SELECT * FROM {self._table} WITH NO DATA")

    def _widen_fractions(self, existing: Mapping[str, Column], columns: Sequence[Column]) -> None:
        """Columns such as timestamp(0) would round what comes, and say nothing."""
        for column in columns:
            old = existing.get(self._plan.names[column.name])
            if old is None or old.native == column.native or column.type in ("DATE", "NULL"):
                continue
            if ROUNDS.match(old.native) and self._plan.types[column.name] == old.type:
                self._plan.widened.append((old.name, old.native, old.type))

    def _scan_as(self, column: Column) -> str:
        """The type DuckDB reads a column in: its own, unless the table's is wider."""
        kind = self._plan.types[column.name]
        return types.stored(column.type if kind in ("NUMERIC", types.landed(column.type)) else kind)

    def _check_names(self, columns: Sequence[Column]) -> None:
        for name in (self._target.table, *(column.name for column in columns)):
            if len(name.encode()) > MAX_NAME_BYTES:
                raise MoverError(
                    f"The name {name} is too long for PostgreSQL",
                    reason=f"It takes {len(name.encode())} bytes where {MAX_NAME_BYTES} are allowed.",
                    remedy="Shorten the name in the source.",
                    code="name-too-long",
                    stream=self._target.stream,
                )

    def _native_types(self, existing: Mapping[str, Column], columns: Sequence[Column]) -> dict[str, str]:
        """The PostgreSQL type of each incoming column in the table as it will be."""
        widened = {name for name, _, _ in self._plan.widened}
        natives = {}
        for column in columns:
            old = existing.get(self._plan.names[column.name])
            kind = self._plan.types[column.name]
            if old is not None:
                natives[column.name] = types.to_postgres(kind) if old.name in widened else old.native
            else:
                natives[column.name] = column.native or types.to_postgres(kind)
        return natives

    def _rounded(self, column: str, kind: str) -> object:
        """A value that a double does not hold: only its text has all digits."""
        c = ident(column)
        where = f"{c}::double precision::text::numeric IS DISTINCT FROM {c}::numeric"
        row = self._writer.run(f"SELECT {c}::text FROM {self._table} WHERE {where} LIMIT 1").fetchone()
        return row[0] if row else None

    def _shape(self) -> None:
        run, plan, target = self._writer.run, self._plan, self._target
        if plan.is_new:
            run(f"CREATE TABLE {self._table} ({', '.join(f'{ident(n)} {self._natives[n]}' for n in plan.names)})")
            if target.method == "merge":
                run(f"CREATE INDEX ON {self._table} ({idents(target.primary_keys)})")
            return
        for column in plan.added:
            run(f"ALTER TABLE {self._table} ADD COLUMN {ident(column.name)} {self._natives[column.name]}")
            log(f"{target.stream}: table {target.table} gets the new column {column.name} {self._natives[column.name]}")
        tables.check_rounding(plan, target, self._rounded)
        for name, old, kind in plan.widened:
            native = types.to_postgres(kind)
            try:
                run(f"ALTER TABLE {self._table} ALTER COLUMN {ident(name)} TYPE {native} USING {ident(name)}::{native}")
            except psycopg.errors.FeatureNotSupported as error:
                raise _in_use(target, name, native, error) from error
            log(f"{target.stream}: column {name} is widened from {old} to {kind}")

    def _is_empty(self, column: str) -> bool:
        row = self._writer.run(f"SELECT 1 FROM {self._table} WHERE {ident(column)} IS NOT NULL LIMIT 1").fetchone()
        return row is None

    def _count(self) -> int:
        row = self._writer.run(f"SELECT count(*) FROM {self._table}").fetchone()
        return int(row[0]) if row else 0

    def _copy_in(self, names: Sequence[str], options: str, chunks: Iterator[Any]) -> int:
        columns = idents(self._plan.names[name] if self._into == self._table else name for name in names)
        cursor = self._writer.connection.cursor()
        with cursor.copy(f"COPY {self._into} ({columns}) FROM STDIN (FORMAT {options})".encode()) as copy:
            for chunk in chunks:
                copy.write(chunk)
        return cursor.rowcount

    def write(self, part: Part) -> None:
        binary = part.copy_binary(self._natives)
        if binary is not None:
            with binary as copy:
                written = self._copy_in(list(self._plan.names), "binary", copy.chunks())
            read = copy.rows_read()
        else:
            read, written = self._write_scan(part)
        self.counts.read += read
        self.counts.written += written

    def _write_scan(self, part: Part) -> tuple[int, int]:
        """DuckDB reads the part and writes CSV text into a pipe, PostgreSQL copies from it."""
        counted: list[int] = []
        engine = self._writer.engine
        engine.execute(f"SET preserve_insertion_order = {str(self._target.method == 'merge').lower()}")
        with part.scan(engine, self._scanned) as scan:
            columns = ", ".join(copy_text(name, self._scanned[name]) for name in scan.names)

            def produce(pipe: Pipe) -> None:
                rows = f"SELECT {columns} FROM ({scan.select})"
                try:
                    sql = f"COPY ({rows}) TO {text(pipe.write_path)} (FORMAT csv, HEADER false)"
                    counted.append(engine.execute(sql).fetchall()[0][0])
                except duckdb.Error as error:
                    raise part.explain(error) from error

            with produced(produce) as pipe:
                written = self._copy_in(scan.names, "csv", pipe.chunks())
        read = scan.rows_read()
        return counted[0] if read is None else read, written

    def settle(self, load: Load, *, versions: Sequence[int | None] = ()) -> Counts:
        counts, target = self.counts, self._target
        tables.check_counts(target, read=counts.read, written=counts.written)
        if target.method == "merge":
            self._merge()
        elif self._into != self._table:
            self._replace()
        else:
            counts.inserted = counts.written
        if versions:
            self._drop_versions(versions)
        self._verify()
        self._writer.remember(load, rows=counts.written)
        for table in (STAGE, NEW):  # the next stream of this transaction makes them anew
            self._writer.run(f"DROP TABLE IF EXISTS pg_temp.{ident(table)}")
        return counts

    def _drop_versions(self, versions: Sequence[int | None]) -> None:
        """Rows of another version of the whole table go."""
        if VERSION_COLUMN not in self._writer.columns(self._target.table):
            log(tables.no_versions(self._target), level="warning")
            return
        gone = self._writer.run(f"DELETE FROM {self._table} WHERE {tables.other_versions(versions)}")
        self.counts.deleted += gone.rowcount

    def _replace(self) -> None:
        """Empty and refill: views, grants and indexes survive, and readers never see an empty table."""
        gone = self._before if self._before is not None else 0
        self._writer.run(f"TRUNCATE {self._table}")
        self.counts.inserted = self._insert(f"SELECT {idents(self._plan.names)} FROM {self._into}")
        self.counts.deleted = gone
        tables.check_counts(self._target, read=self.counts.written, written=self.counts.inserted)

    def _insert(self, select: str) -> int:
        return self._writer.run(f"INSERT INTO {self._table} ({idents(self._plan.names.values())}) {select}").rowcount

    def _merge(self) -> None:
        run, counts, plan = self._writer.run, self.counts, self._plan
        keys = [next(name for name in plan.names if name.lower() == key.lower()) for key in self._target.primary_keys]
        self._refuse_null_keys(keys)
        new = f"pg_temp.{ident(NEW)}"
        distinct = run(
            f"CREATE TEMPORARY TABLE {ident(NEW)} ON COMMIT DROP AS SELECT DISTINCT ON ({idents(keys)})"
            f" {idents(plan.names)} FROM {self._into} ORDER BY {idents(keys)}, ctid DESC"
        ).rowcount
        run(f"ANALYZE {new}")
        match = " AND ".join(f"old.{ident(plan.names[key])} = new.{ident(key)}" for key in keys)
        changed = [name for name in plan.names if name not in keys]
        touched = 0
        if changed and not plan.is_new:
            assignments = ", ".join(f"{ident(plan.names[name])} = new.{ident(name)}" for name in changed)
            touched = run(f"UPDATE {self._table} AS old SET {assignments} FROM {new} AS new WHERE {match}").rowcount
        counts.inserted = self._insert(
            f"SELECT {idents(plan.names, prefix='new.')} FROM {new} AS new"
            f" WHERE NOT EXISTS (SELECT 1 FROM {self._table} AS old WHERE {match})"
        )
        counts.updated = distinct - counts.inserted
        if changed and touched < counts.updated:
            raise tables.counts_differ(self._target, "rows updated", counts.updated, touched)

    def _refuse_null_keys(self, keys: Sequence[str]) -> None:
        for key in keys:
            name = f"min({ident(FILE_COLUMN)})" if FILE_COLUMN in self._plan.names else "NULL"
            sql = f"SELECT count(*), {name} FROM {self._into} WHERE {ident(key)} IS NULL"
            row = self._writer.run(sql).fetchone()
            if row and row[0]:
                raise tables.null_key(self._target, key, row[0], row[1])

    def _verify(self) -> None:
        """Growth as our own snapshot sees it: what others commit meanwhile does not count."""
        if self._before is None and not self._plan.is_new:
            return
        expected = (self._before or 0) + self.counts.inserted - self.counts.deleted
        if not tables.is_counted(self._target, expected):
            return
        found = self._count()
        if found != expected:
            raise tables.counts_differ(self._target, f"rows in table {self._target.table}", expected, found)
        self.counts.verified = True


def _in_use(target: Target, column: str, native: str, error: psycopg.Error) -> MoverError:
    """Something else in the database depends on the type of a column that must become wider."""
    return MoverError(
        f"Column {column} of table {target.table} cannot become {native}",
        reason=f"{postgres.plain(error)}. Nothing of stream {target.stream} was committed.",
        remedy="Drop what depends on the column, run again, then make it anew.",
        code="column-in-use",
        stream=target.stream,
        column=column,
    )


def copy_text(name: str, kind: str) -> str:
    """A column as PostgreSQL's COPY reads its text."""
    c = ident(name)
    if kind == "BLOB":
        return f"'\\x' || hex({c})"
    if kind == "JSON":
        return f"CAST({c} AS VARCHAR)"  # to_json would write its numbers anew, with fewer digits
    if types.is_nested(kind):
        return f"CAST(to_json({c}) AS VARCHAR)"
    if kind == "TIMESTAMP_NS":
        refusal = failures.refusal(name, "nanoseconds, which PostgreSQL does not keep")
        exact = f"CAST({c} AS TIMESTAMP)"
        return f"CASE WHEN {c} IS NULL OR CAST({exact} AS TIMESTAMP_NS) = {c} THEN {exact} ELSE {refusal} END"
    return c
