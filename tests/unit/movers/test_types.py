"""What becomes of each type between each pair of ends: moved by the real mover, read back, and written to docs/types.md.

When a verdict changes on purpose, write the document anew with WRITE_DOCS=1.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from jobs.engine.movers.types import is_nested
from tests.unit.movers.conftest import ROOT, Server, Workspace, to_duckdb, to_files
from tests.unit.movers.kinds import KINDS, Kind, make_source, shown

DOCUMENT = ROOT / "docs" / "types.md"
TARGETS = ("DuckDB", "PostgreSQL", "Parquet", "CSV", "JSONL")
NATIVE = {
    **{"boolean": "BOOLEAN", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT", "real": "FLOAT"},
    **{"double precision": "DOUBLE", "text": "VARCHAR", "bytea": "BLOB", "date": "DATE", "uuid": "UUID"},
    **{"time without time zone": "TIME", "timestamp without time zone": "TIMESTAMP", "jsonb": "JSON", "json": "JSON"},
    **{"timestamp with time zone": "TIMESTAMP WITH TIME ZONE", "interval": "INTERVAL", "numeric": "NUMERIC"},
    **{"character varying(20)": "VARCHAR", "character(5)": "VARCHAR", "time with time zone": "TIME WITH TIME ZONE"},
    **{"integer[]": "BIGINT[]", "text[]": "VARCHAR[]"},
}
NUMBER = "number of JSON"
NOT_DUCKDBS = ("INET", "MONEY", "ANY", "DECIMAL", "NULL")  # held against each other as text
INTRODUCTION = """# What becomes of types

Nothing changes in silence: between each pair of ends a value is one of

- **same**: it has the same type there;
- **widened**: it has another type there that holds every value of its own;
- **as text**: it is text there, and the text says the same;
- **as doubles**: it is nested, has the same type there, and numbers in it keep 17 digits;
- **refused**: the run ends with an error that names the column, and nothing of the stream is stored.

CSV holds nothing but text, and JSON lines have only text, numbers, booleans, objects and arrays. Files without types are
read in the narrowest type that keeps every value. JSON numbers with a point and 16 or 17 digits are mostly doubles that
a program printed: they are read as doubles where all of up to 64 of them in each mebibyte of the file are. A column of
one file that does not fit the table is widened, or refused by name, as [Moving data](data.md) says; this page is about
a table that is new.

This page is written by the test that moves each of these values and reads it back.
"""


@dataclass(frozen=True)
class Found:
    """A column in a target: its type by DuckDB's name, as the target calls it, and its values as text."""

    type: str
    native: str
    values: list[str | None]


@pytest.mark.parametrize("source", KINDS)
def test_what_becomes_of_each_type_is_what_the_document_says(source: str, place: Workspace, server: Server):
    """Each source is held against its own section: the tests share nothing, so they may run side by side."""
    found = _section(source, {target: _verdicts(source, target, place, server) for target in TARGETS})
    if os.environ.get("WRITE_DOCS"):
        sections = {**_written_sections(), source: found}
        DOCUMENT.write_text("\n".join([INTRODUCTION, *(sections.get(each, "") for each in KINDS)]), encoding="utf-8")
    assert found == _written_sections().get(source), (
        "docs/types.md is not what the moves do; if it should be, run this file with WRITE_DOCS=1, without -n"
    )


def test_the_document_has_its_introduction_and_one_section_for_each_source():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == "\n".join([INTRODUCTION, *_written_sections().values()])
    assert list(_written_sections()) == list(KINDS)


def _written_sections() -> dict[str, str]:
    """The document's sections by source, as they stand."""
    parts = DOCUMENT.read_text(encoding="utf-8").split("## From ")[1:]
    return {part.split("\n", 1)[0]: f"## From {part.rstrip()}\n" for part in parts}


def _section(source: str, found: dict[str, list[str]]) -> str:
    lines = [f"## From {source}", "", f"| Type | {' | '.join(TARGETS)} |", f"| --- |{' --- |' * len(TARGETS)}"]
    for number, kind in enumerate(KINDS[source]):
        label = f"{kind.label} {kind.declared}" if source == "PostgreSQL" and kind.declared else kind.label
        lines.append(f"| {label} | {' | '.join(found[target][number] for target in TARGETS)} |")
    return "\n".join([*lines, ""])


def _verdicts(source: str, target: str, place: Workspace, server: Server) -> list[str]:
    """Move all types at once; one that is refused is left out, and the rest moved again."""
    kinds = {f"k{number}": kind for number, kind in enumerate(KINDS[source])}
    said = dict.fromkeys(kinds, "refused")
    while True:
        extractor = make_source(source, place, server, list(kinds.items()))
        ended = place.move(extractor, _loader(target, server))
        if ended.exit_code == 0:
            break
        column = ended.error["column"]
        assert column in kinds, (source, target, ended.error)
        del kinds[column]
    expected = dict(zip(kinds, shown(list(kinds.values())), strict=True))
    for name, found in _read(target, place, server, list(kinds)).items():
        said[name] = _verdict(kinds[name], found, expected[name], where=f"{source} to {target}")
    return list(said.values())


def _loader(target: str, server: Server) -> dict[str, Any]:
    if target == "DuckDB":
        return to_duckdb()
    if target == "PostgreSQL":
        return server.target()
    return to_files(format=target.lower(), path=target)


def _verdict(kind: Kind, found: Found, expected: list[str | None], *, where: str) -> str:
    pairs = list(zip(found.values, expected, strict=True))
    if kind.type == "JSON" and where.endswith("to JSONL") and _doubles(found.values) == _doubles(expected):
        return "same" if all(_is_same(*pair, kind, found) for pair in pairs) else "as doubles"
    for is_value, should in pairs:
        assert _is_same(is_value, should, kind, found), (where, kind.label, found.type, is_value, should)
    is_json = found.type == "JSON" and found.native == "number" and is_nested(kind.type)
    if kind.type == found.type or found.type == NUMBER or is_json:
        return "same"
    if found.type == "VARCHAR":
        return "as text"
    return f"widened: {found.native}"


def _is_same(is_value: str | None, should: str | None, kind: Kind, found: Found) -> bool:
    if is_value is None or should is None:
        return is_value is should
    if kind.type == "NUMERIC":
        return _number(is_value) == _number(should)
    if kind.type in NOT_DUCKDBS or found.type == kind.type == "VARCHAR":
        return is_value == should
    if kind.type == "INTERVAL":
        is_value = _spoken(is_value)
    via = "JSON" if found.type == "JSON" and kind.type != "JSON" else "VARCHAR"
    sql = f"SELECT CAST(CAST($is AS {via}) AS {kind.type}) IS NOT DISTINCT FROM CAST($should AS {kind.type})"
    if kind.type == "JSON":
        return bool(json.loads(is_value, parse_float=Decimal) == json.loads(should, parse_float=Decimal))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return bool(connection.execute(sql, {"is": is_value, "should": should}).fetchall()[0][0])


def _doubles(values: list[str | None]) -> list[Any]:
    """JSON values as programs without decimals read them."""
    return [value and json.loads(value) for value in values]


def _spoken(interval: str) -> str:
    """An interval in ISO 8601, as PostgreSQL hands it over, in words that DuckDB reads."""
    if not interval.startswith("P"):
        return interval
    days, _, clock = interval[1:].partition("T")
    part = re.compile(r"([-0-9.]+)([A-Z])")
    words = [*part.findall(days), *((number, f"T{unit}") for number, unit in part.findall(clock))]
    units = {"Y": "years", "M": "months", "D": "days", "TH": "hours", "TM": "minutes", "TS": "seconds"}
    return " ".join(f"{number} {units[unit]}" for number, unit in words)


def _number(text: str) -> str:
    return re.sub(r"\.?0+$", "", text) if "." in text else text


def _read(target: str, place: Workspace, server: Server, names: list[str]) -> dict[str, Found]:
    if target == "DuckDB":
        return _from_duckdb("shop.t", place, names, str(place.folder / "warehouse.duckdb"))
    if target == "PostgreSQL":
        return _from_postgres(server, names)
    (path,) = (place.folder / target / "t").glob("part-*")
    if target == "Parquet":
        return _from_duckdb(f"'{path}'", place, names, ":memory:")
    if target == "CSV":
        shape = ", ".join(f"'{name}': 'VARCHAR'" for name in ["id", *names, *_file_column(path)])
        options = f"auto_detect = false, header = true, nullstr = '', allow_quoted_nulls = false, columns = {{{shape}}}"
        return _from_duckdb(f"read_csv('{path}', {options})", place, names, ":memory:")
    return _from_jsonl(path, names)


def _file_column(path: Any) -> list[str]:
    return ["_eltsite_file"] if "_eltsite_file" in path.read_text(encoding="utf-8").splitlines()[0] else []


def _from_duckdb(relation: str, place: Workspace, names: list[str], path: str) -> dict[str, Found]:
    with duckdb.connect(path, read_only=path != ":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
        columns = ", ".join(f"CAST({name} AS VARCHAR)" for name in names)
        rows = connection.execute(f"SELECT {columns} FROM {relation} ORDER BY CAST(id AS INTEGER)").fetchall()
    return {name: Found(types[name], types[name], [row[number] for row in rows]) for number, name in enumerate(names)}


def _from_postgres(server: Server, names: list[str]) -> dict[str, Found]:
    server.run("SET TimeZone = 'UTC'")
    natives = dict(
        server.run(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'shop.t'::regclass AND attnum > 0"
        )
    )
    rows = server.run(f"SELECT {', '.join(f'{name}::text' for name in names)} FROM shop.t ORDER BY id")
    server.run("DROP SCHEMA shop CASCADE")
    found = {}
    for number, name in enumerate(names):
        native, values = natives[name], [row[number] for row in rows]
        if native == "bytea":
            values = [re.sub(r"(..)", r"\\x\1", value[2:]) if value is not None else None for value in values]
        if native.endswith("[]"):
            values = [value and value.translate(str.maketrans("{}", "[]", '"')) for value in values]
        found[name] = Found(_duckdb_name(native), native, values)
    return found


def _duckdb_name(native: str) -> str:
    decimal = re.fullmatch(r"numeric\((\d+),(\d+)\)", native)
    if decimal:
        return f"DECIMAL({decimal[1]},{decimal[2]})" if int(decimal[1]) <= 38 else "NUMERIC"
    return NATIVE.get(native, native.upper())


class _Number(str):
    """A JSON number as it is written."""


def _from_jsonl(path: Any, names: list[str]) -> dict[str, Found]:
    """JSON's own types, by a DuckDB name that a type of the source may equal."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_refuse) for line in lines]
    rows.sort(key=lambda row: int(row["id"]))
    return {name: _json_column([row.get(name) for row in rows]) for name in names}


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def _json_column(values: list[Any]) -> Found:
    kinds = {type(value) for value in values if value is not None}
    assert len(kinds) <= 1 or kinds == {dict, list}, values
    texts = [value if value is None or isinstance(value, str) else _json_text(value) for value in values]
    kind = "JSON" if kinds & {dict, list} else "BOOLEAN" if bool in kinds else "VARCHAR"
    return Found(NUMBER if _Number in kinds else kind, "number", texts)


def _json_text(value: Any) -> str:
    """A value as JSON text, with its numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json_text(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_json_text(member) for member in value) + "]"
    return str(value) if isinstance(value, _Number) else json.dumps(value)
