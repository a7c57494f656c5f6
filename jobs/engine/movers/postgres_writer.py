"""The loader target-postgres: its connection, what the store remembers, and transactions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import duckdb
import psycopg

from jobs.engine.movers import duckdb as store
from jobs.engine.movers import failures, postgres, types
from jobs.engine.movers.ports import LOADS_TABLE, Column, Load, Stored, Target
from jobs.engine.movers.postgres_load import PostgresLoad
from jobs.engine.movers.quoting import ident

LOADS_COLUMNS = (
    "pipeline text, stream text, table_name text, job text, attempt integer, epoch bigint, sequence bigint,"
    " rows bigint, state text, loaded_at timestamptz, PRIMARY KEY (pipeline, stream)"
)
COLUMNS_SQL = """SELECT a.attname, t.typname, a.atttypmod, t.typcategory, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
ORDER BY a.attnum"""


class PostgresWriter:
    """Writes into a schema of a PostgreSQL database."""

    takes_copy = True

    def __init__(self, spec: Mapping[str, Any]) -> None:
        settings = spec["loader"]["settings"]
        self._limits = spec.get("limits") or {}
        self._spill = f"{spec.get('run_folder') or '.'}/spill"
        self.schema = str(settings.get("schema") or spec.get("schema") or "public")
        self.connection = postgres.connect(settings, job=str(spec["job"]), attempt=int(spec.get("attempt") or 0))
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            self._make_loads()
        except psycopg.Error as error:
            raise postgres.explain(error, doing=f"prepare schema {self.schema}") from error

    @cached_property
    def engine(self) -> Any:
        """What reads files and SQLite for us: a DuckDB without a file."""
        engine = store.connect(":memory:", limits=self._limits, temp_folder=self._spill)
        store.show_progress(engine)
        return engine

    def fraction(self) -> float:
        return store.fraction(self.engine) if "engine" in self.__dict__ else 0.0

    def run(self, sql: str, values: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:
        """One statement. Values go apart from the text; without them the text may hold a percent sign."""
        return self.connection.execute(sql.encode(), values)

    def _make_loads(self) -> None:
        """The schema and our own table, in a transaction of their own: two pipelines may make them at once."""
        wait = int(float(self._limits.get("lock_wait_seconds", 60)) * 1000)
        self.run(f"SET lock_timeout = {wait}")
        if not self.run("SELECT 1 FROM pg_namespace WHERE nspname = %s", [self.schema]).fetchone():
            self.run(f"CREATE SCHEMA IF NOT EXISTS {ident(self.schema)}")
        if not self.has_table(LOADS_TABLE):
            try:
                self.run(f"CREATE TABLE IF NOT EXISTS {ident(self.schema, LOADS_TABLE)} ({LOADS_COLUMNS})")
            except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
                self.connection.rollback()  # another pipeline was first
                self.run(f"SET lock_timeout = {wait}")
        self.connection.commit()

    def columns(self, table: str) -> dict[str, Column]:
        """A table's columns; none when there is no such table."""
        rows = self.run(COLUMNS_SQL, [self.schema, table]).fetchall()
        return {
            name: Column(name, types.from_postgres(kind, modifier, category=category), native)
            for name, kind, modifier, category, native in rows
        }

    def has_table(self, table: str) -> bool:
        """Asked between transactions: one that stayed open would hold up the server while the source is read."""
        found = bool(self.columns(table))
        self.connection.commit()
        return found

    def stored(self, pipeline: str) -> dict[str, Stored]:
        rows = self.run(
            f"SELECT stream, table_name, epoch, sequence, job, state FROM {ident(self.schema, LOADS_TABLE)}"
            " WHERE pipeline = %s",
            [pipeline],
        ).fetchall()
        self.connection.commit()
        return {row[0]: Stored(row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows}

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """Loads that count together. They are undone unless the block committed them."""
        transaction = PostgresTransaction(self)
        try:
            self.connection.rollback()
            yield transaction
        except psycopg.Error as error:
            raise postgres.explain(error, doing=transaction.doing, stream=transaction.stream) from error
        except duckdb.Error as error:
            raise failures.explain(error, doing=transaction.doing, stream=transaction.stream) from error
        finally:
            if not transaction.is_committed and not self.connection.closed:
                self.connection.rollback()

    def remember(self, load: Load, *, rows: int) -> None:
        """Rows and state in one commit."""
        loads = ident(self.schema, LOADS_TABLE)
        self.run(f"DELETE FROM {loads} WHERE pipeline = %s AND stream = %s", [load.pipeline, load.stream])
        self.run(
            f"INSERT INTO {loads} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now())",
            [
                *(load.pipeline, load.stream, load.table, load.job, load.attempt, load.epoch, load.sequence),
                *(rows, json.dumps(load.state)),
            ],
        )

    def close(self, *, is_complete: bool) -> None:
        self.connection.close()
        if "engine" in self.__dict__:
            self.engine.close()


class PostgresTransaction:
    """The loads of one transaction, one after the other."""

    def __init__(self, writer: PostgresWriter) -> None:
        self._writer = writer
        self.stream: str | None = None
        self.is_committed = False

    @property
    def doing(self) -> str:
        return f"load stream {self.stream}" if self.stream else "store the state"

    def load(self, target: Target) -> PostgresLoad:
        self.stream = target.stream
        return PostgresLoad(self._writer, target)

    def remember(self, load: Load, *, rows: int) -> None:
        self._writer.remember(load, rows=rows)

    def commit(self) -> None:
        self._writer.connection.commit()
        self.is_committed = True
