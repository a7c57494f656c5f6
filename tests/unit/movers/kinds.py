"""The types of each source, with values that are easily changed: what docs/types.md speaks of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tests.unit.movers.conftest import Server, Workspace, tap_files


@dataclass(frozen=True)
class Kind:
    """A type of a source. `type` is DuckDB's name for what it means, `values` what is written, `means` what it says."""

    label: str
    type: str
    values: tuple[str, ...]
    means: tuple[str, ...] = ()
    declared: str = ""

    @property
    def expected(self) -> list[str | None]:
        """The text of each value; the last row of every column holds none."""
        return [*(self.means or self.values), None]


CSV = (
    Kind("whole number of up to 64 bits", "BIGINT", ("9223372036854775807", "-20")),
    Kind("whole number of up to 38 digits", "DECIMAL(38,0)", ("9223372036854775808", "1")),
    Kind("whole number of more than 38 digits", "DECIMAL", ("1" * 39, "2")),
    Kind("decimal of up to 18 digits", "DECIMAL(18,2)", ("1234.50", "-0.25")),
    Kind("decimal of up to 38 digits", "DECIMAL(38,19)", ("1234567890123456789.0123456789012345678", "-0.25")),
    Kind("number with an exponent", "DOUBLE", ("1e+300", "-2.5")),
    Kind("`true` and `false`", "BOOLEAN", ("true", "false")),
    Kind("date (`2024-02-29`)", "DATE", ("2024-02-29", "1999-12-31")),
    Kind("date and time", "TIMESTAMP", ("2024-02-29 10:00:00.123456", "2024-02-29 10:00:00")),
    Kind(
        "date and time with a zone", "TIMESTAMP WITH TIME ZONE", ("2024-02-29T10:00:00+02:00", "2024-02-29T10:00:00Z")
    ),
    Kind("time of day", "TIME", ("10:00:00", "23:59:59")),
    Kind("digits that begin with 0", "VARCHAR", ("007", "123")),
    Kind("text", "VARCHAR", ('ü "q", two\nlines', " padded ")),
    Kind("without any value", "NULL", ()),
)
JSONL = (
    Kind("whole number of up to 64 bits", "BIGINT", ("9223372036854775807", "-20")),
    Kind("whole number of up to 38 digits", "DECIMAL(38,0)", ("9223372036854775808", "1")),
    Kind("whole number of more than 38 digits", "DECIMAL", ("1" * 39, "2")),
    Kind("decimal of up to 18 digits", "DECIMAL(18,2)", ("1234.50", "-0.25")),
    Kind("decimal of up to 38 digits", "DECIMAL(38,19)", ("1234567890123456789.0123456789012345678", "-0.25")),
    Kind("number with an exponent", "DOUBLE", ("1e+300", "-2.5")),
    Kind("true and false", "BOOLEAN", ("true", "false")),
    Kind("text", "VARCHAR", (r'"ü \"q\", two\nlines"', '" padded "'), ('ü "q", two\nlines', " padded ")),
    Kind("text that is a date", "DATE", ('"2024-02-29"', '"1999-12-31"'), ("2024-02-29", "1999-12-31")),
    Kind(
        "text that is a date and time",
        "TIMESTAMP",
        ('"2024-02-29 10:00:00.123456"', '"2024-02-29 10:00:00"'),
        ("2024-02-29 10:00:00.123456", "2024-02-29 10:00:00"),
    ),
    Kind(
        "text that is a date and time with a zone",
        "TIMESTAMP WITH TIME ZONE",
        ('"2024-02-29T10:00:00+02:00"', '"2024-02-29T10:00:00Z"'),
        ("2024-02-29T10:00:00+02:00", "2024-02-29T10:00:00Z"),
    ),
    Kind("text that is a time of day", "TIME", ('"10:00:00"', '"23:59:59"'), ("10:00:00", "23:59:59")),
    Kind(
        "text that is a UUID",
        "UUID",
        ('"6f1c8e52-0000-4000-8000-00000000000A"',),
        ("6f1c8e52-0000-4000-8000-00000000000A",),
    ),
    Kind("digits that begin with 0, as text", "VARCHAR", ('"007"', '"123"'), ("007", "123")),
    Kind("object", "JSON", ('{"a":{"b":[1,2]}}', '{"a":null,"c":"x"}')),
    Kind("array", "JSON", ("[1,2]", "[]")),
    Kind(
        "numbers of up to 38 digits in objects and arrays",
        "JSON",
        ('{"a":[1234567890123456789.0123456789012345678]}', "[9223372036854775808,0.25]"),
    ),
    Kind("without any value", "NULL", ()),
)
PARQUET = (
    Kind("boolean", "BOOLEAN", ("true", "false")),
    Kind("8-bit integer", "TINYINT", ("-128", "127")),
    Kind("16-bit integer", "SMALLINT", ("-32768", "32767")),
    Kind("32-bit integer", "INTEGER", ("-2147483648", "2147483647")),
    Kind("64-bit integer", "BIGINT", ("-9223372036854775808", "9223372036854775807")),
    Kind("unsigned 8-bit integer", "UTINYINT", ("0", "255")),
    Kind("unsigned 16-bit integer", "USMALLINT", ("0", "65535")),
    Kind("unsigned 32-bit integer", "UINTEGER", ("0", "4294967295")),
    Kind("unsigned 64-bit integer", "UBIGINT", ("0", "18446744073709551615")),
    Kind("32-bit float", "FLOAT", ("0.1", "-1e38")),
    Kind("64-bit float", "DOUBLE", ("0.30000000000000004", "1e+300")),
    Kind("64-bit float without a number", "DOUBLE", ("nan", "-inf")),
    Kind("decimal(9,2)", "DECIMAL(9,2)", ("1234567.89", "-0.01")),
    Kind("decimal(38,10)", "DECIMAL(38,10)", ("1234567890123456789012345678.0123456789", "-0.0000000001")),
    Kind("string", "VARCHAR", ('ü "q", two\nlines', "")),
    Kind("enumeration", "ENUM('new', 'paid')", ("new", "paid")),
    Kind("binary", "BLOB", (r"\x00\xFFab", r"\x0A")),
    Kind("date", "DATE", ("0001-01-01", "9999-12-31")),
    Kind("time", "TIME", ("00:00:00", "23:59:59.999999")),
    Kind("timestamp of milliseconds", "TIMESTAMP_MS", ("2024-02-29 10:00:00.123", "1900-01-01 00:00:00")),
    Kind("timestamp of microseconds", "TIMESTAMP", ("2024-02-29 10:00:00.123456", "1900-01-01 00:00:00")),
    Kind("timestamp of nanoseconds", "TIMESTAMP_NS", ("2024-02-29 10:00:00.123456789", "1900-01-01 00:00:00")),
    Kind("timestamp in UTC", "TIMESTAMP WITH TIME ZONE", ("2024-02-29 10:00:00.123456+00", "1900-01-01 00:00:00+00")),
    Kind("interval", "INTERVAL", ("1 year 2 months 3 days 04:05:06.789", "1 day")),
    Kind("UUID", "UUID", ("6f1c8e52-0000-4000-8000-00000000000a",)),
    Kind("JSON", "JSON", ('{"a":{"b":[1,2]}}', "[1]")),
    Kind("list", "BIGINT[]", ("[1, 2]", "[]")),
    Kind("struct", "STRUCT(a BIGINT, b VARCHAR)", ("{'a': 1, 'b': x}", "{'a': NULL, 'b': y z}")),
    Kind("map", "MAP(VARCHAR, BIGINT)", ("{a=1, b=2}", "{}")),
)
POSTGRES = (
    Kind("boolean", "BOOLEAN", ("true", "false")),
    Kind("smallint", "SMALLINT", ("-32768", "32767")),
    Kind("integer", "INTEGER", ("-2147483648", "2147483647")),
    Kind("bigint", "BIGINT", ("-9223372036854775808", "9223372036854775807")),
    Kind("real", "FLOAT", ("0.1", "-1e38")),
    Kind("double precision", "DOUBLE", ("0.30000000000000004", "1e+300")),
    Kind("double precision", "DOUBLE", ("NaN", "-Infinity"), ("nan", "-inf"), "without a number"),
    Kind("numeric(12,2)", "DECIMAL(12,2)", ("1234567.89", "-0.01")),
    Kind("numeric", "NUMERIC", ("123456789012.345", "-0.1"), (), "of up to 38 digits"),
    Kind("numeric", "NUMERIC", ("1" * 39, "0.5"), (), "of more than 38 digits"),
    Kind("numeric", "NUMERIC", ("NaN", "1"), (), "without a number"),
    Kind("numeric(50,10)", "NUMERIC", ("9" * 39, "0.5")),
    Kind("text", "VARCHAR", ('ü "q", two\nlines', "")),
    Kind("varchar(20)", "VARCHAR", (r"\N", "NULL")),
    Kind("char(5)", "VARCHAR", ("abcde",)),
    Kind("bytea", "BLOB", (r"\x00ff6162", r"\x0a"), (r"\x00\xFFab", r"\x0A")),
    Kind("date", "DATE", ("0001-01-01", "9999-12-31")),
    Kind("time", "TIME", ("00:00:00", "23:59:59.999999")),
    Kind("timetz", "TIME WITH TIME ZONE", ("10:00:00+02",)),
    Kind("timestamp", "TIMESTAMP", ("2024-02-29 10:00:00.123456", "1900-01-01 00:00:00")),
    Kind("timestamptz", "TIMESTAMP WITH TIME ZONE", ("2024-02-29 10:00:00.123456+00", "1900-01-01 00:00:00+00")),
    Kind("interval", "INTERVAL", ("1 year 2 mons 3 days 04:05:06.789",)),
    Kind("uuid", "UUID", ("6f1c8e52-0000-4000-8000-00000000000a",)),
    Kind("json", "JSON", ('{"a": {"b": [1, 2]}}', "[1]")),
    Kind("jsonb", "JSON", ('{"a": {"b": [1, 2]}}', "[1]")),
    Kind("integer[]", "BIGINT[]", ("{1,2}", "{}"), ("[1, 2]", "[]")),
    Kind("text[]", "VARCHAR[]", ("{a,NULL}", '{"b c"}'), ("[a, NULL]", "[b c]")),
    Kind("inet", "INET", ("10.0.0.1/24",)),
    Kind("enum", "ENUM('new', 'paid')", ("new", "paid")),
    Kind("money", "MONEY", ("$1.50",)),
)
SQLITE = (
    Kind("integers", "BIGINT", ("9223372036854775807", "-20"), (), "INTEGER"),
    Kind("reals", "DOUBLE", ("0.30000000000000004", "1e+300"), (), "REAL"),
    Kind("integers and reals", "DOUBLE", ("1", "2.5"), (), "NUMERIC"),
    Kind("large integers and reals", "DECIMAL(38,1)", ("9007199254740993", "2.5"), (), "NUMERIC"),
    Kind("text", "VARCHAR", ("'ü \"q\", two\nlines'", "''"), ('ü "q", two\nlines', ""), "TEXT"),
    Kind("text and numbers", "ANY", ("'x'", "1"), ("x", "1"), ""),
    Kind("blobs", "BLOB", ("x'00ff6162'", "x'0a'"), (r"\x00\xFFab", r"\x0A"), "BLOB"),
    Kind("0 and 1, declared BOOLEAN", "BOOLEAN", ("1", "0"), ("true", "false"), "BOOLEAN"),
    Kind("text, declared DATE", "DATE", ("'2024-02-29'", "'1999-12-31'"), ("2024-02-29", "1999-12-31"), "DATE"),
    Kind(
        "text, declared TIMESTAMP",
        "TIMESTAMP",
        ("'2024-02-29 10:00:00.123456'", "'2024-02-29 10:00:00'"),
        ("2024-02-29 10:00:00.123456", "2024-02-29 10:00:00"),
        "TIMESTAMP",
    ),
    Kind("without any value", "NULL", (), (), ""),
)
KINDS = {"CSV": CSV, "JSONL": JSONL, "Parquet": PARQUET, "PostgreSQL": POSTGRES, "SQLite": SQLITE}


def _rows(kinds: Sequence[Kind], none: str) -> list[list[str]]:
    """Three rows: a column of fewer values is filled up."""
    return [[(k.values[row] if row < len(k.values) else none) for k in kinds] for row in range(3)]


def shown(kinds: Sequence[Kind]) -> list[list[str | None]]:
    """What each column must say in rows 1, 2 and 3."""
    return [[*kind.expected, None, None][:3] for kind in kinds]


def _csv(place: Workspace, columns: Sequence[tuple[str, Kind]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if any(mark in value for mark in ',"\n') else value

    rows = [",".join([str(n), *map(quoted, row)]) for n, row in enumerate(_rows([k for _, k in columns], ""), 1)]
    place.write("t.csv", "\n".join([",".join(["id", *(name for name, _ in columns)]), *rows]) + "\n")


def _jsonl(place: Workspace, columns: Sequence[tuple[str, Kind]]) -> None:
    lines = []
    for number, row in enumerate(_rows([k for _, k in columns], "null"), 1):
        members = [f'"id": {number}', *(f"{json.dumps(n)}: {v}" for (n, _), v in zip(columns, row, strict=True))]
        lines.append("{" + ", ".join(members) + "}\n")
    place.write("t.jsonl", "".join(lines))


def _cast(value: str, kind: Kind) -> str:
    quoted = "'" + value.replace("'", "''") + "'"
    return f"CAST({quoted} AS {kind.type})" if value != "\0" else f"CAST(NULL AS {kind.type})"


def _parquet(place: Workspace, columns: Sequence[tuple[str, Kind]]) -> None:
    selects = []
    for number, row in enumerate(_rows([k for _, k in columns], "\0"), 1):
        values = ", ".join(f"{_cast(v, kind)} AS {name}" for (name, kind), v in zip(columns, row, strict=True))
        selects.append(f"SELECT {number} AS id, {values}")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({' UNION ALL '.join(selects)}) TO '{place.files / 't.parquet'}' (FORMAT parquet)")


def _postgres(server: Server, columns: Sequence[tuple[str, Kind]]) -> None:
    server.run("DROP TABLE IF EXISTS public.t")
    server.run("DROP TYPE IF EXISTS public.status; CREATE TYPE public.status AS ENUM ('new', 'paid')")
    native = {"enum": "public.status"}
    shape = ", ".join(f"{name} {native.get(kind.label, kind.label)}" for name, kind in columns)
    server.run(f"CREATE TABLE public.t (id integer, {shape})")
    for number, row in enumerate(_rows([k for _, k in columns], "\0"), 1):
        values = ", ".join("NULL" if v == "\0" else "'" + v.replace("'", "''") + "'" for v in row)
        server.run(f"INSERT INTO public.t VALUES ({number}, {values})")


def _sqlite(place: Workspace, columns: Sequence[tuple[str, Kind]]) -> None:
    path: Path = place.files / "t.sqlite"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE t (id INTEGER, {', '.join(f'{name} {kind.declared}' for name, kind in columns)})")
    for number, row in enumerate(_rows([k for _, k in columns], "NULL"), 1):
        connection.execute(f"INSERT INTO t VALUES ({number}, {', '.join(row)})")
    connection.commit()
    connection.close()


def make_source(
    source: str, place: Workspace, server: Server, columns: Sequence[tuple[str, Kind]]
) -> dict[str, object]:
    """Write the columns into a source; answers the extractor that reads it."""
    if source == "PostgreSQL":
        _postgres(server, columns)
        return server.tap({"stream": "t", "table": "t", "schema": "public"})
    {"CSV": _csv, "JSONL": _jsonl, "Parquet": _parquet, "SQLite": _sqlite}[source](place, columns)
    if source == "SQLite":
        settings = {"dialect": "sqlite", "path": "t.sqlite", "tables": [{"stream": "t", "table": "t"}]}
        return {"plugin": "tap-sql", "name": "Shop file", "settings": settings}
    return tap_files({"stream": "t", "path": f"t.{source.lower()}"})
