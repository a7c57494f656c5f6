"""The extractor tap-sql for SQLite: Arrow batches over ADBC, which DuckDB scans.

A SQLite column may hold values of any kind, so each column is asked first what it holds. A first row of known kinds,
which DuckDB leaves out, tells the driver the types: it would otherwise guess them from the first thousand rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import adbc_driver_sqlite
import adbc_driver_sqlite.dbapi
import pyarrow

from jobs.engine.movers import failures, paths, sql, types
from jobs.engine.movers.ports import Column, Source, Stream
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.quoting import ident, text

PROBE = "_eltsite_probe"
BATCH_ROWS = 4096
FIRST_VALUES = {"BIGINT": "0", "DOUBLE": "0.0", "VARCHAR": "''", "BLOB": "x'00'"}
EXACT_IN_DOUBLE = 1 << 53
# The driver is a library that is loaded on first use: load it while its folder can be read.
adbc_driver_sqlite.dbapi.connect(":memory:").close()


@dataclass(frozen=True)
class SourceColumn:
    """A column: its DuckDB type, how SQLite hands it over, and how DuckDB turns that into the type."""

    name: str
    type: str
    carried: str  # BIGINT, DOUBLE, VARCHAR or BLOB
    converted: str  # with {c} for the column


class SqliteReader:
    """Reads tables and queries of a SQLite file."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._settings = spec["extractor"]["settings"]
        self._path = paths.resolve(
            str(self._settings.get("path") or ""),
            allowed=[str(folder) for folder in spec.get("allowed_folders") or ()],
            base=str(spec.get("files_folder") or ""),
            what="The SQLite file",
        )

    def streams(self) -> Sequence[Stream]:
        return sql.streams(self._settings)

    def _explain(self, error: Exception, table: sql.Table) -> MoverError:
        message = str(error)
        if "unable to open" in message or "not a database" in message:
            return MoverError(
                f"The SQLite file {paths.shown(self._path)} cannot be opened",
                reason=f"SQLite says: {message}.",
                remedy="Check the extractor's setting path, and that the user that jobs run as may read the file.",
                code="file-missing",
                file=paths.shown(self._path),
            )
        code = "table-missing" if "no such table" in message else "column-missing"
        code = code if "no such" in message else "source-busy" if "locked" in message else "statement-failed"
        return MoverError(
            f"SQLite could not read {table.label}",
            reason=f"SQLite says: {message}.",
            remedy="Check the stream's settings, then run again.",
            code=code,
            stream=table.stream,
        )

    @contextmanager
    def open(
        self, stream: Stream, *, engine: Any, bookmark: Mapping[str, Any], method: str, careful: bool
    ) -> Iterator[Source]:
        table = sql.table_of(stream)
        uri = f"file:{quote(self._path)}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                connection.execute("BEGIN")
                yield self._source(connection, uri, table, bookmark=bookmark, method=method)
        except sqlite3.Error as error:
            raise self._explain(error, table) from error

    def _source(
        self, connection: sqlite3.Connection, uri: str, table: sql.Table, *, bookmark: Mapping[str, Any], method: str
    ) -> Source:
        names = _names(connection, table)
        lower = sql.known_value(table, bookmark, method)
        upper, where = _bounds(connection, table, lower=lower, method=method)
        sql.say_bounds(table, method, lower, upper)
        if table.is_incremental and method != "replace" and lower is None:
            rows = connection.execute(f"SELECT count(*) FROM {_relation(table)} WHERE {ident(table.key)} IS NULL")
            sql.say_null_keys(table, rows.fetchone()[0])
        columns = _columns(connection, table, sql.chosen(table, names), where)
        is_current = lower is not None and (upper is None or (upper == lower and method == "append"))
        return Source(
            columns=[Column(column.name, column.type) for column in columns],
            parts=[SqlitePart(uri, table, columns, where)],
            bookmark=sql.next_bookmark(table, upper, lower),
            is_full=not table.is_incremental or method == "replace",
            nothing_new=is_current,
        )


def _relation(table: sql.Table) -> str:
    name = ident(table.schema, table.table) if table.schema else ident(table.table)
    return sql.limited(table, f"({table.query}\n)" if table.query else name)


def _names(connection: sqlite3.Connection, table: sql.Table) -> list[str]:
    cursor = connection.execute(f"SELECT * FROM {_relation(table)} LIMIT 0")
    names = [column[0] for column in cursor.description]
    sql.check_columns(table, names)
    return names


def _bounds(
    connection: sqlite3.Connection, table: sql.Table, *, lower: str | None, method: str
) -> tuple[str | None, str]:
    """The replication key's maximum now, and the WHERE clause up to it."""
    if not table.is_incremental:
        return None, ""
    key = ident(table.key)
    upper, kind = connection.execute(f"SELECT max({key}), typeof(max({key})) FROM {_relation(table)}").fetchone()
    if method == "replace":
        return (None if upper is None else str(upper)), ""
    if upper is None:
        return None, " WHERE 0"
    conditions = [f"{key} <= {_literal(str(upper), kind)}"]
    if lower is not None:
        bound = _literal(lower, kind)
        if table.lookback_seconds and method == "merge":
            bound = _earlier(table, bound, lower, kind)
        conditions.append(f"{key} {'>' if method == 'append' else '>='} {bound}")
    return str(upper), f" WHERE {' AND '.join(conditions)}"


def _literal(value: str, kind: str) -> str:
    return value if kind in ("integer", "real") else text(value)


def _earlier(table: sql.Table, bound: str, lower: str, kind: str) -> str:
    """The lower bound less the lookback, written as the source writes its times."""
    if kind != "text":
        raise MoverError(
            f"Stream {table.stream} looks back in seconds, but its replication key {table.key} is a number",
            remedy="Set lookback_seconds to 0, or choose a replication key that is a date or a time.",
            code="lookback",
            stream=table.stream,
            column=table.key,
        )
    pattern = "%Y-%m-%d" if len(lower) == 10 else "%Y-%m-%dT%H:%M:%S" if "T" in lower else "%Y-%m-%d %H:%M:%S"
    return f"strftime({text(pattern)}, {bound}, '-{table.lookback_seconds} seconds')"


def _columns(connection: sqlite3.Connection, table: sql.Table, names: Sequence[str], where: str) -> list[SourceColumn]:
    """What the columns hold decides their types, and where they hold nothing, what they are declared as."""
    declared = {} if table.query else _declared(connection, table)
    facts = ", ".join(
        f"sum(typeof({c}) = 'integer'), sum(typeof({c}) = 'real'), sum(typeof({c}) = 'text'), sum(typeof({c}) = 'blob'),"
        f" max(CASE WHEN typeof({c}) = 'integer' THEN max({c}, -{c}) END), min(CASE WHEN typeof({c}) = 'integer' THEN {c} END)"
        for c in (ident(name) for name in names)
    )
    row = connection.execute(f"SELECT {facts} FROM {_relation(table)}{where}").fetchone()
    return [
        _column(table, name, declared.get(name, ""), *(value or 0 for value in row[number * 6 : number * 6 + 6]))
        for number, name in enumerate(names)
    ]


def _declared(connection: sqlite3.Connection, table: sql.Table) -> dict[str, str]:
    schema = f"{ident(table.schema)}." if table.schema else ""
    rows = connection.execute(f"PRAGMA {schema}table_info({ident(table.table)})").fetchall()
    return {row[1]: str(row[2]).upper() for row in rows}


def _column(
    table: sql.Table, name: str, declared: str, whole: int, real: int, texts: int, blobs: int, largest: int, least: int
) -> SourceColumn:
    """One column's type. Times are text in SQLite, so the declaration says which text is one."""
    if blobs and (whole or real or texts):
        raise MoverError(
            f"Column {name} of {table.label} holds both bytes and other values",
            reason="No type of a store holds both.",
            remedy="Leave the column out, or read it with a query that casts it.",
            code="value-refused",
            stream=table.stream,
            column=name,
        )
    if blobs:
        return SourceColumn(name, "BLOB", "BLOB", "{c}")
    if texts:
        if whole or real:
            log(f"{table.stream}: column {name} holds numbers and text, and is read as text", level="warning")
        kind = _time_of(declared)
        if kind and not (whole or real):
            return SourceColumn(name, kind, "VARCHAR", f"CAST({{c}} AS {kind})")
        return SourceColumn(name, "VARCHAR", "VARCHAR", "{c}")
    if real and whole and largest > EXACT_IN_DOUBLE:
        log(
            f"{table.stream}: column {name} holds integers that a double would change, and is read as text",
            level="warning",
        )
        return SourceColumn(name, "VARCHAR", "VARCHAR", "{c}")
    if real:
        return SourceColumn(name, "DOUBLE", "DOUBLE", "{c}")
    if whole and declared.startswith("BOOL") and largest <= 1 and least >= 0:
        return SourceColumn(name, "BOOLEAN", "BIGINT", "CAST({c} AS BOOLEAN)")
    if whole:
        return SourceColumn(name, "BIGINT", "BIGINT", "{c}")
    return _empty(name, declared)


def _time_of(declared: str) -> str:
    if declared.startswith(("DATETIME", "TIMESTAMP")):
        return "TIMESTAMP"
    return "DATE" if declared == "DATE" else ""


def _empty(name: str, declared: str) -> SourceColumn:
    """A column without values, by SQLite's rules of affinity."""
    kind = _time_of(declared)
    if kind:
        return SourceColumn(name, kind, "VARCHAR", f"CAST({{c}} AS {kind})")
    if declared.startswith("BOOL"):
        return SourceColumn(name, "BOOLEAN", "BIGINT", "CAST({c} AS BOOLEAN)")
    if "INT" in declared:
        return SourceColumn(name, "BIGINT", "BIGINT", "{c}")
    if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
        return SourceColumn(name, "DOUBLE", "DOUBLE", "{c}")
    if declared == "BLOB":
        return SourceColumn(name, "BLOB", "BLOB", "{c}")
    return SourceColumn(name, "NULL", "VARCHAR", "{c}")


@dataclass
class Scan:
    """Arrow batches, counted as they pass."""

    select: str
    names: Sequence[str]
    counted: list[int] = field(default_factory=list)

    def rows_read(self) -> int | None:
        return sum(self.counted) - 1  # without the first row, which says the types


@dataclass
class SqlitePart:
    """All rows of one read."""

    uri: str
    table: sql.Table
    columns: Sequence[SourceColumn]
    where: str
    file: str | None = None
    size: int | None = None

    @property
    def label(self) -> str:
        return self.table.label

    def _statement(self) -> str:
        first = ", ".join(f"{FIRST_VALUES[column.carried]} AS {ident(column.name)}" for column in self.columns)
        rows = ", ".join(_carried(column) for column in self.columns)
        return f"SELECT 1 AS {PROBE}, {first} UNION ALL SELECT 0, {rows} FROM {_relation(self.table)}{self.where}"

    @contextmanager
    def scan(self, engine: Any, types_by_name: Mapping[str, str]) -> Iterator[Scan]:
        counted: list[int] = []
        with adbc_driver_sqlite.dbapi.connect(self.uri) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            try:
                cursor.execute(self._statement())
                reader = cursor.fetch_record_batch()
            except adbc_driver_sqlite.dbapi.Error as error:
                raise self.explain(error) from error

            def batches() -> Iterator[Any]:
                for batch in reader:
                    counted.append(batch.num_rows)
                    yield batch

            engine.register(PROBE, pyarrow.RecordBatchReader.from_batches(reader.schema, batches()))
            try:
                yield Scan(self._select(types_by_name), [column.name for column in self.columns], counted)
            finally:
                engine.unregister(PROBE)

    def _select(self, wanted: Mapping[str, str]) -> str:
        columns = ", ".join(
            f"CAST({column.converted.format(c=ident(column.name))} AS {types.stored(wanted[column.name])})"
            f" AS {ident(column.name)}"
            for column in self.columns
        )
        return f"SELECT {columns} FROM {PROBE} WHERE {PROBE} = 0"

    def copy_binary(self, types: Mapping[str, str]) -> None:
        return None

    def explain(self, error: Exception) -> Exception:
        return failures.explain(error, doing=f"take the rows of {self.label}", stream=self.table.stream)


def _carried(column: SourceColumn) -> str:
    c = ident(column.name)
    return {"VARCHAR": f"CAST({c} AS TEXT)", "DOUBLE": f"CAST({c} AS REAL)"}.get(column.carried, c)
