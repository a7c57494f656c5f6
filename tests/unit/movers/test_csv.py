"""What CSV text becomes: nothing changes in silence, and what cannot be read is named."""

from __future__ import annotations

import random

import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb


def one(**more):
    return tap_files({"stream": "t", "path": "t.csv", **more})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-20", "0"], "BIGINT"),
        (["007", "123"], "VARCHAR"),
        (["+49 30", "12"], "VARCHAR"),
        (["9223372036854775807"], "BIGINT"),
        (["9223372036854775808"], "DECIMAL(38,0)"),
        (["1" * 39], "VARCHAR"),
        (["1.50", "2"], "DECIMAL(18,2)"),
        (["12345678901234567.12"], "DECIMAL(38,2)"),
        (["0.30000000000000004", "1.5"], "DOUBLE"),
        (["1e5", "2.5"], "DOUBLE"),
        (["true", "False"], "BOOLEAN"),
        (["yes", "no"], "VARCHAR"),
        (["t", "f"], "VARCHAR"),
        (["2024-02-29", "1999-12-31"], "DATE"),
        (["2023-02-29"], "VARCHAR"),
        (["01/02/2024"], "VARCHAR"),
        (["2024-01-01 10:00:00", "2024-01-01"], "TIMESTAMP"),
        (["2024-01-01T10:00:00.123456"], "TIMESTAMP"),
        (["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00Z"], "TIMESTAMP WITH TIME ZONE"),
        (["10:00:00"], "VARCHAR"),
        (["", ""], "VARCHAR"),
        (["-0"], "DECIMAL(18,0)"),
    ],
)
def test_the_type_is_the_narrowest_that_keeps_every_value(place: Workspace, values: list[str], kind: str):
    place.write("t.csv", "n,value\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
    place.load(one(), to_duckdb())
    assert place.types("t")["value"] == kind


def test_random_text_arrives_as_it_was_written(place: Workspace):
    """A property: whatever the types, the text of each value says the same as the file's."""
    chance = random.Random(4)
    makers = [
        lambda: str(chance.randint(-(10**18), 10**18)),
        lambda: f"{chance.randint(0, 10**6)}.{chance.randint(0, 999):03d}",
        lambda: chance.choice(["", "x", "a,b", 'q"q', "two\nlines", " padded ", "ünï", "NULL", "None", "\\N"]),
        lambda: f"{chance.randint(0, 999):04d}",
        lambda: f"20{chance.randint(10, 99)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}",
    ]
    rows = [[make() for make in makers] for _ in range(3000)]
    quoted = ["n,a,b,c,d,e", *(f"{n}," + ",".join(_quoted(v) for v in row) for n, row in enumerate(rows))]
    place.write("t.csv", "\r\n".join(quoted) + "\r\n")
    place.load(one(), to_duckdb())

    found = place.query("SELECT a::VARCHAR, b::VARCHAR, c, d, e::VARCHAR FROM shop.t ORDER BY n")
    assert [list(row) for row in found] == rows


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if not value.replace(".", "").replace("-", "").isdigit() else value


def test_null_text_is_a_setting_and_quoted_empty_is_empty_text(place: Workspace):
    place.write("t.csv", 'n,value\n1,""\n2,\n3,x\n')
    place.load(one(), to_duckdb())
    assert place.query("SELECT value FROM shop.t ORDER BY n") == [("",), (None,), ("x",)]

    place.write("t.csv", 'n,value\n1,NA\n2,\n3,7\n4,"NA"\n')
    place.load(tap_files({"stream": "u", "path": "t.csv", "null": "NA"}), to_duckdb())
    assert place.query("SELECT value FROM shop.u ORDER BY n") == [(None,), ("",), ("7",), ("NA",)]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig", "shift_jis"])
def test_other_encodings_are_read(place: Workspace, encoding: str):
    word = "日本" if encoding == "shift_jis" else "Müller"
    place.write("t.csv", f"name,n\n{word},1\n".encode(encoding))
    place.load(one(encoding=encoding.removesuffix("-sig")), to_duckdb())
    assert place.query("SELECT name, n FROM shop.t") == [(word, 1)]


def test_delimiters_are_found_or_set(place: Workspace):
    place.write("t.csv", "a;b\n1;2,5\n")
    place.load(one(), to_duckdb())
    place.write("u.csv", "a~b\n1~2\n")
    place.load(tap_files({"stream": "u", "path": "u.csv", "delimiter": "~"}), to_duckdb())
    assert place.query("SELECT a, b FROM shop.t") == [(1, "2,5")]
    assert place.query("SELECT a, b FROM shop.u") == [(1, 2)]


def test_a_file_without_a_header_gets_numbered_columns(place: Workspace):
    place.write("t.csv", "1,x\n2,y\n")
    place.load(one(header=False), to_duckdb())
    assert place.query("SELECT column_1, column_2 FROM shop.t ORDER BY 1") == [(1, "x"), (2, "y")]


def test_an_empty_file_is_no_failure(place: Workspace):
    place.write("t.csv", "")
    ended = place.load(one(), to_duckdb())
    assert "t.csv is empty" in ended.log

    place.write("t.csv", "a,b\n")
    place.load(one(), to_duckdb())
    assert place.query("SELECT count(*) FROM shop.t") == [(0,)]


def test_wildcards_in_a_files_name_are_letters(place: Workspace):
    place.write("t[1].csv", "a\n1\n")
    place.write("t1.csv", "a\n2\n")
    place.load(tap_files({"stream": "t", "path": "t[1].csv"}), to_duckdb())
    assert place.query("SELECT a, _eltsite_file FROM shop.t") == [(1, "t[1].csv")]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a,b\n1,2\n3\n", 3, "1 columns where the file has 2"),
        ("a,b\n1,2\n3,4,5\n", 3, "3 columns where the file has 2"),
        ('a,b\n1,2\n3,"open\n4,5\n', 3, "never ends"),
        (b"a,b\n1,2\n3,\xff\xfe\n", 3, "not UTF-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(place: Workspace, content: str | bytes, line: int, words: str):
    place.write("t.csv", content)
    error = place.move(one(), to_duckdb()).error
    assert (error["code"], error["file"], error["line"]) == ("csv-line", "t.csv", line)
    assert words in error["reason"]
    assert place.query("SELECT count(*) FROM information_schema.tables WHERE table_name = 't'") == [(0,)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTEGER", "1.5"),
        ("INTEGER", "abc"),
        ("DECIMAL(10,2)", "1.239"),
        ("DATE", "2024-13-01"),
        ("TIMESTAMP", "2024-01-01T10:00:00+02:00"),
    ],
)
def test_a_value_that_is_not_of_its_chosen_type_is_named(place: Workspace, kind: str, value: str):
    place.write("t.csv", f'id,note,amount\n1,"two\nlines",\n2,x,{value}\n')
    error = place.move(one(columns={"amount": kind}), to_duckdb()).error
    assert (error["code"], error["file"], error["line"], error["column"]) == ("csv-value", "t.csv", 4, "amount")
    assert value in error["headline"]


def test_chosen_types_are_kept(place: Workspace):
    place.write("t.csv", "zip,amount,flag\n1234,+1,yes\n0099, 2.500,no\n")
    place.load(one(columns={"zip": "varchar", "amount": "decimal(10, 1)", "flag": "bool"}), to_duckdb())
    assert place.query("SELECT zip, amount::VARCHAR, flag FROM shop.t ORDER BY 2") == [
        ("1234", "1.0", True),
        ("0099", "2.5", False),
    ]
    assert place.move(one(columns={"zip": "zipcode"}), to_duckdb()).error["code"] == "type-unknown"


def test_a_column_named_twice_is_refused(place: Workspace):
    place.write("t.csv", "id,Id\n1,2\n")
    assert place.move(one(), to_duckdb()).error["code"] == "column-twice"


def test_json_lines_keep_decimals_large_numbers_and_late_keys(place: Workspace):
    lines = [f'{{"id": {n}, "amount": {n}.25}}' for n in range(25_000)]
    lines += ['{"id": 25000, "amount": 1.5, "late": {"x": [1, 2]}, "big": 123456789012345678901}', ""]
    place.write("t.jsonl", "\n".join(lines))
    place.load(tap_files({"stream": "t", "path": "t.jsonl"}), to_duckdb())
    assert place.types("t")["amount"] == "DECIMAL(18,2)"
    row = place.query("SELECT amount::VARCHAR, late::VARCHAR, big::VARCHAR FROM shop.t WHERE id = 25000")
    assert row == [("1.50", '{"x":[1,2]}', "123456789012345678901")]


def test_a_line_that_is_not_json_is_named(place: Workspace):
    place.write("t.jsonl", '{"a": 1}\n{"a": 2, oops}\n{"a": 3}\n')
    error = place.move(tap_files({"stream": "t", "path": "t.jsonl"}), to_duckdb()).error
    assert (error["code"], error["file"], error["line"]) == ("json-line", "t.jsonl", 2)

    place.write("t.jsonl", '{"a": 1}\n[2]\n')
    error = place.move(tap_files({"stream": "t", "path": "t.jsonl"}), to_duckdb()).error
    assert (error["code"], error["line"]) == ("json-line", 2)


def test_keys_that_differ_by_case_only_are_refused(place: Workspace):
    place.write("t.jsonl", '{"a": 1, "A": 2}\n')
    assert place.move(tap_files({"stream": "t", "path": "t.jsonl"}), to_duckdb()).error["code"] == "column-twice"
    place.write("t.jsonl", '{"address": "x", "address_1": "y"}\n')
    place.load(tap_files({"stream": "t", "path": "t.jsonl"}), to_duckdb())


def test_what_is_not_parquet_is_named(place: Workspace):
    place.write("t.parquet", "hello, this is no parquet file at all")
    error = place.move(tap_files({"stream": "t", "path": "t.parquet"}), to_duckdb()).error
    assert (error["code"], error["file"]) == ("not-parquet", "t.parquet")
