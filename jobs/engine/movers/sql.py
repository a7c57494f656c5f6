"""What the dialects of tap-sql share: the settings of a table, and the bounds of an incremental read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.engine.movers.ports import Stream
from jobs.engine.movers.protocol import MoverError, log

FULL_TABLE = "FULL_TABLE"
INCREMENTAL = "INCREMENTAL"


@dataclass(frozen=True)
class Table:
    """One entry of the setting tables."""

    stream: str
    table: str
    schema: str
    query: str
    is_incremental: bool
    key: str
    lookback_seconds: int
    columns: Sequence[str]
    primary_keys: Sequence[str]
    limit_rows: int = 0  # read no more than these; 0: all

    @property
    def label(self) -> str:
        """The source for people."""
        if self.query:
            return f"the query of {self.stream}"
        return f"table {self.schema}.{self.table}" if self.schema else f"table {self.table}"


def streams(settings: Mapping[str, Any]) -> list[Stream]:
    """The streams of tap-sql: an entry without a name is called as its table."""
    return [
        Stream(
            str(entry.get("stream") or entry.get("table") or ""), tuple(entry.get("primary_keys") or ()), dict(entry)
        )
        for entry in settings.get("tables") or ()
    ]


def table_of(stream: Stream) -> Table:
    """A stream's entry. Raises MoverError where it names no source or no replication key."""
    entry = stream.settings
    table = Table(
        stream=stream.name,
        table=str(entry.get("table") or ""),
        schema=str(entry.get("schema") or ""),
        query=str(entry.get("query") or "").strip().rstrip(";"),
        is_incremental=str(entry.get("replication_method") or FULL_TABLE).upper() == INCREMENTAL,
        key=str(entry.get("replication_key") or ""),
        lookback_seconds=int(entry.get("lookback_seconds") or 0),
        columns=tuple(entry.get("columns") or ()),
        primary_keys=tuple(stream.primary_keys),
        limit_rows=int(entry.get("limit_rows") or 0),  # no setting of a person's: set where rows are only looked at
    )
    if not table.table and not table.query:
        raise MoverError(
            f"Stream {stream.name} names neither a table nor a query",
            remedy="Set one of the two.",
            code="table-missing",
            stream=stream.name,
        )
    if table.is_incremental and not table.key:
        raise missing_key(table, "none is set")
    return table


def limited(table: Table, relation: str) -> str:
    """A relation, cut to its first rows where only those are wanted."""
    return f"(SELECT * FROM {relation} LIMIT {table.limit_rows}) AS eltsite_limited" if table.limit_rows else relation


def missing_key(table: Table, why: str) -> MoverError:
    """An incremental stream without a usable replication key."""
    return MoverError(
        f"Stream {table.stream} is incremental, but has no replication key",
        reason=f"For {table.label} {why}.",
        remedy="Set replication_key to a column that grows with each change, or the replication method to FULL_TABLE.",
        code="replication-key-missing",
        stream=table.stream,
        column=table.key or None,
    )


def missing_column(table: Table, column: str, names: Sequence[str]) -> MoverError:
    """A column that the source does not have."""
    return MoverError(
        f"There is no column {column} in {table.label}",
        reason=f"It has {', '.join(names)}.",
        remedy=f"Correct the settings of stream {table.stream}.",
        code="column-missing",
        stream=table.stream,
        column=column,
    )


def check_columns(table: Table, names: Sequence[str]) -> None:
    """All columns that the settings name must be there, and no two may be called alike."""
    lower = [name.lower() for name in names]
    for column in table.columns:
        if column not in names:
            raise missing_column(table, column, names)
    if table.is_incremental and table.key not in names:
        raise missing_key(table, f"there is no column {table.key}: it has {', '.join(names)}")
    for number, name in enumerate(names):
        if name.lower() in lower[:number]:
            raise MoverError(
                f"Two columns of {table.label} are named {name}",
                reason="The names of a table's columns must differ by more than their case.",
                remedy="Give one of them another name with AS in a query, or name the columns you want.",
                code="column-twice",
                stream=table.stream,
                column=name,
            )


def chosen(table: Table, names: Sequence[str]) -> list[str]:
    """The columns to read: those named, and always the keys."""
    if not table.columns:
        return list(names)
    keys = [*table.primary_keys, *([table.key] if table.is_incremental else [])]
    return [name for name in names if name in (*table.columns, *keys)]


def known_value(table: Table, bookmark: Mapping[str, Any], method: str) -> str | None:
    """The replication key's value to go on from; none where all is to be read."""
    if not table.is_incremental or method == "replace":
        return None
    value = bookmark.get("value")
    if value is not None and bookmark.get("replication_key") != table.key:
        log(
            f"{table.stream}: the state is of replication key {bookmark.get('replication_key')}, not {table.key}:"
            " reading all rows",
            level="warning",
        )
        return None
    return None if value is None else str(value)


def next_bookmark(table: Table, upper: str | None, lower: str | None) -> dict[str, Any]:
    """Where the next run goes on."""
    if not table.is_incremental:
        return {}
    value = upper if upper is not None else lower
    return {} if value is None else {"replication_key": table.key, "value": value}


def say_bounds(table: Table, method: str, lower: str | None, upper: str | None) -> None:
    """One line: what is read."""
    if not table.is_incremental or method == "replace":
        extra = ", all of it, for the load method is replace" if table.is_incremental else ""
        log(f"{table.stream}: reading {table.label}{extra}")
        return
    if upper is None:
        log(f"{table.stream}: {table.label} has no rows with a {table.key}")
        return
    compare = ">" if method == "append" else ">="
    begin = f"{compare} {lower}" if lower is not None else "from the first"
    back = (
        f" less {table.lookback_seconds} s"
        if lower is not None and method == "merge" and table.lookback_seconds
        else ""
    )
    log(f"{table.stream}: reading {table.label} with {table.key} {begin}{back} up to {upper}")


def say_null_keys(table: Table, rows: int) -> None:
    if rows:
        log(f"{table.stream}: {rows:,} rows have no {table.key} and are not read", level="warning")
