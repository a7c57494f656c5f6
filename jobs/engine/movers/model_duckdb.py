"""SQL models in a DuckDB file, shut into it: no other file but the workspace's, no setting changed, nothing written."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import duckdb

from jobs.engine.movers import duckdb as stores
from jobs.engine.movers import paths
from jobs.engine.movers.model_sql import Model
from jobs.engine.movers.model_store import (
    MARK,
    Columns,
    column_changes,
    failed,
    statement_seconds,
    taken,
    target_schema,
    too_long,
)
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.quoting import text, texts

SELECT_VIEW = "temp._eltsite_model"
LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)


class DuckDBModels:
    """Builds models in one DuckDB file."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        """Open the file, go to the workspace's files so that models name them as extractors do, and shut the door."""
        settings, limits = spec["loader"]["settings"], spec["limits"]
        self._path = warehouse_path(spec)
        self._schema = target_schema(spec)
        self._seconds = statement_seconds(limits)
        files = paths.resolve(spec["files_folder"], allowed=())
        scratch = paths.resolve(os.path.join(spec["run_folder"], "spill"), allowed=())
        memory_limit = settings.get("memory_limit") or ""
        self._connection = stores.connect(self._path, limits=limits, memory_limit=memory_limit, temp_folder=scratch)
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._name()}")
        self._connection.execute(f"USE {self._name()}")
        os.makedirs(files, exist_ok=True)
        os.chdir(files)
        enclose(self._connection, [files, os.getcwd()])

    def _name(self, *relation: str) -> str:
        return stores.qualified(self._connection, self._schema, *relation)

    def build(self, model: Model, *, remaining: Set[str]) -> int:
        """Make the table or view in one transaction: before it ends others see the old one, or it fails and stays."""
        with self._explained(model), self._transaction():
            self._check_select(model)
            before = self._clear(model)
            relation = self._name(model.name)
            if model.kind == "table":
                # Not emptied and refilled: a DuckDB view finds its table by name, so it survives, there are no
                # grants to lose, and the old rows' space is free at once.
                self._connection.execute(f"CREATE OR REPLACE TABLE {relation} AS SELECT * FROM {SELECT_VIEW}")
            else:
                self._connection.execute(f"CREATE OR REPLACE VIEW {relation} AS\n{model.select}\n")
            self._connection.execute(f"COMMENT ON {model.kind} {relation} IS {text(MARK + model.path)}")
            changes = column_changes(before, self._columns(model.name)) if before else ""
            rows = self._connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
        if changes:
            log(f"Columns of {model.name} changed: {changes}", source="models", level="warning")
        return int(rows[0]) if rows else 0

    def close(self) -> None:
        """Checkpoint, so that the file is whole without its log, and close it."""
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            log(f"No checkpoint: {error}", source="models", level="warning")
        self._connection.close()

    def _check_select(self, model: Model) -> None:
        """Have DuckDB itself see that it is one SELECT that writes nothing: only such a one can be a view.

        Our parser is another than DuckDB's, and what one takes for a text may be a statement to the other.
        """
        statement = f"CREATE OR REPLACE TEMP VIEW _eltsite_model AS\n{model.select}\n"
        if len(self._connection.extract_statements(statement)) != 1:
            raise failed(model, "it holds more than one statement", code="model-statement")
        self._connection.execute(statement)

    def _clear(self, model: Model) -> Columns:
        """Drop what had the name as the other kind; returns the columns it had. Refuses what no model made."""
        found = self._connection.execute(
            "SELECT 'table', comment FROM duckdb_tables() WHERE database_name = current_database()"
            " AND lower(schema_name) = lower($1) AND lower(table_name) = $2 UNION ALL"
            " SELECT 'view', comment FROM duckdb_views() WHERE database_name = current_database()"
            " AND lower(schema_name) = lower($1) AND lower(view_name) = $2",
            [self._schema, model.name],
        ).fetchone()
        if found is None:
            return {}
        kind, comment = found
        if not str(comment or "").startswith(MARK):
            raise taken(model, kind)
        columns = self._columns(model.name)
        if kind != model.kind:
            self._connection.execute(f"DROP {kind} {self._name(model.name)}")
            log(f"{model.name} was a {kind} and becomes a {model.kind}", source="models")
        return columns

    def _columns(self, name: str) -> Columns:
        rows = self._connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"
            " AND lower(schema_name) = lower($1) AND lower(table_name) = $2 ORDER BY column_index",
            [self._schema, name],
        ).fetchall()
        return dict(rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit at the end, roll back on any failure, interrupt when the time is up."""
        timer = threading.Timer(self._seconds, self._connection.interrupt)
        timer.daemon = True
        self._connection.execute("BEGIN")
        timer.start()
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            try:
                self._connection.execute("ROLLBACK")
            except duckdb.Error:
                pass  # a failed commit has ended the transaction already
            raise
        finally:
            timer.cancel()

    @contextmanager
    def _explained(self, model: Model) -> Iterator[None]:
        """DuckDB's errors as ours."""
        try:
            yield
        except duckdb.InterruptException as error:
            raise too_long(model, self._seconds) from error
        except duckdb.FatalException as error:
            raise MoverError(
                f"DuckDB gave up on {paths.shown(self._path)}",
                reason=str(error).splitlines()[0],
                code="store-unreadable",
            ) from error
        except duckdb.OutOfMemoryException as error:
            remedy = "Raise the loader's memory_limit, or make the model smaller: fewer columns, earlier filters."
            raise failed(model, message_of(error), remedy=remedy, code="out-of-memory") from error
        except duckdb.Error as error:
            if "No space left" in str(error):
                raise stores.disk_full(self._path) from error
            raise failed(model, message_of(error), line=line_of(model, error)) from error


def warehouse_path(spec: Mapping[str, Any]) -> str:
    """The DuckDB file of the loader."""
    path = str(spec["loader"]["settings"]["path"])
    return paths.resolve(path, allowed=spec.get("allowed_folders", ()), what="The warehouse")


def enclose(connection: duckdb.DuckDBPyConnection, folders: list[str]) -> None:
    """Shut SQL written by a person into its file and `folders`, for good. A read-only connection would not do it."""
    connection.execute(f"SET allowed_directories = [{texts(folders)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def message_of(error: duckdb.Error) -> str:
    """DuckDB's message without the excerpt of the statement."""
    return str(error).split("\n\nLINE ")[0]


def line_of(model: Model, error: duckdb.Error) -> int | None:
    """The line in the model's file that DuckDB points at; our own words before the SELECT fill one line."""
    found = LINE.search(str(error))
    line = int(found[1]) - 1 if found else 0
    return model.first_line + line - 1 if 1 <= line <= model.select.count("\n") + 1 else None
