"""SQL models in PostgreSQL, as a role that is no superuser, their SQL only ever run in read-only transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

from jobs.engine.movers import postgres
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
from jobs.engine.movers.quoting import ident, text

SELECT_VIEW = "pg_temp._eltsite_model"
STAGE = "pg_temp._eltsite_stage"
KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}
DEPENDENTS = """
    WITH RECURSIVE above AS (
        SELECT %(relation)s::regclass::oid AS oid, 0 AS depth
        UNION
        SELECT rule.ev_class, above.depth + 1 FROM above
        JOIN pg_depend AS tie ON tie.refclassid = 'pg_class'::regclass AND tie.refobjid = above.oid
        JOIN pg_rewrite AS rule ON tie.classid = 'pg_rewrite'::regclass AND rule.oid = tie.objid
        WHERE rule.ev_class <> above.oid
    )
    SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''), max(depth)
    FROM above JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE depth > 0 AND NOT pg_is_other_temp_schema(n.oid) AND n.oid <> pg_my_temp_schema()
    GROUP BY 1, 2, 3, 4 ORDER BY max(depth) DESC, 1
"""
GRANTS = """
    SELECT format('GRANT %%s ON %%s TO %%s%%s', privilege_type, %(relation)s::text,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_class, aclexplode(relacl) WHERE pg_class.oid = %(relation)s::regclass AND grantee <> relowner
"""
NOTICES_LOST_CLIENTS = 140000  # from this version on a statement can end when the mover was killed
# What PostgreSQL answers when a view stands in the way of a change.
IN_THE_WAY = (errors.DependentObjectsStillExist, errors.FeatureNotSupported, errors.InvalidTableDefinition)


class PostgresModels:
    """Builds models in one schema of a PostgreSQL database."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        settings, limits = spec["loader"]["settings"], spec["limits"]
        self._schema = target_schema(spec)
        self._seconds = statement_seconds(limits)
        self._lock_seconds = float(limits.get("lock_wait_seconds", 60))
        self._connection = postgres.connect(settings, job=spec["job"], attempt=spec["attempt"], autocommit=True)
        self._connection.prepare_threshold = None  # the same words mean another view for each model
        try:
            refuse_superuser(self._connection)
            ensure_schema(self._connection, self._schema)
        except BaseException:
            self._connection.close()
            raise

    def build(self, model: Model, *, remaining: Set[str]) -> int:
        """1. PostgreSQL checks the SELECT; 2. it runs, read-only; 3. its outcome takes the old one's place at once."""
        with self._explained(model):
            try:
                columns = self._check_select(model)
                rows = self._run_select(model)
                with self._transaction():
                    if model.kind == "table":
                        self._place_table(model, columns, remaining)
                    else:
                        self._place_view(model, remaining)
                    relation = ident(self._schema, model.name)
                    self._execute(f"COMMENT ON {model.kind} {relation} IS {text(MARK + model.path)}")
                return rows
            finally:
                self._drop_scratch()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
        # Binary means the extended protocol, which takes one statement only, whatever the text holds.
        return self._connection.execute(statement.encode(), parameters, binary=True)

    @contextmanager
    def _transaction(self, *, read_only: bool = False) -> Iterator[None]:
        """A transaction with the time limits and the search path set anew: a SELECT may have changed the session's."""
        with self._connection.transaction():
            if read_only:
                self._execute("SET TRANSACTION READ ONLY")
            self._execute(f"SET LOCAL statement_timeout = {int(self._seconds * 1000)}")
            self._execute(f"SET LOCAL lock_timeout = {int(self._lock_seconds * 1000)}")
            if self._connection.info.server_version >= NOTICES_LOST_CLIENTS:
                self._execute("SET LOCAL client_connection_check_interval = 1000")
            self._execute(f"SET LOCAL search_path = {ident(self._schema)}, public")
            yield

    def _check_select(self, model: Model) -> Columns:
        """Have PostgreSQL itself see that it is one SELECT that writes nothing, for only such a one can be a view."""
        with self._transaction():
            self._execute(f"CREATE TEMP VIEW _eltsite_model AS\n{model.select}\n")
            if model.kind == "table":
                self._execute(f"CREATE TEMP TABLE _eltsite_stage AS SELECT * FROM {SELECT_VIEW} WITH NO DATA")
        return self._columns(SELECT_VIEW)

    def _run_select(self, model: Model) -> int:
        """Run it and count its rows. Even a function that writes fails: only temporary tables take rows here."""
        with self._transaction(read_only=True):
            if model.kind == "table":
                return self._execute(f"INSERT INTO {STAGE} SELECT * FROM {SELECT_VIEW}").rowcount
            found = self._execute(f"SELECT count(*) FROM {SELECT_VIEW}").fetchone()
            return int(found[0]) if found else 0

    def _place_table(self, model: Model, columns: Columns, remaining: Set[str]) -> None:
        """Empty and refill the table, or make it. Views on it, grants and indexes survive."""
        relation = ident(self._schema, model.name)
        kind = self._kind_of(model)
        if kind == "table":
            self._execute(f"TRUNCATE {relation}")
            self._change_columns(model, columns, remaining)
        else:
            grants = self._drop(model, kind, remaining) if kind else []
            self._execute(f"CREATE TABLE {relation} AS SELECT * FROM {STAGE} WITH NO DATA")
            for grant in grants:
                self._execute(grant)
        names = ", ".join(ident(name) for name in columns)
        self._execute(f"INSERT INTO {relation} ({names}) SELECT {names} FROM {STAGE}")

    def _place_view(self, model: Model, remaining: Set[str]) -> None:
        """Replace the view, or drop and make it anew where PostgreSQL cannot: a column went or changed its type."""
        create = f"CREATE OR REPLACE VIEW {ident(self._schema, model.name)} AS\n{model.select}\n"
        kind = self._kind_of(model)
        if kind in (None, "view"):
            try:
                with self._connection.transaction():
                    self._execute(create)
                return
            except errors.InvalidTableDefinition:
                log(f"View {model.name} has other columns now and is made anew", source="models", level="warning")
        grants = self._drop(model, kind or "view", remaining)
        self._execute(create)
        for grant in grants:
            self._execute(grant)

    def _kind_of(self, model: Model) -> str | None:
        """What has the model's name now: table, view or nothing. Refuses what no model made."""
        found = self._execute(
            "SELECT c.relkind::text, obj_description(c.oid, 'pg_class') FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %(schema)s AND c.relname = %(name)s",
            {"schema": self._schema, "name": model.name},
        ).fetchone()
        if found is None:
            return None
        kind = KINDS.get(found[0], "relation")
        if not str(found[1] or "").startswith(MARK) or kind not in ("table", "view"):
            raise taken(model, kind)
        return kind

    def _columns(self, relation: str) -> Columns:
        rows = self._execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %(relation)s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            {"relation": relation},
        ).fetchall()
        return dict(rows)

    def _change_columns(self, model: Model, after: Columns, remaining: Set[str]) -> None:
        """Give the emptied table the columns of the new rows, and say which."""
        relation = ident(self._schema, model.name)
        before = self._columns(relation)
        changes = column_changes(before, after)
        if not changes:
            return
        log(f"Columns of {model.name} changed: {changes}", source="models", level="warning")
        steps = [f"ADD COLUMN {ident(name)} {kind}" for name, kind in after.items() if name not in before]
        steps += [f"DROP COLUMN {ident(name)}" for name in before if name not in after]
        steps += [
            f"ALTER COLUMN {ident(name)} TYPE {kind} USING NULL"
            for name, kind in after.items()
            if before.get(name, kind) != kind
        ]
        alter = f"ALTER TABLE {relation} {', '.join(steps)}"
        try:
            with self._connection.transaction():
                self._execute(alter)
        except IN_THE_WAY:
            self._drop_dependents(model, remaining)
            self._execute(alter)

    def _drop(self, model: Model, kind: str, remaining: Set[str]) -> list[str]:
        """Drop the model's own table or view; returns the statements that give its grants back."""
        relation = ident(self._schema, model.name)
        if kind != model.kind:
            log(f"{model.name} was a {kind} and becomes a {model.kind}", source="models")
        grants = [row[0] for row in self._execute(GRANTS, {"relation": relation}).fetchall()]
        self._drop_dependents(model, remaining)
        self._execute(f"DROP {kind} {relation}")
        return grants

    def _drop_dependents(self, model: Model, remaining: Set[str]) -> None:
        """Drop the views of models that are built after this one; refuse where anybody else's view is in the way."""
        relation = ident(self._schema, model.name)
        views = self._execute(DEPENDENTS, {"relation": relation}).fetchall()
        foreign = [
            shown
            for shown, schema, name, comment, _ in views
            if schema != self._schema or name not in remaining or not comment.startswith(MARK)
        ]
        if foreign:
            raise failed(
                model,
                f"its columns or its kind changed, and {', '.join(foreign)} still uses it as it was",
                remedy=f"Drop {', '.join(foreign)}, run again, and make it anew.",
                code="model-in-use",
            )
        for shown, *_ in views:
            log(f"{shown} uses {model.name}, which changed: dropped, and built again below", source="models")
            self._execute(f"DROP VIEW {shown}")

    def _drop_scratch(self) -> None:
        """The next model begins with nothing of this one: not its role, its settings or its relations."""
        if not self._connection.closed:
            self._execute("SET SESSION AUTHORIZATION DEFAULT")
            self._execute("RESET ALL")
            self._execute(f"DROP VIEW IF EXISTS {SELECT_VIEW}")
            self._execute(f"DROP TABLE IF EXISTS {STAGE}")

    @contextmanager
    def _explained(self, model: Model) -> Iterator[None]:
        """PostgreSQL's errors as ours."""
        try:
            yield
        except errors.QueryCanceled as error:
            if "statement timeout" not in str(error):
                raise postgres.explain(error, doing=f"build {model.name}") from error
            raise too_long(model, self._seconds) from error
        except psycopg.Error as error:
            if self._connection.closed or isinstance(error, errors.DiskFull):
                raise postgres.explain(error, doing=f"build {model.name}") from error
            known = postgres.explain(error, doing=f"build {model.name}").event
            raise failed(
                model, postgres.plain(error), line=line_of(model, error), remedy=str(known["remedy"])
            ) from error


def refuse_superuser(connection: psycopg.Connection[Any]) -> None:
    """A superuser's SELECT may read and write files of the server; SQL written by a person must not."""
    found = connection.execute("SELECT current_setting('is_superuser'), current_user").fetchone()
    if found and found[0] == "on":
        raise MoverError(
            f"SQL models do not run as the superuser {found[1]}",
            reason="A superuser's SELECT may read and write files on the server, and end other people's sessions.",
            remedy="Give the loader a role of its own: CREATE ROLE eltsite LOGIN PASSWORD '...';"
            " GRANT CREATE ON DATABASE ... TO eltsite; and let it own the schema that it loads into.",
            code="superuser-refused",
        )


def ensure_schema(connection: psycopg.Connection[Any], schema: str) -> None:
    """Make the schema where it is missing; CREATE SCHEMA IF NOT EXISTS would need the right to even where it is not."""
    try:
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone():
            connection.execute(f"CREATE SCHEMA {ident(schema)}".encode())
    except psycopg.Error as error:
        raise postgres.explain(error, doing=f"make the schema {schema}") from error


def line_of(model: Model, error: psycopg.Error) -> int | None:
    """The line in the model's file that PostgreSQL points at; our own words before the SELECT fill one line."""
    position = error.diag.statement_position
    if position is None:
        return None
    statement = f"CREATE TEMP VIEW _eltsite_model AS\n{model.select}"
    return model.first_line + statement.count("\n", 0, int(position) - 1) - 1
