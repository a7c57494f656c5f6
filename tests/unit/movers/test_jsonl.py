"""JSON lines: their own types, late keys, nested values, and lines that are none."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb

ONE = {"stream": "t", "path": "t.jsonl"}


def write(place: Workspace, *rows: object) -> None:
    place.write("t.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def test_text_stays_as_it_was_written(place: Workspace):
    values = ["ü\u2028", 'a "b", c', "two\nlines", "tab\t", "007", " 1 ", "NULL", "", "\\N", "true", "\U0001f600"]
    write(place, *({"id": number, "value": value} for number, value in enumerate(values)))
    place.load(tap_files(ONE), to_duckdb())
    assert [row[0] for row in place.query("SELECT value FROM shop.t ORDER BY id")] == values


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["01/02/2024", "03/04/2024"], ["01/02/2024", "03/04/2024"]),
        (["2024-01-01 10:00:00.123456789"], ["2024-01-01 10:00:00.123456789"]),
        (["2024-01-05T10:00:00+02:00"], ["2024-01-05 08:00:00+00"]),
        (["2024-1-5"], ["2024-1-5"]),
        (["12:30"], ["12:30"]),
        (["20240105"], ["20240105"]),
        (["6F1C8E52-0000-4000-8000-00000000000A"], ["6F1C8E52-0000-4000-8000-00000000000A"]),
    ],
)
def test_text_that_looks_like_a_time_keeps_its_meaning(place: Workspace, texts: list[str], expected: list[str]):
    write(place, *({"id": number, "value": text} for number, text in enumerate(texts)))
    place.load(tap_files(ONE), to_duckdb())
    assert [row[0] for row in place.query("SELECT value::VARCHAR FROM shop.t ORDER BY id")] == expected


def test_values_of_several_kinds_in_one_key_lose_nothing(place: Workspace):
    write(place, {"id": 1, "value": 1}, {"id": 2, "value": "x"}, {"id": 3, "value": {"a": 1}}, {"id": 4, "value": None})
    place.load(tap_files(ONE), to_duckdb())
    found = [row[0] for row in place.query("SELECT value::VARCHAR FROM shop.t ORDER BY id")]
    assert [value and json.loads(value) for value in found] == [1, "x", {"a": 1}, None]


def test_null_and_missing_are_both_no_value(place: Workspace):
    write(place, {"id": 1, "value": None}, {"id": 2}, {"id": 3, "value": 5})
    place.load(tap_files(ONE), to_duckdb())
    assert place.query("SELECT value FROM shop.t ORDER BY id") == [(None,), (None,), (5,)]


def test_blank_lines_and_windows_line_ends_are_no_rows(place: Workspace):
    place.write("t.jsonl", b'{"id": 1}\r\n\r\n{"id": 2}\r\n\n')
    place.load(tap_files(ONE), to_duckdb())
    assert place.query("SELECT id FROM shop.t ORDER BY id") == [(1,), (2,)]


def test_a_packed_file_is_read_by_its_content_and_named_by_its_line(place: Workspace):
    place.write("t.jsonl", gzip.compress(b'{"id": 1}\n{"id": 2\n'))
    error = place.move(tap_files(ONE), to_duckdb()).error
    assert (error["code"], error["file"], error["line"]) == ("json-line", "t.jsonl", 2)


def test_bytes_that_are_not_utf8_name_the_file_and_the_line(place: Workspace):
    place.write("t.jsonl", b'{"id": 1}\n{"id": "M\xfcller"}\n')
    error = place.move(tap_files(ONE), to_duckdb()).error
    assert (error["code"], error["file"], error["line"]) == ("json-line", "t.jsonl", 2)


def test_a_chosen_type_is_kept_and_its_misfit_named(place: Workspace):
    write(place, {"id": 1, "amount": "1.50"}, {"id": 2, "amount": 2.25})
    place.load(tap_files({**ONE, "columns": {"amount": "DECIMAL(9,2)"}}), to_duckdb())
    assert place.query("SELECT amount::VARCHAR FROM shop.t ORDER BY id") == [("1.50",), ("2.25",)]
    write(place, {"id": 1, "amount": "1.50"}, {"id": 2, "amount": "much"})
    error = place.move(tap_files({**ONE, "columns": {"amount": "DECIMAL(9,2)"}}), to_duckdb()).error
    assert (error["code"], error["file"], error["line"], error["column"]) == ("csv-value", "t.jsonl", 2, "amount")
