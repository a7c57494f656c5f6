"""Counts the tables of a PostgreSQL schema. A connection of its own for each time: a run may last for hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg

from jobs.engine.movers import postgres
from jobs.engine.movers.count_places import filled
from jobs.engine.movers.count_tables import Table, Wanted, spelled, wanted_keys
from jobs.engine.movers.quoting import ident
from jobs.engine.movers.tables import COUNTED_BELOW

BEFORE_SECONDS, AFTER_SECONDS = 10, 120  # of one statement
TABLES = """SELECT n.nspname, c.relname, c.relkind, c.reltuples::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND lower(n.nspname) = lower(%s)"""
COLUMNS = """SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped"""
KINDS = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), "integer"),
    **dict.fromkeys(("text", "varchar"), "text"),
    "uuid": "uuid",
}
COMPARED = {"integer": "{c} = {k}::bigint", "text": "{c}::text = {k}", "uuid": "{c}::text = lower({k})"}


class PostgresStore:
    """A schema of a target."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._store = spec["store"]
        self._settings = spec["loader"]["settings"]
        self._job = str(spec.get("job") or "")
        self._attempt = int(spec.get("attempt") or 0)

    def _connect(self, seconds: int) -> psycopg.Connection[Any]:
        names = ("host", "port", "user", "password", "database", "sslmode")
        end = {name: filled(self._store.get(name), self._settings) for name in names}
        connection = postgres.connect(end, job=self._job, attempt=self._attempt, autocommit=True)
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = '{seconds}s'".encode())
        return connection

    def count(self, streams: Sequence[str], keys: Mapping[str, Any], *, is_after: bool) -> dict[str, Table]:
        """The rows of each stream's table, and which of the keys are not there."""
        with closing(self._connect(AFTER_SECONDS if is_after else BEFORE_SECONDS)) as connection:
            found: dict[str, Table] = {}
            for stream in streams:
                try:
                    found[stream] = self._count_one(connection, stream, keys.get(stream) or {})
                except psycopg.Error as error:
                    found[stream] = Table(exists=True, why=postgres.plain(error))
            return found

    def _count_one(self, connection: psycopg.Connection[Any], stream: str, keys: Mapping[str, Any]) -> Table:
        schema = filled(self._store.get("schema"), self._settings, stream)
        if not schema:
            row = connection.execute("SELECT current_schema()").fetchone()
            schema = str(row[0]) if row and row[0] else "public"
        tables = connection.execute(TABLES, [schema]).fetchall()
        schema_there = spelled(schema, {row[0] for row in tables})
        wanted = filled(self._store.get("table") or "{stream}", self._settings, stream)
        table = spelled(wanted, [row[1] for row in tables if row[0] == schema_there])
        if schema_there is None or table is None:
            return Table(rows=0, exists=False)
        relation = ident(schema_there, table)
        kinds = {name: KINDS.get(kind, "") for name, kind in connection.execute(COLUMNS, [relation]).fetchall()}
        sought = wanted_keys(keys, kinds)
        missing = None if sought is None else _missing(connection, relation, sought, kinds, keys)
        estimate = next(row[3] for row in tables if row[:2] == (schema_there, table))
        if estimate > COUNTED_BELOW:
            return Table(exists=True, missing=missing, why=f"it has more than {COUNTED_BELOW:,} rows")
        counted = connection.execute(f"SELECT count(*) FROM {relation}".encode()).fetchone()
        return Table(rows=int(counted[0]) if counted else None, exists=True, missing=missing)


def _missing(
    connection: psycopg.Connection[Any],
    relation: str,
    wanted: Wanted,
    kinds: Mapping[str, str],
    keys: Mapping[str, Any],
) -> list[list[Any]]:
    names = [f"key_{number}" for number in range(len(wanted.columns))]
    match = " AND ".join(
        COMPARED[kinds[column]].format(c=f"t.{ident(column)}", k=f"k.{name}")
        for column, name in zip(wanted.columns, names, strict=True)
    )
    arrays = ["%s::int[]", *["%s::text[]"] * len(names)]
    values = [
        [number for number, _ in wanted.rows],
        *(list(column) for column in zip(*(r for _, r in wanted.rows), strict=True)),
    ]
    relation, match = relation.replace("%", "%%"), match.replace("%", "%%")  # of names, and no value's place
    found = connection.execute(
        f"SELECT number FROM unnest({', '.join(arrays)}) AS k(number, {', '.join(names)})"
        f" WHERE NOT EXISTS (SELECT 1 FROM {relation} AS t WHERE {match}) ORDER BY 1".encode(),
        values,
    ).fetchall()
    return [list(keys["samples"][number]) for (number,) in found]
