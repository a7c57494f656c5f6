"""Values as JSON has them: exact, and refused by name where JSON has no word for them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files
from tests.unit.movers_taps.conftest import read, tap, tap_sqlite

DIGITS = "123456789012345678901234567890.12345678"
STRING = ["null", "string"]


def parquet(place: Workspace, select: str) -> dict[str, Any]:
    """An extractor of the one row of a SELECT."""
    duckdb.sql(f"COPY ({select}) TO '{place.files}/a.parquet'")
    return tap_files({"stream": "a", "path": "a.parquet"})


def test_values_of_parquet_are_exact_and_typed(place: Workspace) -> None:
    said = read(
        place,
        parquet(
            place,
            f"""SELECT {DIGITS}::DECIMAL(38,8) AS big, 1.10::DECIMAL(9,2) AS price, 12::DECIMAL(9,0) AS whole,
            9007199254740993::BIGINT AS i, 18446744073709551615::UBIGINT AS u, 0.1::FLOAT AS f, 1e300 AS d,
            TRUE AS yes, DATE '2024-02-29' AS day, TIME '10:00:00.25' AS clock,
            TIMESTAMP '2024-02-29 10:00:00.5' AS at, TIMESTAMPTZ '2024-02-29 10:00:00+02' AS zoned,
            TIMESTAMP_NS '2024-02-29 10:00:00.123456789' AS fine, 'aé😀"\\' || chr(10) || chr(1) AS t,
            '\\xAA\\x00'::BLOB AS bytes, uuid() AS u4, {{'a': [1, NULL], 'b': DATE '2024-01-01'}} AS nested,
            NULL::INTEGER AS none""",
        ),
    )
    (record,) = said.records("a")
    assert (record["big"], record["price"], record["whole"]) == (Decimal(DIGITS), Decimal("1.10"), 12)
    assert (record["i"], record["u"]) == (9007199254740993, 18446744073709551615)
    assert (record["f"], record["d"]) == (Decimal("0.1"), Decimal("1e300"))
    assert (record["yes"], record["day"], record["clock"]) == (True, "2024-02-29", "10:00:00.25")
    assert (record["at"], record["zoned"]) == ("2024-02-29T10:00:00.5Z", "2024-02-29T08:00:00Z")
    assert record["fine"] == "2024-02-29T10:00:00.123456789Z"
    assert (record["t"], record["bytes"], record["none"]) == ('aé😀"\\\n\x01', "qgA=", None)
    assert record["nested"] == {"a": [1, None], "b": "2024-01-01"}
    properties = said.properties("a")
    assert properties["price"] == {"type": ["null", "number"], "multipleOf": Decimal("0.01")}
    assert properties["big"] == {"type": ["null", "number"]}  # its check would fail in readers with 28 digits
    assert properties["i"]["maximum"] == (1 << 63) - 1
    assert properties["bytes"] == {"type": STRING, "contentEncoding": "base64"}
    assert properties["at"] == properties["zoned"] == {"type": STRING, "format": "date-time"}


def test_null_in_each_column_is_null(place: Workspace) -> None:
    kinds = "BIGINT DOUBLE DECIMAL(9,2) BOOLEAN DATE TIME TIMESTAMP TIMESTAMPTZ TIMESTAMP_NS VARCHAR BLOB UUID JSON INTEGER[]"
    columns = ", ".join(f"NULL::{kind} AS c{number}" for number, kind in enumerate(kinds.split()))
    (record,) = read(place, parquet(place, f"SELECT {columns}")).records("a")
    assert {value for name, value in record.items() if name != "_eltsite_file"} == {None}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("'nan'::DOUBLE", "nan or infinity"),
        ("'-inf'::FLOAT", "nan or infinity"),
        ("DATE 'infinity'", "no date"),
        ("DATE '10000-01-01'", "no date"),
        ("TIMESTAMP '0044-03-15 (BC) 00:00:00'", "no date"),
        ("'{\"a\": NaN}'::JSON", "not quite"),
        ("'{\"a\": [1,]}'::JSON", "not quite"),
        ("[1.5, 'nan'::DOUBLE]", "not quite"),
    ],
)
def test_what_json_has_no_word_for_is_refused_by_name(place: Workspace, value: str, words: str) -> None:
    said = tap(place, parquet(place, f"SELECT {value} AS odd"))
    assert (said.error["code"], said.error["stream"], said.error["column"]) == ("value-refused", "a", "odd")
    assert words in said.error["headline"]
    assert "STATE" not in said.kinds


def test_texts_that_look_like_such_values_pass(place: Workspace) -> None:
    text = '{"a": "NaN, [1,]", "inf": "\\\\\\" Infinity"}'
    said = read(place, parquet(place, f"SELECT '{text}'::JSON AS j, 'NaN' AS t"))
    assert said.records("a")[0]["j"] == json.loads(text)


def test_csv_values_keep_their_digits_and_their_columns_any_name(place: Workspace) -> None:
    place.write("a.csv", f'"a ""b""\\",n,t,é{{x}}\n1,{DIGITS},007,"x, y\nz"\n')
    (record,) = read(place, tap_files({"stream": "a\"'s", "path": "a.csv"})).records("a\"'s")
    assert list(record.values())[:4] == [1, Decimal(DIGITS), "007", "x, y\nz"]
    assert next(iter(record)) == 'a "b"\\'


def test_jsonl_values_stay_what_they_are(place: Workspace) -> None:
    place.write("a.jsonl", '{"id": 1, "n": 1234567.12345678, "o": {"k": [true, null, "é"]}, "l": [1, 2]}\n{"id": 2}\n')
    first, second = read(place, tap_files({"stream": "a", "path": "a.jsonl"})).records("a")
    assert first == {**first, "n": Decimal("1234567.12345678"), "o": {"k": [True, None, "é"]}, "l": [1, 2]}
    assert second == {**second, "n": None, "o": None, "l": None}


def test_jsonl_numbers_keep_all_their_digits(place: Workspace) -> None:
    place.write("a.jsonl", f'{{"id": 1, "n": {DIGITS}, "i": 12345678901234567890, "o": {{"k": [{DIGITS}]}}}}\n')
    (record,) = read(place, tap_files({"stream": "a", "path": "a.jsonl"})).records("a")
    assert (record["n"], record["i"], record["o"]) == (Decimal(DIGITS), 12345678901234567890, {"k": [Decimal(DIGITS)]})


def test_sqlite_values_come_through(place: Workspace, sqlite_file: Path) -> None:
    with closing(sqlite3.connect(sqlite_file)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, r REAL, s TEXT, b BLOB, yes BOOLEAN, day DATE, at TIMESTAMP)")
        values = (1 << 62, 0.1, "é\n", b"\x00\xff", 1, "2024-02-29", "2024-02-29 10:00:00")
        connection.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute("INSERT INTO t DEFAULT VALUES")
    first, second = read(place, tap_sqlite({"table": "t", "primary_keys": ["id"]})).records("t")
    assert list(first.values()) == [
        *(1 << 62, Decimal("0.1"), "é\n", "AP8=", True, "2024-02-29", "2024-02-29T10:00:00Z"),
    ]
    assert set(second.values()) == {None}


def test_postgresql_values_come_through(place: Workspace, server: Server) -> None:
    server.run(
        """CREATE TABLE t (id bigint PRIMARY KEY, n numeric(38, 8), free numeric, s text, j json, jb jsonb, a text[],
        b bytea, u uuid, day date, clock time, at timestamp, zoned timestamptz, f real, yes boolean, span interval)"""
    )
    inner = '{"n": 1.2345678901234567890123456789,\n "z": [1e400, "NaN,]"]}'
    server.run(
        f"""INSERT INTO t VALUES (1, {DIGITS}, 0.5, E'é\\n"', '{inner}', '{inner}', '{{"x y",NULL}}', '\\x00ff',
        '6F9619FF-8B86-D011-B42D-00C04FC964FF', '2024-02-29', '10:00:00.25', '2024-02-29 10:00:00.5',
        '2024-02-29 10:00:00+02', 0.1, true, '1 day')"""
    )
    server.run("INSERT INTO t VALUES (2)")
    entry = {"table": "t", "primary_keys": ["id"], "replication_method": "INCREMENTAL", "replication_key": "id"}
    said = read(place, server.tap(entry))
    first, second = said.records("t")
    assert (first["n"], first["free"], first["f"]) == (Decimal(DIGITS), Decimal("0.5"), Decimal("0.1"))
    assert first["s"] == 'é\n"'
    exact = {"n": Decimal("1.2345678901234567890123456789"), "z": [Decimal("1e400"), "NaN,]"]}
    assert first["j"] == exact
    assert first["jb"]["n"] == exact["n"]
    assert (first["a"], first["b"]) == (["x y", None], "AP8=")
    assert (first["u"], first["day"], first["clock"]) == (
        *("6f9619ff-8b86-d011-b42d-00c04fc964ff", "2024-02-29", "10:00:00.25"),
    )
    assert (first["at"], first["zoned"]) == ("2024-02-29T10:00:00.5Z", "2024-02-29T08:00:00Z")
    assert (first["yes"], first["span"]) == (True, "P1D")
    assert second == {**dict.fromkeys(first), "id": 2}
    assert said.last_state == {"bookmarks": {"t": {"replication_key": "id", "value": "2"}}}


def test_numbers_and_dates_of_postgresql_that_json_lacks_are_refused_or_text(place: Workspace, server: Server) -> None:
    server.run("CREATE TABLE t AS SELECT 'NaN'::float8 AS f")
    assert tap(place, server.tap({"table": "t"})).error["column"] == "f"
    server.run("CREATE TABLE n AS SELECT 'NaN'::numeric AS n")
    assert read(place, server.tap({"table": "n"})).records("n") == [{"n": "NaN"}]
    server.run("CREATE TABLE d AS SELECT '-infinity'::date AS d")
    assert tap(place, server.tap({"table": "d"})).error["column"] == "d"
