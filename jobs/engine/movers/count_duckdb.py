"""Counts the tables of a DuckDB file. It has one writer and meanwhile no reader, so it is never held open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import duckdb

from jobs.engine.movers import duckdb as store
from jobs.engine.movers import paths
from jobs.engine.movers.count_places import filled
from jobs.engine.movers.count_tables import Table, Wanted, spelled, wanted_keys
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import ident, text
from jobs.engine.movers.types import DECIMAL, INTEGERS, SIGNED_FOR

PATIENCE_SECONDS = 10.0
KNOWN_TABLES = 2000  # counted before the target has heard of any stream
TABLES = """SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()
UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = current_database() AND NOT internal"""
COLUMNS = """SELECT column_name, data_type FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = ? AND table_name = ?"""


class DuckDBStore:
    """A DuckDB file of a target.

    Many targets open the file as soon as they start, and then nobody else can: so all tables are counted at once,
    and what is asked before the run is answered from that.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._store = spec["store"]
        self._settings = spec["loader"]["settings"]
        self._limits = spec.get("limits") or {}
        self._path = paths.resolve(
            filled(self._store.get("path"), self._settings),
            allowed=[str(folder) for folder in spec.get("allowed_folders") or ()],
            base=str(spec.get("files_folder") or ""),
            what="The target's file",
        )
        self._before: dict[tuple[str, str], int] = {}
        self._why = ""
        try:
            self._before = self._all()
        except (MoverError, duckdb.Error) as error:
            self._why = str(error).splitlines()[0]

    def count(self, streams: Sequence[str], keys: Mapping[str, Any], *, is_after: bool) -> dict[str, Table]:
        """The rows of each stream's table, and which of the keys are not there."""
        if is_after:
            return self._count_now(streams, keys)
        return {stream: self._known(stream) for stream in streams}

    def _known(self, stream: str) -> Table:
        if self._why:
            return Table(why=self._why)
        found = self._find(stream, list(self._before))
        return Table(rows=0, exists=False) if found is None else Table(rows=self._before[found], exists=True)

    def _find(self, stream: str, tables: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
        schema = filled(self._store.get("schema"), self._settings, stream) or "main"
        table = filled(self._store.get("table") or "{stream}", self._settings, stream)
        schema_there = spelled(schema, {name for name, _ in tables})
        table_there = spelled(table, [name for there, name in tables if there == schema_there])
        return (schema_there, table_there) if schema_there is not None and table_there is not None else None

    def _open(self) -> duckdb.DuckDBPyConnection | None:
        if not os.path.exists(self._path):
            return None
        return store.connect(self._path, limits=self._limits, read_only=True, wait_seconds=PATIENCE_SECONDS)

    def _all(self) -> dict[tuple[str, str], int]:
        connection = self._open()
        if connection is None:
            return {}
        with closing(connection):
            tables = connection.execute(TABLES).fetchall()[:KNOWN_TABLES]
            counts = [f"SELECT {n}, count(*) FROM {ident(*name)}" for n, name in enumerate(tables)]
            rows = connection.execute(" UNION ALL ".join(counts)).fetchall() if counts else []
            return {tables[number]: count for number, count in rows}

    def _count_now(self, streams: Sequence[str], keys: Mapping[str, Any]) -> dict[str, Table]:
        try:
            connection = self._open()
        except duckdb.Error as error:
            return {stream: Table(why=str(error).splitlines()[0]) for stream in streams}
        if connection is None:
            return {stream: Table(rows=0, exists=False) for stream in streams}
        with closing(connection):
            tables = connection.execute(TABLES).fetchall()
            return {stream: self._count_one(connection, stream, tables, keys.get(stream) or {}) for stream in streams}

    def _count_one(
        self,
        connection: duckdb.DuckDBPyConnection,
        stream: str,
        tables: Sequence[tuple[str, str]],
        keys: Mapping[str, Any],
    ) -> Table:
        found = self._find(stream, tables)
        if found is None:
            return Table(rows=0, exists=False)
        try:
            row = connection.execute(f"SELECT count(*) FROM {ident(*found)}").fetchone()
            kinds = {name: _kind(kind) for name, kind in connection.execute(COLUMNS, list(found)).fetchall()}
            wanted = wanted_keys(keys, kinds)
            missing = None if wanted is None else _missing(connection, found, wanted, kinds, keys)
        except duckdb.Error as error:
            return Table(exists=True, why=str(error).splitlines()[0])
        return Table(rows=int(row[0]) if row else None, exists=True, missing=missing)


def _kind(kind: str) -> str:
    if kind in INTEGERS or kind in SIGNED_FOR or DECIMAL.fullmatch(kind):
        return "integer"
    return {"VARCHAR": "text", "UUID": "uuid"}.get(kind, "")


def _missing(
    connection: duckdb.DuckDBPyConnection,
    table: Sequence[str],
    wanted: Wanted,
    kinds: Mapping[str, str],
    keys: Mapping[str, Any],
) -> list[list[Any]]:
    names = [f"key_{number}" for number in range(len(wanted.columns))]
    rows = ", ".join(f"({number}, {', '.join(map(text, values))})" for number, values in wanted.rows)
    compared = {
        "integer": "{c} = CAST({k} AS BIGINT)",
        "text": "{c} = {k}",
        "uuid": "CAST({c} AS VARCHAR) = lower({k})",
    }
    match = " AND ".join(
        compared[kinds[column]].format(c=f"t.{ident(column)}", k=f"k.{name}")
        for column, name in zip(wanted.columns, names, strict=True)
    )
    found = connection.execute(
        f"SELECT number FROM (VALUES {rows}) AS k(number, {', '.join(names)})"
        f" WHERE NOT EXISTS (SELECT 1 FROM {ident(*table)} AS t WHERE {match}) ORDER BY 1"
    ).fetchall()
    return [list(keys["samples"][number]) for (number,) in found]
