"""Tests of extractors: the files there are, the tables a database has and what may be read of them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pyarrow.parquet as pq

from jobs.engine.movers import downloads, paths, postgres
from jobs.engine.movers.check_config import entries_of, stream_of
from jobs.engine.movers.check_files import (
    Found,
    describe,
    find_files,
    is_pattern,
    is_web,
    plural,
    require_readable,
    size_text,
)
from jobs.engine.movers.checklist import Checklist, Doubtful
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import ident

Values = Mapping[str, Any]

COUNTED_BYTES = 256 << 20  # a larger SQLite file is not counted: that would read all of it
LISTED_TABLES = 40
STATEMENT_SECONDS = 30
PARQUET_ENDINGS = (".parquet", ".pq")
TABLES = """
    SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND n.nspname NOT LIKE 'pg\\_%' AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY 1
"""


def check_files_source(spec: Values, checks: Checklist) -> None:
    """Look for the files of each stream and open them."""
    for entry in entries_of(spec["extractor"]):
        checks.make(f"Stream {stream_of(entry)}", partial(check_files, spec, entry))


def check_files(spec: Values, entry: Values) -> str:
    """The files of one stream: there, readable, how many, how large; rows where the files themselves say."""
    path, stream = str(entry["path"]), stream_of(entry)
    if is_web(path):
        size = downloads.probe(path, limits=spec["limits"], stream=stream)
        return f"{downloads.shown(path)} answers{'' if size is None else f', {size_text(size)}'}"
    files = find_files(path, spec)
    if not files and is_pattern(path):
        raise Doubtful(f"No file matches the pattern {path} yet")
    if not files:
        raise MoverError(
            f"The file {path} does not exist",
            reason=f"Stream {stream} looks for it in the workspace's files.",
            remedy="Check the stream's setting path, or add the file.",
            code="file-missing",
            stream=stream,
            file=path,
        )
    require_readable(files, stream=stream)
    rows = parquet_rows(files, entry, stream=stream)
    return describe(files) if rows is None else f"{describe(files)}, {plural(rows, 'row')}"


def parquet_rows(files: list[Found], entry: Values, *, stream: str) -> int | None:
    """How many rows Parquet files say they have; None for formats that would have to be read for it."""
    chosen = entry.get("format") or "auto"
    is_parquet = chosen == "parquet" or (chosen == "auto" and all(f.path.endswith(PARQUET_ENDINGS) for f in files))
    if not is_parquet:
        return None
    rows = 0
    for file in files:
        try:
            rows += pq.read_metadata(file.path).num_rows
        except (OSError, ValueError) as error:
            raise MoverError(
                f"{paths.shown(file.path)} is not a Parquet file",
                reason=f"{error}.",
                remedy="Check the file, or the stream's setting format.",
                code="not-parquet",
                stream=stream,
                file=paths.shown(file.path),
            ) from error
    return rows


def check_sql_source(spec: Values, checks: Checklist) -> None:
    """Connect, say which tables there are, and look into each that is to be read."""
    settings = spec["extractor"]["settings"]
    if settings["dialect"] == "sqlite":
        check_sqlite_source(spec, checks)
        return
    connections: list[psycopg.Connection[Any]] = []
    if not checks.make("Connect to the source", partial(connect_source, spec, connections)):
        return
    with closing(connections[0]) as connection:
        checks.make("Tables that may be read", partial(list_postgres, connection))
        for entry in entries_of(spec["extractor"]):
            checks.make(f"Stream {stream_of(entry)}", partial(check_postgres_entry, connection, entry))


def connect_source(spec: Values, connections: list[psycopg.Connection[Any]]) -> str:
    """Open a connection that can only read, and keep it for the checks that follow."""
    settings = spec["extractor"]["settings"]
    connection = postgres.connect(settings, job=spec["job"], attempt=spec["attempt"], autocommit=True)
    connection.execute("SET default_transaction_read_only = on")
    connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'".encode())
    connections.append(connection)
    version = connection.info.server_version
    return f"{postgres.place(settings)}, PostgreSQL {version // 10000}.{version % 10000}"


def list_postgres(connection: psycopg.Connection[Any]) -> str:
    """The tables and views this user may read."""
    return listed([str(row[0]) for row in connection.execute(TABLES).fetchall()])


def listed(names: list[str]) -> str:
    """Names of tables, as many as a line takes."""
    if not names:
        raise Doubtful("There is none. Grant the user SELECT on what is to be read")
    more = f" and {len(names) - LISTED_TABLES} more" if len(names) > LISTED_TABLES else ""
    return f"{len(names)}: {', '.join(names[:LISTED_TABLES])}{more}"


def check_postgres_entry(connection: psycopg.Connection[Any], entry: Values) -> str:
    """Read nothing of a table or query, but as if: names, columns and rights are right, then."""
    stream = stream_of(entry)
    try:
        if entry.get("query"):
            query = str(entry["query"]).strip().rstrip(";")
            statement = f"SELECT * FROM ({query}\n) AS q LIMIT 0"
            found = connection.execute(statement.encode(), binary=True).description
            return f"a query with {plural(len(found or ()), 'column')}"
        names = [name for name in (entry.get("schema"), entry["table"]) if name]
        columns = ", ".join(ident(name) for name in wanted_columns(entry)) or "*"
        statement = f"SELECT {columns} FROM {ident(*names)} LIMIT 0"
        count = len(connection.execute(statement.encode()).description or ())
        return f"{'.'.join(names)}: {plural(count, 'column')}, {postgres_rows(connection, names)}"
    except psycopg.Error as error:
        raise postgres.explain(error, doing=f"read the stream {stream}", stream=stream) from error


def wanted_columns(entry: Values) -> list[str]:
    """The columns a stream names: those to read, and the key it is read by. Empty means all."""
    chosen = list(entry.get("columns") or ())
    key = entry.get("replication_key")
    return [*chosen, key] if chosen and key and key not in chosen else chosen


def postgres_rows(connection: psycopg.Connection[Any], names: list[str]) -> str:
    """How many rows the server believes a table to have: counting could take minutes."""
    found = connection.execute(
        "SELECT reltuples::bigint, relkind FROM pg_class WHERE oid = %s::regclass", [ident(*names)]
    ).fetchone()
    if found is None or found[0] < 0 or found[1] == "v":
        return "rows not counted"
    return f"about {plural(found[0], 'row')}"


def check_sqlite_source(spec: Values, checks: Checklist) -> None:
    """The same for a SQLite file, which is opened for reading only."""
    settings = spec["extractor"]["settings"]
    files: list[Found] = []
    if not checks.make("Open the source", partial(open_sqlite, spec, str(settings["path"]), files)):
        return
    with closing(sqlite3.connect(read_only(files[0].path), uri=True)) as connection:
        checks.make("Tables that may be read", partial(list_sqlite, connection))
        for entry in entries_of(spec["extractor"]):
            count = files[0].bytes <= COUNTED_BYTES
            check: Callable[[], str] = partial(check_sqlite_entry, connection, entry, count=count)
            checks.make(f"Stream {stream_of(entry)}", check)


def open_sqlite(spec: Values, path: str, files: list[Found]) -> str:
    """The file is there and is SQLite's; it is kept for the checks that follow."""
    found = find_files(path, spec)
    if not found:
        raise MoverError(
            f"The SQLite file {path} does not exist",
            reason="The extractor looks for it in the workspace's files.",
            remedy="Check the extractor's setting path, or add the file.",
            code="file-missing",
            file=path,
        )
    try:
        with closing(sqlite3.connect(read_only(found[0].path), uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise MoverError(
            f"{path} cannot be opened as a SQLite database",
            reason=f"{error}.",
            remedy="Check that it is a SQLite file which the user that jobs run as may read.",
            code="source-unreadable",
            file=path,
        ) from error
    files.append(found[0])
    return f"{path}, {size_text(found[0].bytes)}"


def read_only(path: str) -> str:
    """A SQLite file as an address that opens it for reading."""
    return f"file:{os.fspath(path).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=ro"


def list_sqlite(connection: sqlite3.Connection) -> str:
    """The tables and views of a SQLite file."""
    statement = (
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return listed(sorted(str(row[0]) for row in connection.execute(statement).fetchall()))


def check_sqlite_entry(connection: sqlite3.Connection, entry: Values, *, count: bool) -> str:
    """Read nothing of a table or query, but as if; count the table where the file is small."""
    stream = stream_of(entry)
    try:
        if entry.get("query"):
            query = str(entry["query"]).strip().rstrip(";")
            cursor = connection.execute(f"SELECT * FROM ({query}\n) LIMIT 0")
            return f"a query with {plural(len(cursor.description), 'column')}"
        table = str(entry["table"])
        # Not quoted with double quotes alone: SQLite takes a misspelt column in them for a text.
        columns = ", ".join(f"t.{ident(name)}" for name in wanted_columns(entry)) or "*"
        width = len(connection.execute(f"SELECT {columns} FROM {ident(table)} AS t LIMIT 0").description)
        rows = connection.execute(f"SELECT count(*) FROM {ident(table)}").fetchone()[0] if count else None
        return f"{table}: {plural(width, 'column')}, {'rows not counted' if rows is None else plural(rows, 'row')}"
    except sqlite3.Error as error:
        raise MoverError(
            f"SQLite could not read the stream {stream}",
            reason=f"{error}.",
            remedy="Check the names of the table and its columns, or the query.",
            code="table-missing",
            stream=stream,
        ) from error
