"""Types follow from the JSON Schema, and no value changes on the way."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from jobs.engine.movers.singer_schema import read_schema
from tests.unit.movers.conftest import Workspace, to_duckdb
from tests.unit.movers_singer.conftest import Store, load, loaded, record, schema


def utc(*parts: int) -> dt.datetime:
    """An instant in UTC as the stores give it when asked for it without zone."""
    return dt.datetime(*parts, tzinfo=dt.UTC).replace(tzinfo=None)  # type: ignore[misc,arg-type]


ZONED = "TIMESTAMP WITH TIME ZONE"
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"type": "integer"}, "BIGINT"),
    ({"type": ["null", "integer"], "minimum": 0, "maximum": 2**64 - 1}, "HUGEINT"),
    ({"type": "number"}, "DOUBLE"),
    ({"type": ["integer", "number", "null"]}, "DOUBLE"),
    ({"type": "number", "multipleOf": 0.01, "maximum": 99999999.99}, "DECIMAL(18,2)"),
    ({"type": "number", "multipleOf": 0.0001}, "DECIMAL(38,4)"),
    ({"type": "number", "multipleOf": 1e-38}, "DECIMAL(38,18)"),
    ({"type": ["null", "string"], "format": "singer.decimal"}, "DECIMAL(38,18)"),
    ({"type": "string", "format": "singer.decimal", "precision": 20, "scale": 4}, "DECIMAL(38,4)"),
    ({"type": "boolean"}, "BOOLEAN"),
    ({"type": "string"}, "VARCHAR"),
    ({"type": "string", "format": "date-time"}, ZONED),
    ({"type": "string", "format": "date"}, "DATE"),
    ({"type": "string", "format": "time"}, "TIME"),
    ({"type": "string", "format": "uuid"}, "VARCHAR"),
    ({"type": "string", "contentMediaType": "image/png", "contentEncoding": "base64"}, "VARCHAR"),
    ({"type": "object", "properties": {"a": {"type": "integer"}}}, "JSON"),
    ({"type": "array", "items": {"type": "integer"}}, "JSON"),
    ({}, "JSON"),
    ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, ZONED),
    ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}, "VARCHAR"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "DOUBLE"),
    ({"type": ["string", "integer"]}, "VARCHAR"),
    ({"anyOf": [{"type": "object"}, {"type": "string"}]}, "JSON"),
    ({"$ref": "#/definitions/money"}, "DECIMAL(38,2)"),
    ({"anyOf": [{"$ref": "#/definitions/money"}, {"type": "null"}]}, "DECIMAL(38,2)"),
    ({"allOf": [{"$ref": "#/definitions/money"}]}, "DECIMAL(38,2)"),
    ({"$ref": "#/definitions/loop"}, "JSON"),
    ({"type": ["null"]}, "VARCHAR"),
    ({"$ref": "#/definitions/many"}, "JSON"),
    ({"anyOf": [{"$ref": "#/definitions/many"}, {"type": "string"}]}, "JSON"),
    ({"type": 5}, "JSON"),
]
DEFINITIONS = {
    "money": {"type": ["number", "null"], "multipleOf": 0.01},
    "loop": {"$ref": "#/definitions/loop"},
    "many": {"anyOf": [{"$ref": "#/definitions/many"}] * 3},  # all choices to the bottom would take for ever
}


@pytest.mark.parametrize(("shape", "kind"), KINDS, ids=[json.dumps(shape)[:60] for shape, _ in KINDS])
def test_the_type_of_a_property(shape: dict[str, Any], kind: str):
    message = {"stream": "s", "schema": {"definitions": DEFINITIONS, "properties": {"x": shape}}}
    read = json.loads(json.dumps(message), parse_float=Decimal)
    (found,) = read_schema(read, line=1, flatten=False).properties
    assert found.kind == kind


ALL = {
    "id": {"type": "integer"},
    "big": {"type": "integer", "maximum": 2**64 - 1},
    "num": {"type": ["null", "number"]},
    "money": {"type": ["null", "number"], "multipleOf": 0.01},
    "precise": {"type": ["null", "string"], "format": "singer.decimal"},
    "moment": {"type": ["null", "string"], "format": "date-time"},
    "day": {"type": ["null", "string"], "format": "date"},
    "clock": {"type": ["null", "string"], "format": "time"},
    "flag": {"type": ["null", "boolean"]},
    "text": {"type": ["null", "string", "integer", "boolean"]},
    "nested": {"type": ["null", "object"]},
}


def test_values_keep_every_digit(store: Store):
    line = (
        '{"type":"RECORD","stream":"things","record":{"id":9223372036854775807,"big":18446744073709551615,"num":0.1,'
        '"money":12345678901234567890.25,"precise":"-0.000000000000000001","moment":"2024-02-29T23:59:59.123456+02:00",'
        '"day":"2024-02-29T00:00:00Z","clock":"23:59:59.5","flag":true,"text":12,"nested":{"n":1.10,"a":[1,"x"]}}}'
    )
    empty = record("things", id=2)
    loaded(store.place, store.loader(), [schema("things", ALL), line, empty])
    text = "nested::text" if store.kind == "postgres" else "CAST(nested AS VARCHAR)"
    columns = "id, big, num, money, precise, moment AT TIME ZONE 'UTC', day, clock, flag, text"
    rows = store.rows("things", f"{columns}, {text}", order="1 DESC")
    instant = utc(2024, 2, 29, 21, 59, 59, 123456)
    assert rows[0][:10] == (
        *(9223372036854775807, 18446744073709551615, 0.1, Decimal("12345678901234567890.25")),
        *(Decimal("-0.000000000000000001"), instant, dt.date(2024, 2, 29), dt.time(23, 59, 59, 500000), True, "12"),
    )
    assert json.loads(rows[0][10]) == {"n": 1.1, "a": [1, "x"]} and "1.10" in rows[0][10]
    assert rows[1] == (2, *[None] * 10)


REFUSED = [
    ("id", '"abc"', "abc"),
    ("id", "1.5", "1.5"),
    ("id", "9223372036854775808", "9223372036854775808"),
    ("id", "true", "true"),
    ("num", "12345678901234567", "12345678901234567"),
    ("num", "1e999", "1e999"),
    ("num", '"many"', "many"),
    ("money", "1.239", "1.239"),
    ("moment", '"2024-02-30T00:00:00Z"', "2024-02-30T00:00:00Z"),
    ("moment", '"0000-00-00 00:00:00"', "0000-00-00 00:00:00"),
    ("moment", '"12024-01-01T00:00:00Z"', "12024-01-01T00:00:00Z"),
    ("moment", '"2016-12-31T23:59:60Z"', "2016-12-31T23:59:60Z"),
    ("moment", '"2024-01-01T00:00:00+25:00"', "2024-01-01T00:00:00+25:00"),
    ("moment", '"0000-01-01T00:00:00Z"', "0000-01-01T00:00:00Z"),
    ("moment", '"0001-01-01T00:00:00+05:00"', "0001-01-01T00:00:00+05:00"),
    ("moment", '"9999-12-31T23:59:59-05:00"', "9999-12-31T23:59:59-05:00"),
    ("day", '"0000-01-01"', "0000-01-01"),
    ("num", "0.12345678901234567890", "0.12345678901234567890"),
    ("moment", '"2024-01-01T00:00:00.1234567Z"', "2024-01-01T00:00:00.1234567Z"),
    ("moment", '""', ""),
    ("day", '"2024-01-01T10:00:00"', "2024-01-01T10:00:00"),
    ("clock", '"10:00:00+02:00"', "10:00:00+02:00"),
    ("flag", '"maybe"', "maybe"),
]


@pytest.mark.parametrize(("column", "value", "shown"), REFUSED)
def test_a_value_that_would_change_is_refused_by_name(place: Workspace, column: str, value: str, shown: str):
    bad = f'{{"type": "RECORD", "stream": "things", "record": {{"{column}": {value}}}}}'
    properties = {**ALL, "id": {"type": ["null", "integer"]}}
    lines = [schema("things", properties, keys=()), record("things", id=1), bad]
    error = load(place, to_duckdb(), lines).error
    assert (error["code"], error["stream"], error["column"], error["line"]) == ("value-refused", "things", column, 3)
    assert f'"{shown}"' in error["headline"]


ACCEPTED = [
    ("id", "3.0", 3),
    ("id", '"12"', 12),
    ("num", "12345678901234568", 12345678901234568.0),
    ("num", "100000000000000000000.0", 1e20),
    ("num", "0.30000000000000004", 0.30000000000000004),
    ("num", "0.10000000000000001", 0.1),
    ("num", "4.9406564584124654e-324", 5e-324),
    ("num", '"1.5"', 1.5),
    ("day", '"0001-01-01"', dt.date(1, 1, 1)),
    ("day", '"9999-12-31"', dt.date(9999, 12, 31)),
    ("moment", '"0001-01-01T00:00:00Z"', utc(1, 1, 1)),
    ("moment", '"9999-12-31T23:59:59.999999Z"', utc(9999, 12, 31, 23, 59, 59, 999999)),
    ("moment", '"2024-01-01T10:00:00+14:00"', utc(2023, 12, 31, 20)),
    ("num", "-0.0", 0.0),
    ("money", "0E-10", Decimal("0")),
    ("money", "1.2300", Decimal("1.23")),
    ("money", "1E+2", Decimal("100")),
    (
        "moment",
        '"2024-01-01"',
        utc(2024, 1, 1),
    ),
    (
        "moment",
        '"2024-01-01 10:00:00"',
        utc(2024, 1, 1, 10),
    ),
    ("moment", '"2024-01-01T10:00:00.123456000Z"', utc(2024, 1, 1, 10, 0, 0, 123456)),
    ("text", "true", "true"),
    ("text", '"a\\"b"', 'a"b'),
    ("text", "null", None),
]


@pytest.mark.parametrize(("column", "value", "kept"), ACCEPTED)
def test_a_value_in_another_spelling_keeps_its_meaning(place: Workspace, column: str, value: str, kept: Any):
    line = f'{{"type": "RECORD", "stream": "things", "record": {{"{column}": {value}}}}}'
    loaded(place, to_duckdb(), [schema("things", ALL, keys=()), line])
    shown = "moment AT TIME ZONE 'UTC'" if column == "moment" else column
    assert place.query(f"SELECT {shown} FROM shop.things") == [(kept,)]


@pytest.mark.parametrize(("kept", "value"), [(True, "0.25"), (True, "0.1"), (False, "12345678901234.123456")])
def test_a_decimal_for_a_column_of_doubles_keeps_its_digits_or_is_refused(place: Workspace, kept: bool, value: str):
    loaded(place, to_duckdb(), [schema("x", {"n": {"type": "number"}}, keys=()), record("x", n=0.5)])
    line = f'{{"type": "RECORD", "stream": "x", "record": {{"n": {value}}}}}'
    ended = load(place, to_duckdb(), [schema("x", {"n": {"type": "number", "multipleOf": 1e-6}}, keys=()), line])
    if kept:
        assert place.query("SELECT n FROM shop.x") == [(0.5,), (float(value),)]
    else:
        assert (ended.error["code"], ended.error["column"]) == ("value-refused", "n")


def test_exact_numbers_of_a_table_are_not_rounded_by_a_schema_that_changes(store: Store):
    def lines(kind: str, value: int | float) -> list[str]:
        return [schema("x", {"n": {"type": kind}}, keys=()), record("x", n=value)]

    loaded(store.place, store.loader(), [*lines("integer", 2**53), *lines("integer", 7)])
    loaded(store.place, store.loader(), lines("number", 0.5))
    assert store.rows("x", "n") == [(0.5,), (7.0,), (2.0**53,)]
    loaded(store.place, store.loader(), [line.replace('"x"', '"y"') for line in lines("integer", 2**53 + 1)])
    error = load(store.place, store.loader(), [line.replace('"x"', '"y"') for line in lines("number", 0.5)]).error
    assert (error["code"], error["column"]) == ("column-narrows", "n") and str(2**53 + 1) in error["headline"]
    assert store.rows("y", "n") == [(2**53 + 1,)]


TEXTS = ["", " ", "null", "NULL", "\\N", "\\.", '"', "a\nb\r\nc", "a,b", "\t", "😀", "\u2028", "é" * 100_000]


def test_texts_are_stored_as_they_are(store: Store):
    """Also alone in a row: COPY knows texts that mean something else there."""
    lines = [schema("x", {"t": {"type": ["null", "string"]}}, keys=()), *(record("x", t=value) for value in TEXTS)]
    loaded(store.place, store.loader(), [*lines, record("x", t=None)])
    found = [row[0] for row in store.rows("x", "t")]
    assert sorted(value for value in found if value is not None) == sorted(TEXTS)
    assert found.count(None) == 1


def test_the_numbers_in_objects_keep_their_text(store: Store):
    value = '{"n": 1234567890123456789012345678901234567890.10, "deep": [[{"e": 1e400}]]}'
    if store.kind == "postgres":
        value = value.replace("1e400", "1e+40")
    lines = [schema("x", {"o": {}}, keys=()), f'{{"type": "RECORD", "stream": "x", "record": {{"o": {value}}}}}']
    loaded(store.place, store.loader(), lines)
    text = "o::text" if store.kind == "postgres" else "CAST(o AS VARCHAR)"
    assert "1234567890123456789012345678901234567890.10" in store.rows("x", text)[0][0]


def test_not_a_number_stays_one_in_a_column_of_numbers(place: Workspace):
    lines = [schema("things", ALL, keys=()), '{"type": "RECORD", "stream": "things", "record": {"num": NaN}}']
    loaded(place, to_duckdb(), lines)
    assert place.query("SELECT isnan(num) FROM shop.things") == [(True,)]


def test_a_naughty_order_of_keys_and_spaces_loads_the_same(store: Store):
    lines = [
        schema(),
        '{"type":"RECORD","stream":"orders","record":{"id":1,"note":"a"}}',
        '{"stream": "orders", "record": {"id": 2, "note": "b"}, "type": "RECORD"}',
        '  {"record" : {"note" : "c", "id" : 3}, "time_extracted": "2024-01-01T00:00:00Z", "type":"RECORD", "stream":"orders"} ',
        '{"type": "RECORD", "stream": "ord\\u0065rs", "record": {"id": 4, "note": "d"}}\r',
        "",
        record(id=5, note="e"),
    ]
    loaded(store.place, store.loader(), lines)
    assert store.rows("orders", "id, note") == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]


def test_nested_objects_are_flattened_where_the_setting_says_so(store: Store):
    address = {"type": ["null", "object"], "properties": {"city": {"type": "string"}, "pos": {"type": "object"}}}
    lines = [
        schema("people", {"id": {"type": "integer"}, "address": address}),
        record("people", id=1, address={"city": "Turku", "pos": {"lat": 1}}),
        record("people", id=2, address=None),
        record("people", id=3),
    ]
    loaded(store.place, store.loader(flatten=True), lines)
    assert store.rows("people", "id, address__city, address__pos IS NULL") == [
        (1, "Turku", False),
        (2, None, True),
        (3, None, True),
    ]


def test_an_object_without_a_bottom_is_flattened_as_deep_as_columns_get(place: Workspace):
    person = {"type": "object", "properties": {"name": {"type": "string"}, "boss": {"$ref": "#/properties/person"}}}
    lines = [schema("x", {"person": person}, keys=()), record("x", person={"name": "a", "boss": {"name": "b"}})]
    loaded(place, to_duckdb(flatten=True), lines)
    assert place.query("SELECT person__name, person__boss__name FROM shop.x") == [("a", "b")]
    crowd = {"type": "object", "properties": {str(n): {"$ref": "#/properties/crowd"} for n in range(20)}}
    error = load(place, to_duckdb(flatten=True), [schema("y", {"crowd": crowd}, keys=())]).error
    assert error["code"] == "singer-schema" and "more than 10,000 columns" in error["reason"]


def test_a_flattened_name_that_is_written_so_already_is_refused(place: Workspace):
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    error = load(place, to_duckdb(flatten=True), [schema("x", {"a__b": {"type": "string"}, "a": inner}, keys=())]).error
    assert (error["code"], error["column"]) == ("column-twice", "a__b")
    assert "a__b and a.b" in error["reason"]


def test_names_that_differ_by_case_only_are_refused(place: Workspace):
    error = load(place, to_duckdb(), [schema("x", {"Id": {"type": "integer"}, "ID": {"type": "integer"}})]).error
    assert (error["code"], error["stream"], error["line"]) == ("column-twice", "x", 1)


def test_a_schema_without_a_property_makes_one_column_of_the_record(store: Store):
    lines = [schema("events", {}, keys=()), record("events", a=1, b={"c": [2]}), record("events")]
    loaded(store.place, store.loader(), lines)
    text = "record::text" if store.kind == "postgres" else "CAST(record AS VARCHAR)"
    assert sorted(json.dumps(json.loads(row[0])) for row in store.rows("events", text)) == [
        '{"a": 1, "b": {"c": [2]}}',
        "{}",
    ]
