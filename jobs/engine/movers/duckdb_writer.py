"""The loader target-duckdb: a DuckDB file whose own engine reads the source, in one transaction.

A DuckDB file has one writer and meanwhile no reader, so replace needs no staging table: emptying and filling are one
transaction that nobody sees inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from jobs.engine.movers import duckdb as store
from jobs.engine.movers import failures, paths, tables, types
from jobs.engine.movers.ports import (
    FILE_COLUMN,
    LOADS_TABLE,
    VERSION_COLUMN,
    Column,
    Counts,
    Load,
    Part,
    Stored,
    Target,
)
from jobs.engine.movers.protocol import log
from jobs.engine.movers.quoting import ident, idents, text, texts

STAGE = "_eltsite_stage"
LOADS_COLUMNS = (
    "pipeline VARCHAR, stream VARCHAR, table_name VARCHAR, job VARCHAR, attempt INTEGER, epoch BIGINT,"
    " sequence BIGINT, rows BIGINT, state VARCHAR, loaded_at TIMESTAMPTZ"
)


class DuckDBWriter:
    """Writes into a DuckDB file."""

    takes_copy = False

    def __init__(self, spec: Mapping[str, Any]) -> None:
        settings = spec["loader"]["settings"]
        self._limits = spec.get("limits") or {}
        self._publish = bool(spec.get("publish_snapshot"))
        self._path = paths.resolve(
            str(settings.get("path") or "warehouse.duckdb"),
            allowed=[str(folder) for folder in spec.get("allowed_folders") or ()],
            what="The warehouse",
        )
        self.schema = str(settings.get("schema") or spec.get("schema") or "main")
        os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
        self.engine = store.connect(
            self._path,
            limits=self._limits,
            memory_limit=str(settings.get("memory_limit") or ""),
            temp_folder=os.path.join(os.path.abspath(str(spec.get("run_folder") or ".")), "spill"),
        )
        store.show_progress(self.engine)
        self.has_committed = False

    def fraction(self) -> float:
        return store.fraction(self.engine)

    def name(self, *table: str) -> str:
        """The schema, or a table in it, quoted for a statement."""
        return store.qualified(self.engine, self.schema, *table)

    def run(self, sql: str, values: Sequence[Any] | None = None) -> list[Any]:
        """One statement, its rows."""
        rows: list[Any] = self.engine.execute(sql, values).fetchall()
        return rows

    def columns(self, table: str) -> dict[str, Column]:
        """A table's columns; none when there is no such table."""
        rows = self.run(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"
            " AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY column_index",
            [self.schema, table],
        )
        return {name: Column(name, kind) for name, kind in rows}

    def is_view(self, table: str) -> bool:
        sql = "SELECT 1 FROM duckdb_views() WHERE lower(schema_name) = lower(?) AND lower(view_name) = lower(?)"
        return bool(self.run(sql, [self.schema, table]))

    def has_table(self, table: str) -> bool:
        return bool(self.columns(table))

    def stored(self, pipeline: str) -> dict[str, Stored]:
        if not self.has_table(LOADS_TABLE):
            return {}
        rows = self.run(
            f"SELECT stream, table_name, epoch, sequence, job, state FROM {self.name(LOADS_TABLE)} WHERE pipeline = ?",
            [pipeline],
        )
        return {row[0]: Stored(row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows}

    @contextmanager
    def transaction(self) -> Iterator[DuckDBTransaction]:
        """Loads that count together. They are undone unless the block committed them."""
        self.run("BEGIN")
        transaction = DuckDBTransaction(self)
        try:
            yield transaction
        except duckdb.Error as error:
            raise failures.explain(error, doing=transaction.doing, stream=transaction.stream) from error
        finally:
            if not transaction.is_committed:
                try:
                    self.run("ROLLBACK")
                except duckdb.Error as error:
                    log(f"Rolling back: {failures.first_line(error)}", level="warning")

    def close(self, *, is_complete: bool) -> None:
        if self.has_committed:
            try:
                self.run("CHECKPOINT")
            except duckdb.Error as error:
                log(
                    f"No checkpoint; the rows are committed all the same: {failures.first_line(error)}", level="warning"
                )
        self.engine.close()
        # After a failure no later step publishes, and committed rows are shown all the same.
        if self.has_committed and (self._publish or not is_complete):
            store.publish_snapshot(self._path, max_bytes=int(self._limits.get("snapshot_max_bytes", 2 << 30)))


class DuckDBTransaction:
    """The loads of one transaction, one after the other."""

    def __init__(self, writer: DuckDBWriter) -> None:
        self._writer = writer
        self.stream: str | None = None
        self.is_committed = False

    @property
    def doing(self) -> str:
        return f"load stream {self.stream}" if self.stream else "store the state"

    def load(self, target: Target) -> DuckDBLoad:
        self.stream = target.stream
        return DuckDBLoad(self._writer, target)

    def remember(self, load: Load, *, rows: int) -> None:
        remember(self._writer, load, rows=rows)

    def commit(self) -> None:
        self._writer.run("COMMIT")
        self.is_committed = self._writer.has_committed = True
        self._writer.run(f"DROP TABLE IF EXISTS temp.{ident(STAGE)}")


def remember(writer: DuckDBWriter, load: Load, *, rows: int) -> None:
    """Rows and state in one commit."""
    run, loads = writer.run, writer.name(LOADS_TABLE)
    run(f"CREATE TABLE IF NOT EXISTS {loads} ({LOADS_COLUMNS})")
    run(f"DELETE FROM {loads} WHERE pipeline = {text(load.pipeline)} AND stream = {text(load.stream)}")
    run(
        f"INSERT INTO {loads} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, current_timestamp)",
        [
            *(load.pipeline, load.stream, load.table, load.job, load.attempt, load.epoch, load.sequence),
            *(rows, json.dumps(load.state)),
        ],
    )


class DuckDBLoad:
    """One stream on its way into a DuckDB table."""

    def __init__(self, writer: DuckDBWriter, target: Target) -> None:
        self._writer = writer
        self._target = target
        self._table = writer.name(target.table)
        self._into = self._table
        self._before = 0
        self._plan = tables.Plan(is_new=True)
        self.counts = Counts()

    def prepare(self, columns: Sequence[Column], *, replaced_files: Sequence[str]) -> None:
        run, target = self._writer.run, self._target
        tables.check_keys(columns, target)
        run(f"CREATE SCHEMA IF NOT EXISTS {self._writer.name()}")
        if self._writer.is_view(target.table):
            raise tables.is_view(target)
        self._plan = tables.make_plan(self._writer.columns(target.table), columns, target, is_empty=self._is_empty)
        self._plan.types = {name: types.stored(kind) for name, kind in self._plan.types.items()}
        self._shape()
        self._before = run(f"SELECT count(*) FROM {self._table}")[0][0]
        if target.method == "replace":
            run(f"DELETE FROM {self._table}")
            self.counts.deleted = self._before
        elif target.method == "append" and replaced_files and self._before:
            gone = run(f"DELETE FROM {self._table} WHERE {FILE_COLUMN} IN ({texts(replaced_files)})")
            self.counts.deleted = gone[0][0]
        # The last row read wins, so a merge keeps the order of rows; otherwise order only costs memory.
        run(f"SET preserve_insertion_order = {str(target.method == 'merge').lower()}")
        if target.method == "merge":
            self._into = f"temp.{ident(STAGE)}"
            shape = ", ".join(f"{ident(name)} {kind}" for name, kind in self._plan.types.items())
            run(f"CREATE OR REPLACE TEMP TABLE {ident(STAGE)} ({shape})")

    def _is_empty(self, column: str) -> bool:
        return bool(self._writer.run(f"SELECT count({ident(column)}) FROM {self._table}")[0][0] == 0)

    def _rounded(self, column: str, kind: str) -> object:
        rows = self._writer.run(store.rounded(self._table, column, kind))
        return rows[0][0] if rows else None

    def _shape(self) -> None:
        run, plan, target = self._writer.run, self._plan, self._target
        if plan.is_new:
            shape = ", ".join(f"{ident(name)} {kind}" for name, kind in plan.types.items())
            run(f"CREATE TABLE {self._table} ({shape})")
            return
        for column in plan.added:
            kind = plan.types[column.name]
            run(f"ALTER TABLE {self._table} ADD COLUMN {ident(column.name)} {kind}")
            log(f"{target.stream}: table {target.table} gets the new column {column.name} {kind}")
        tables.check_rounding(plan, target, self._rounded)
        for name, old, kind in plan.widened:
            run(f"ALTER TABLE {self._table} ALTER COLUMN {ident(name)} TYPE {kind}")
            log(f"{target.stream}: column {name} is widened from {old} to {kind}")

    def write(self, part: Part) -> None:
        with part.scan(self._writer.engine, self._plan.types) as scan:
            try:
                written = self._writer.run(f"INSERT INTO {self._into} BY NAME {scan.select}")[0][0]
            except duckdb.Error as error:
                raise part.explain(error) from error
        read = scan.rows_read()
        self.counts.read += written if read is None else read
        self.counts.written += written

    def settle(self, load: Load, *, versions: Sequence[int | None] = ()) -> Counts:
        counts, target = self.counts, self._target
        tables.check_counts(target, read=counts.read, written=counts.written)
        if target.method == "merge":
            self._merge()
        else:
            counts.inserted = counts.written
        if versions:
            self._drop_versions(versions)
        self._verify()
        remember(self._writer, load, rows=counts.written)
        return counts

    def _drop_versions(self, versions: Sequence[int | None]) -> None:
        """Rows of another version of the whole table go."""
        if VERSION_COLUMN not in self._writer.columns(self._target.table):
            log(tables.no_versions(self._target), level="warning")
            return
        gone = self._writer.run(f"DELETE FROM {self._table} WHERE {tables.other_versions(versions)}")
        self.counts.deleted += gone[0][0]

    def _merge(self) -> None:
        """Rows with a known key give way to the new ones: far less memory than MERGE, which keeps old values in it."""
        run, counts, keys, stage = self._writer.run, self.counts, self._target.primary_keys, self._into
        self._refuse_null_keys()
        distinct = run(f"SELECT count(*) FROM (SELECT DISTINCT {idents(keys)} FROM {stage})")[0][0]
        if distinct != counts.written:
            run(f"DELETE FROM {stage} WHERE rowid NOT IN (SELECT max(rowid) FROM {stage} GROUP BY {idents(keys)})")
        match = " AND ".join(f"old.{ident(key)} = new.{ident(key)}" for key in keys)
        counts.updated = run(
            f"SELECT count(*) FROM {stage} AS new WHERE EXISTS (SELECT 1 FROM {self._table} AS old WHERE {match})"
        )[0][0]
        gone = 0
        if counts.updated:
            self._keep_other_columns(match)
            gone = run(f"DELETE FROM {self._table} AS old WHERE EXISTS (SELECT 1 FROM {stage} AS new WHERE {match})")[
                0
            ][0]
        written = run(f"INSERT INTO {self._table} BY NAME SELECT * FROM {stage}")[0][0]
        tables.check_counts(self._target, read=distinct, written=written)
        counts.inserted = written - counts.updated
        self._before -= gone - counts.updated  # more went than were updated where the table held a key twice

    def _keep_other_columns(self, match: str) -> None:
        """Columns that the source does not have keep their values in rows that are updated."""
        stage = self._into
        have = {name.lower() for name in self._plan.types}
        for column in self._writer.columns(self._target.table).values():
            if column.name.lower() in have:
                continue
            name = ident(column.name)
            self._writer.run(f"ALTER TABLE {stage} ADD COLUMN {name} {column.type}")
            self._writer.run(f"UPDATE {stage} AS new SET {name} = old.{name} FROM {self._table} AS old WHERE {match}")

    def _refuse_null_keys(self) -> None:
        for key in self._target.primary_keys:
            rows = self._writer.run(f"SELECT count(*) FROM {self._into} WHERE {ident(key)} IS NULL")[0][0]
            if rows:
                file = None
                if FILE_COLUMN in self._plan.types:
                    sql = f"SELECT min({FILE_COLUMN}) FROM {self._into} WHERE {ident(key)} IS NULL"
                    file = self._writer.run(sql)[0][0]
                raise tables.null_key(self._target, key, rows, file)

    def _verify(self) -> None:
        expected = self._before + self.counts.inserted - self.counts.deleted
        if not tables.is_counted(self._target, expected):
            return
        found = self._writer.run(f"SELECT count(*) FROM {self._table}")[0][0]
        if found != expected:
            raise tables.counts_differ(self._target, f"rows in table {self._target.table}", expected, found)
        self.counts.verified = True
