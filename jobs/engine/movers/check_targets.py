"""Tests of loaders: can they be opened, and can a table be made there? Nothing of it stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from jobs.engine.movers import duckdb as stores
from jobs.engine.movers import failures, paths, postgres
from jobs.engine.movers.check_config import check_duckdb, check_folder
from jobs.engine.movers.check_files import plural, size_text
from jobs.engine.movers.checklist import Checklist, Doubtful
from jobs.engine.movers.model_duckdb import warehouse_path
from jobs.engine.movers.model_store import target_schema
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import ident

Values = Mapping[str, Any]

SCRATCH = "_eltsite_test"
LISTED_TABLES = 40


def check_duckdb_target(spec: Values, checks: Checklist) -> None:
    """Open the warehouse, make a table in it and take that back."""
    if not checks.make("Warehouse", partial(check_duckdb, spec)):
        return
    path = warehouse_path(spec)
    is_new = not os.path.exists(path)
    connections: list[duckdb.DuckDBPyConnection] = []
    if not checks.make("Open the warehouse", partial(open_duckdb, spec, path, connections)):
        return
    with closing(connections[0]) as connection:
        checks.make("Make a table", partial(try_duckdb_table, connection, target_schema(spec)))
        if not is_new:
            checks.make("Tables there", partial(list_duckdb, connection, target_schema(spec)))
    if is_new:
        os.unlink(path)  # a test leaves nothing behind


def open_duckdb(spec: Values, path: str, connections: list[duckdb.DuckDBPyConnection]) -> str:
    """Open the file for writing, as a run does, and keep it for the checks that follow."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    memory_limit = spec["loader"]["settings"].get("memory_limit") or ""
    connections.append(stores.connect(path, limits=spec["limits"], memory_limit=memory_limit))
    return f"{paths.shown(path)}, {size_text(os.path.getsize(path))}, duckdb {duckdb.__version__}"


def try_duckdb_table(connection: duckdb.DuckDBPyConnection, schema: str) -> str:
    """In a transaction that is rolled back."""
    with failures.explained(f"make a table in the schema {schema}"):
        connection.execute("BEGIN")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {stores.qualified(connection, schema)}")
        connection.execute(f"CREATE TABLE {stores.qualified(connection, schema, SCRATCH)} AS SELECT 1 AS one")
        connection.execute("ROLLBACK")
    return f"in the schema {schema}; rolled back"


def list_duckdb(connection: duckdb.DuckDBPyConnection, schema: str) -> str:
    """The tables of the schema with the row counts that DuckDB keeps."""
    statement = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE schema_name = ? ORDER BY 1"
    return listed(connection.execute(statement, [schema]).fetchall())


def listed(tables: list[tuple[Any, ...]]) -> str:
    """Tables and their rows, as many as a line takes."""
    if not tables:
        return "none yet"
    shown = ", ".join(
        name if rows is None or rows < 0 else f"{name} ({plural(rows, 'row')})" for name, rows in tables[:LISTED_TABLES]
    )
    more = f" and {len(tables) - LISTED_TABLES} more" if len(tables) > LISTED_TABLES else ""
    return f"{shown}{more}"


def check_postgres_target(spec: Values, checks: Checklist) -> None:
    """Connect, make a table and take that back."""
    connections: list[psycopg.Connection[Any]] = []
    if not checks.make("Connect to the target", partial(connect_target, spec, connections)):
        return
    schema = target_schema(spec)
    with closing(connections[0]) as connection:
        checks.make("Make a table", partial(try_postgres_table, connection, schema))
        checks.make("Tables there", partial(list_postgres, connection, schema))
        checks.make("Role", partial(check_role, connection))


def connect_target(spec: Values, connections: list[psycopg.Connection[Any]]) -> str:
    """Open a connection and keep it for the checks that follow."""
    settings = spec["loader"]["settings"]
    connection = postgres.connect(settings, job=spec["job"], attempt=spec["attempt"], autocommit=True)
    connections.append(connection)
    version = connection.info.server_version
    return f"{postgres.place(settings)}, PostgreSQL {version // 10000}.{version % 10000}"


def try_postgres_table(connection: psycopg.Connection[Any], schema: str) -> str:
    """In a transaction that is rolled back; the schema too, where a run would make it."""
    try:
        with connection.transaction(force_rollback=True):
            if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone():
                connection.execute(f"CREATE SCHEMA {ident(schema)}".encode())
            connection.execute(f"CREATE TABLE {ident(schema, SCRATCH)} (one int)".encode())
    except psycopg.errors.InsufficientPrivilege as error:
        raise MoverError(
            f"The role {connection.info.user} may not make tables in the schema {schema}",
            reason=f"PostgreSQL: {postgres.plain(error)}.",
            remedy=f"GRANT CREATE, USAGE ON SCHEMA {ident(schema)} TO {ident(connection.info.user)};"
            f" or, where the schema is missing, GRANT CREATE ON DATABASE {ident(connection.info.dbname)} TO it.",
            code="no-permission",
        ) from error
    except psycopg.Error as error:
        raise postgres.explain(error, doing=f"make a table in the schema {schema}") from error
    return f"in the schema {schema}; rolled back"


def list_postgres(connection: psycopg.Connection[Any], schema: str) -> str:
    """The tables of the schema with the row counts that PostgreSQL believes in."""
    statement = (
        "SELECT c.relname, c.reltuples::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY 1"
    )
    return listed(connection.execute(statement, [schema]).fetchall())


def check_role(connection: psycopg.Connection[Any]) -> str:
    """Loading as a superuser works; SQL models do not, and nothing needs it."""
    found = connection.execute("SELECT current_setting('is_superuser')").fetchone()
    if found and found[0] == "on":
        raise Doubtful(
            f"{connection.info.user} is a superuser, and SQL models do not run as one."
            " Give the loader a role of its own that owns the schema"
        )
    return f"{connection.info.user}, no superuser"


def check_files_target(spec: Values, checks: Checklist) -> None:
    """Write a file into the folder and take it away again."""
    if checks.make("Folder", partial(check_folder, spec)):
        checks.make("Write a file", partial(try_file, spec))


def try_file(spec: Values) -> str:
    """A real file in the folder, or in what there is of it."""
    folder = paths.resolve(str(spec["loader"]["settings"]["path"]), allowed=spec.get("allowed_folders", ()))
    place = folder
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=SCRATCH) as file:
            file.write(b"test")
            file.flush()
    except OSError as error:
        raise MoverError(
            f"No file can be written into {paths.shown(place)}",
            reason=f"{error.strerror or error}.",
            remedy="Free some space there, or give the user that jobs run as the right to write.",
            code="path-not-writable",
            file=paths.shown(place),
        ) from error
    held = sum(len(files) for _, _, files in os.walk(folder))
    return (
        f"{paths.shown(folder)}, {plural(held, 'file')} there"
        if os.path.isdir(folder)
        else f"{paths.shown(folder)}, which the first run makes"
    )
