"""JSON lines: their own types, late keys, nested values, and lines that are none."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal

import pytest

from jobs.engine.movers import json_numbers
from tests.unit.movers.conftest import Ended, Workspace, tap_files, to_duckdb

ONE = {"stream": "t", "path": "t.jsonl"}
LONG = "1234567890123456789.0123456789012345678"


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


def load(place: Workspace, *lines: str, **settings: object) -> Ended:
    place.write("t.jsonl", "".join(f"{line}\n" for line in lines))
    return place.load(tap_files({**ONE, **settings}), to_duckdb("replace"))


def values(place: Workspace) -> list[str | None]:
    return [row[0] for row in place.query("SELECT value::VARCHAR FROM shop.t ORDER BY id")]


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([LONG, f"-{LONG}", "0.1"], "DECIMAL(38,19)"),
        (["12345678901234567890.5", "7"], "DECIMAL(38,1)"),
        (["9234567890123.4567", "1.5"], "DECIMAL(18,4)"),  # 17 digits, and no double has just these
        (["1234567890.12345678901234567890123456789012345", "0.5"], "VARCHAR"),  # 45 digits
        (["12345678901234567890.5", "0.12345678901234567891"], "VARCHAR"),  # 38 digits do not hold both
        (["12345678901234567890.5", "1e-300"], "VARCHAR"),
        (["12345678901234567890", "1"], "DECIMAL(38,0)"),
        (["1" * 39, "1.5"], "VARCHAR"),
        (["0.30000000000000004", "1234567890123456.7", "1e300", "1.2345678901234567e-7"], "DOUBLE"),
    ],
)
def test_numbers_keep_all_their_digits(place: Workspace, numbers: list[str], kind: str):
    load(place, *(f'{{"id": {row}, "value": {number}}}' for row, number in enumerate(numbers)))
    assert place.types("t")["value"] == kind
    found = [value or "" for value in values(place)]
    if kind == "DOUBLE":
        assert [float(value) for value in found] == [float(number) for number in numbers]
    else:
        assert [Decimal(value) for value in found] == [Decimal(number) for number in numbers]


@pytest.mark.parametrize("number", ["1234567.123456789012345", "9234567890123.4567"])
def test_a_long_number_far_behind_printed_doubles_keeps_its_digits(place: Workspace, number: str):
    printed = [f'{{"id": {row}, "value": {row / 997!r}}}' for row in range(1, 30_000)]
    load(place, *printed, f'{{"id": 0, "value": {number}, "other": {LONG}}}')
    assert Decimal(values(place)[0] or "") == Decimal(number)
    assert float(values(place)[7] or "") == 7 / 997


def test_numbers_in_objects_and_arrays_keep_all_their_digits(place: Workspace):
    rows = [f'{{"a": {{"b": [{LONG}, 1.50]}}}}', f"[{LONG}]", LONG, '"text"', "true", "null", "[]"]
    load(place, *(f'{{"id": {row}, "value": {value}}}' for row, value in enumerate(rows)))
    assert place.types("t")["value"] == "JSON"
    assert values(place) == [*rows[:5], None, "[]"]


def test_the_other_columns_of_a_file_with_a_long_number_stay_what_they_are(place: Workspace):
    more = (
        ', "t": "a \\"b\\u00e9", "day": "2024-02-29", "yes": true, "n": 5, "d": 0.1, "o": {"k":[1,"x"]}, "1.5": "1.5"'
    )
    rows = [f'{{"id": 1, "value": 1.5{more}}}', "", '{"id": 2}', '{"id": 3, "t": null, "value": 2, "late": "007"}\r']
    load(place, *rows)
    types, before = place.types("t"), place.query("SELECT * EXCLUDE (value) FROM shop.t ORDER BY id")
    load(place, *rows, f'{{"id": 4, "value": {LONG}}}')
    assert place.types("t") == {**types, "value": "DECIMAL(38,19)"}
    assert place.query("SELECT * EXCLUDE (value) FROM shop.t WHERE id < 4 ORDER BY id") == before


@pytest.mark.parametrize("kind", ["VARCHAR", "JSON"])
def test_a_chosen_type_gets_all_digits(place: Workspace, kind: str):
    texts = [LONG, '{"a": 1.10}'] if kind == "JSON" else [LONG, '{"a": 1.10}', "007"]
    rows = [texts[0], texts[1], '"007"'][: len(texts)]
    load(place, *(f'{{"id": {row}, "value": {value}}}' for row, value in enumerate(rows)), columns={"value": kind})
    assert values(place) == texts


def test_a_packed_file_keeps_the_digits_of_its_numbers(place: Workspace):
    place.write("t.jsonl", gzip.compress(f'{{"id": 1, "value": {LONG}}}\n'.encode()))
    place.load(tap_files(ONE), to_duckdb())
    assert values(place) == [LONG]


@pytest.mark.parametrize("line", ['{"id": 2, "value": 1', '{"id": 2, "id": 3}', '{"id": 2, "value": NaN}', "[1]"])
def test_a_bad_line_beside_a_long_number_is_refused(place: Workspace, line: str):
    place.write("t.jsonl", f'{{"id": 1, "value": {LONG}}}\n{line}\n')
    error = place.move(tap_files(ONE), to_duckdb()).error
    assert error["file"] == "t.jsonl"
    assert "line 2" in error["headline"] + error["reason"]


def test_a_misfit_beside_a_long_number_is_named_by_its_line(place: Workspace):
    place.write("t.jsonl", f'{{"id": 1, "value": {LONG}}}\n{{"id": 2, "value": "much"}}\n')
    error = place.move(tap_files({**ONE, "columns": {"value": "DECIMAL(38,19)"}}), to_duckdb()).error
    assert (error["code"], error["file"], error["line"], error["column"]) == ("csv-value", "t.jsonl", 2, "value")


@pytest.mark.parametrize(
    ("line", "is_lossy"),
    [
        (f'{{"a": {LONG}}}', True),
        (f'{{"a":-{LONG}}}', True),
        (f'{{"a": [1,{LONG}]}}', True),
        ('{"a": 123456789012345678901e5}', True),
        ('{"a": 1.234567890123456789e-5}', True),
        ('{"a": 9234567890123.4567}', True),
        ('{"a": 12345678901234567890123}', False),  # whole numbers are kept
        ('{"a": 0.30000000000000004, "b": 1.7976931348623157e+308, "c": 0.00012345678901234567}', False),
        ('{"a": 12.500000000000000000000, "b": 0.0000000000000000000000001}', False),
        (f'{{"a": "{LONG}", "b": "sum: {LONG}, paid", "c": "ab12345678901234567890e12"}}', False),
        ('{"a": "4.3.12345678901234567890"}', False),
        (f'{{"a": {LONG}', False),  # no JSON: for the reader to name
    ],
)
def test_only_numbers_that_a_double_does_not_hold_are_found(line: str, is_lossy: bool):
    content = f'{{"b": 1}}\n{line}\n{{"b": 2}}'.encode()
    with json_numbers.searching(lambda: io.BytesIO(content), most_lines=None) as found:
        assert found() is is_lossy


def test_a_long_number_is_found_wherever_a_block_ends(monkeypatch: pytest.MonkeyPatch):
    content = f'{{"b": "xxxxx", "a": {LONG}}}\n'.encode()
    for size in range(1, len(content) + 1):
        monkeypatch.setattr(json_numbers, "BLOCK_BYTES", size)
        with json_numbers.searching(lambda: io.BytesIO(b'{"b": 1}\n' + content), most_lines=None) as found:
            assert found()
