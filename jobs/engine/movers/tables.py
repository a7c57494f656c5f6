"""What a table must become before rows can come: made, given columns, given wider types. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from jobs.engine.movers import types
from jobs.engine.movers.ports import VERSION_COLUMN, Column, Target
from jobs.engine.movers.protocol import MoverError

COUNTED_BELOW = 10_000_000  # rows
OFTEN_BELOW = 1_000_000  # rows; at each of many commits


@dataclass
class Plan:
    """The changes. `types` holds every incoming column's final type, `names` how the table spells it."""

    is_new: bool
    types: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    added: list[Column] = field(default_factory=list)
    widened: list[tuple[str, str, str]] = field(default_factory=list)  # name, old type, new type


def table_name(stream: str) -> str:
    """A stream's table: lower case, and underscores for all that is no letter, digit or underscore."""
    return re.sub(r"\W", "_", stream.lower())


def make_plan(
    existing: Mapping[str, Column], columns: Sequence[Column], target: Target, *, is_empty: Callable[[str], bool]
) -> Plan:
    """Compare what comes with what is there (none: the table is new). Raises MoverError where a column narrows.

    `is_empty` says whether a column of the table holds no value: such a text column takes the type that comes.
    """
    plan = Plan(is_new=not existing)
    by_lower = {name.lower(): column for name, column in existing.items()}
    for column in columns:
        old = by_lower.get(column.name.lower())
        if old is None:
            plan.names[column.name] = column.name
            plan.types[column.name] = column.type
            plan.added.append(column)
            continue
        plan.names[column.name] = old.name
        plan.types[column.name] = old.type
        if old.native and old.native == column.native:
            continue
        kind = types.stored(column.type)
        is_text = old.type == "VARCHAR" and old.native in ("", "text")
        if not is_text or column.type in ("VARCHAR", "NULL") or not is_empty(old.name):
            kind = fitting(old, column, target)
        if kind != old.type:
            plan.types[column.name] = kind
            plan.widened.append((old.name, old.type, kind))
    return plan


def fitting(old: Column, new: Column, target: Target) -> str:
    """The type a table's column needs so that the values that come keep theirs."""
    if old.type == "VARCHAR":
        return "VARCHAR"  # text holds every value's text
    kind = types.widen(old.type, types.stored(new.type) if new.type != "NULL" else "NULL")
    if kind is not None:
        return kind
    if target.allow_text:
        return "VARCHAR"
    raise MoverError(
        f"Column {new.name} of stream {target.stream} is {new.type}{f' in {new.file}' if new.file else ''},"
        f" but {old.type} in table {target.table}",
        reason=f"A {old.type} column does not hold {new.type} values, and no type but text holds both."
        " Nothing was loaded.",
        remedy="Correct the source, change the column's type in the store, or switch on Widen to text where the"
        " extractor has it.",
        code="column-narrows",
        stream=target.stream,
        file=new.file or None,
        column=new.name,
    )


def check_rounding(plan: Plan, target: Target, find: Callable[[str, str], object]) -> None:
    """Refuse to make a column of exact numbers one of doubles where that would change a row that stays.

    `find` answers a value of a column, whose type is given, that a double does not hold; None where there is none.
    """
    if target.method == "replace":
        return
    for name, old, kind in plan.widened:
        if kind != "DOUBLE" or old in types.FLOATS or (value := find(name, old)) is None:
            continue
        raise MoverError(
            f"Column {name} of table {target.table} would have to become DOUBLE, which does not hold its value {value}",
            reason=f"What comes is DOUBLE, the column is {old}, and no type holds both exactly. Nothing was loaded.",
            remedy="Have the source give numbers with a fixed number of decimals, or change the column's type in the"
            " store.",
            code="column-narrows",
            stream=target.stream,
            column=name,
        )


def check_keys(columns: Sequence[Column], target: Target) -> None:
    """Merge needs keys, and they must be columns."""
    if target.method != "merge":
        return
    if not target.primary_keys:
        raise MoverError(
            f"Stream {target.stream} cannot be merged: it has no primary key",
            reason="The load method is merge, which updates rows by their key.",
            remedy="Set the stream's primary key, or choose append or replace.",
            code="key-missing",
            stream=target.stream,
        )
    names = {column.name.lower() for column in columns}
    for key in target.primary_keys:
        if key.lower() not in names:
            raise no_key_column(target.stream, key, columns)


def no_key_column(stream: str, key: str, columns: Sequence[Column]) -> MoverError:
    """A primary key that names no column."""
    return MoverError(
        f"The primary key {key} of stream {stream} is not one of its columns",
        reason=f"Its columns are {', '.join(column.name for column in columns)}.",
        remedy="Correct the stream's primary key.",
        code="column-missing",
        stream=stream,
        column=key,
    )


def is_view(target: Target) -> MoverError:
    """A view stands where the table should be."""
    return MoverError(
        f"{target.table} is a view, so stream {target.stream} cannot be loaded into it",
        reason="Perhaps a SQL model of that name made it.",
        remedy="Give the stream or the model another name.",
        code="table-is-view",
        stream=target.stream,
    )


def null_key(target: Target, key: str, rows: int, file: str | None) -> MoverError:
    """Rows without a key cannot be merged."""
    where = f" in {file}" if file else ""
    return MoverError(
        f"{rows} row{'s' if rows != 1 else ''} of stream {target.stream} have no value in the primary key {key}{where}",
        reason="Merge finds rows by their key, and NULL equals nothing. Nothing of this stream was committed.",
        remedy="Correct the source, choose another key, or load with append or replace.",
        code="null-key",
        stream=target.stream,
        column=key,
        file=file,
    )


def counts_differ(target: Target, what: str, expected: int, found: int) -> MoverError:
    """The numbers do not add up: nothing is committed."""
    return MoverError(
        f"Stream {target.stream}: {what}: expected {expected}, found {found}",
        reason=f"Rows read and rows in table {target.table} do not agree, so nothing of this stream was committed.",
        remedy="Look whether something else writes to the table at the same time, then run again.",
        code="counts-differ",
        stream=target.stream,
    )


def other_versions(versions: Sequence[int | None]) -> str:
    """The SQL condition, in any of the stores, for rows of none of these versions. None stands for rows without one."""
    listed = ", ".join(str(version) for version in versions if version is not None)
    return f"coalesce({VERSION_COLUMN} NOT IN ({listed}), {str(None not in versions).lower()})"


def no_versions(target: Target) -> str:
    """What to say of a version of a whole table whose rows carry none."""
    return (
        f"{target.stream}: the tap activates a version, but the rows of table {target.table} carry none, so no row goes"
    )


def check_counts(target: Target, *, read: int, written: int) -> None:
    """What was read must be what was written."""
    if read != written:
        raise counts_differ(target, "rows written are not the rows read", read, written)


def is_counted(target: Target, rows: int) -> bool:
    """Whether the whole table is counted after the load."""
    limit = OFTEN_BELOW if target.verify == "often" else COUNTED_BELOW
    return target.verify == "always" or (target.verify != "never" and rows < limit)
