"""Messages of all kinds: what the specification and the SDK have, and what is malformed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.movers.conftest import Workspace, to_duckdb
from tests.unit.movers_singer.conftest import ORDERS, Store, load, loaded, record, schema, state

LONG = b'{"type": "RECORD", "stream": "orders", "record": {"id": 1, "note": "' + b"x" * (65 << 20)
MALFORMED: list[tuple[str, bytes, str]] = [
    ("no JSON", b"hello, I am a print statement", "It is not JSON"),
    ("half a line", b'{"type": "RECORD", "stream": "orders", "record": {"id": 1', "It is not JSON"),
    ("no UTF-8", b'{"type": "RECORD", "stream": "orders", "record": {"note": "\xff\xfe"}}', "not UTF-8"),
    ("no UTF-8 in JSON", b'{"type": "RECORD", "stream": "orders", "record": {"more": {"a": "\xff"}}}', "not UTF-8"),
    ("no object", b"[1, 2]", "not an object"),
    ("no object either", b'"text"', "not an object"),
    ("no type", b'{"stream": "orders", "record": {"id": 1}}', "does not say its type"),
    ("no stream", b'{"type": "RECORD", "record": {"id": 1}}', "names no stream"),
    ("no record", b'{"type": "RECORD", "stream": "orders"}', "without a record"),
    ("a record that is a list", b'{"type": "RECORD", "stream": "orders", "record": [1]}', "Expected `object`"),
    (
        "half a character",
        b'{"type": "RECORD", "stream": "orders", "record": {"note": "\\ud83d"}}',
        "half of a surrogate",
    ),
    ("a state that is none", b'{"type": "STATE", "value": 3}', "Expected `object`"),
    ("an endless line", LONG, "longer than 64 MiB"),
]


@pytest.mark.parametrize(("line", "reason"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_malformed_line_is_named(place: Workspace, line: bytes, reason: str):
    properties = {**ORDERS, "more": {"type": "object"}}
    error = load(place, to_duckdb(), [schema("orders", properties, keys=()), record(id=0), line]).error
    assert (error["code"], error["line"]) == ("singer-line", 3)
    assert reason in error["reason"] and error["remedy"]


def test_a_long_line_below_the_limit_is_loaded(place: Workspace):
    loaded(place, to_duckdb(), [schema(), record(id=1, note="x" * (5 << 20))])
    assert place.query("SELECT length(note) FROM shop.orders") == [(5 << 20,)]


def test_unknown_kinds_of_messages_are_passed_over_with_one_warning(place: Workspace):
    strange = '{"type": "SPEECH", "text": "hello"}'
    ended = loaded(place, to_duckdb(), [schema(), strange, record(id=1), strange])
    assert ended.log.count("SPEECH") == 1
    assert place.query("SELECT count(*) FROM shop.orders") == [(1,)]


def test_unknown_properties_are_said_once_and_not_loaded(place: Workspace):
    lines = [schema(), *(record(id=number, extra=1) for number in range(3)), state(), record(id=9, extra=1)]
    ended = loaded(place, to_duckdb(), lines)
    assert ended.log.count("property extra") == 1
    assert list(place.types("orders")) == ["id", "amount", "note"]


def test_every_property_that_is_not_loaded_is_said_wherever_it_comes(place: Workspace):
    inner = {"type": "object", "properties": {"known": {"type": "integer"}}}
    properties = {"id": {"type": "integer"}, "a": inner}
    lines = [
        *(schema("x", properties), *(record("x", id=number, a={"known": number}) for number in range(50))),
        *(record("x", id=50, late=1), record("x", id=51, a={"known": 51, "deep": 1}), record("x", id=52, late=2)),
        schema("x", {**properties, "late": {"type": "integer"}}),
        *(record("x", id=53, late=3), record("x", id=54, a={"known": 54, "deep": 1})),
    ]
    ended = loaded(place, to_duckdb(flatten=True), lines)
    assert [ended.log.count(f"property {name};") for name in ("late", "a.deep")] == [1, 1]
    assert place.query("SELECT id, late, a__known FROM shop.x WHERE id > 49 ORDER BY id") == [
        *((50, None, None), (51, None, 51), (52, None, None), (53, 3, None), (54, None, 54)),
    ]


def test_properties_without_number_are_named_up_to_a_limit(place: Workspace):
    ended = loaded(place, to_duckdb(), [schema(), *(record(id=n, **{f"p{n}": 1}) for n in range(99))])
    assert 50 <= ended.log.count("does not have the property") <= 51
    assert place.query("SELECT count(*) FROM shop.orders") == [(99,)]


def test_a_record_before_its_schema_is_named(place: Workspace):
    error = load(place, to_duckdb(), [schema(), record(id=1), record("clients", id=1)]).error
    assert (error["code"], error["stream"], error["line"]) == ("schema-missing", "clients", 3)


def test_a_schema_that_changes_in_mid_stream_adds_and_widens_columns(store: Store):
    number = {"type": "number"}
    lines = [
        schema("x", {"id": {"type": "integer"}, "n": {"type": "integer"}, "gone": {"type": "string"}}),
        record("x", id=1, n=1, gone="a"),
        schema("x", {"id": {"type": "integer"}, "n": number, "more": {"type": "object"}}),
        schema("x", {"id": {"type": "integer"}, "n": number, "more": {"type": "object"}}),
        record("x", id=2, n=2.5, more={"a": 1}),
        state(x=2),
    ]
    loaded(store.place, store.loader("merge"), lines)
    assert store.rows("x", "id, n, gone, more IS NULL") == [(1, 1.0, "a", True), (2, 2.5, None, False)]
    loaded(store.place, store.loader("merge"), [lines[2], record("x", id=1, n=7, more={})])
    assert store.rows("x", "id, n, gone") == [(1, 7.0, "a"), (2, 2.5, None)]


@pytest.mark.parametrize(("method", "code"), [("merge", "keys-changed"), ("append", None)])
def test_keys_that_change_in_mid_run_are_refused_where_they_matter(place: Workspace, method: str, code: str | None):
    lines = [schema(keys=("id",)), record(id=1, note="a"), schema(keys=("id", "note")), record(id=1, note="b")]
    ended = load(place, to_duckdb(method), lines)
    assert (ended.error["code"] if code else ended.exit_code) == (code or 0)


def test_a_merge_with_several_keys_takes_them_together(store: Store):
    properties = {"Year": {"type": "integer"}, "no": {"type": "string"}, "sum": {"type": "number"}}

    def row(year: int, no: str, amount: float) -> str:
        return record("bills", Year=year, no=no, sum=amount)

    first = [schema("bills", properties, keys=("Year", "no")), row(2023, "a", 1), row(2024, "a", 2), row(2024, "b", 3)]
    loaded(store.place, store.loader("merge"), first)
    ended = loaded(
        store.place, store.loader("merge"), [first[0], row(2024, "a", 5), row(2025, "a", 6), row(2025, "a", 7)]
    )
    year = '"Year"'
    assert store.rows("bills", f"{year}, no, sum", "1, 2") == [
        *((2023, "a", 1.0), (2024, "a", 5.0), (2024, "b", 3.0), (2025, "a", 7.0)),
    ]
    assert (ended.stream("bills")["inserted"], ended.stream("bills")["updated"]) == (1, 1)


def test_a_schema_that_cannot_be_reconciled_is_refused_by_name(store: Store):
    text = {"id": {"type": "integer"}, "n": {"type": "boolean"}}
    lines = [schema("x", {"id": {"type": "integer"}, "n": {"type": "integer"}}), record("x", id=1, n=1)]
    error = load(store.place, store.loader(), [*lines, schema("x", text), record("x", id=2, n=True)]).error
    assert (error["code"], error["stream"], error["column"]) == ("column-narrows", "x", "n")


def activate(version: int) -> str:
    return json.dumps({"type": "ACTIVATE_VERSION", "stream": "orders", "version": version})


@pytest.mark.parametrize("method", ["append", "merge"])
def test_rows_of_another_version_go_with_the_state(store: Store, method: str):
    first = [schema(), record(id=1, version=100), record(id=2, version=100), activate(100), state(v=100)]
    loaded(store.place, store.loader(method), first)
    assert store.rows("orders", "id, _sdc_table_version") == [(1, 100), (2, 100)]
    second = [schema(), record(id=2, version=50), record(id=3, version=50), activate(50), record(id=4, version=60)]
    ended = loaded(store.place, store.loader(method), [*second, state(v=50)])
    assert store.rows("orders", "id, _sdc_table_version") == [(2, 50), (3, 50), (4, 60)]
    assert ended.stream("orders")["verified"]


def test_a_version_that_the_last_state_does_not_cover_is_not_activated(store: Store):
    loaded(store.place, store.loader(), [schema(), record(id=1, version=1), activate(1), state(v=1)])
    lines = [schema(), record(id=1, version=2), state(v="half"), record(id=2, version=2), activate(2)]
    ended = loaded(store.place, store.loader(), lines, extractor_exit=1)
    assert ended.of("result")[0]["incomplete"] is True
    assert store.rows("orders", "id, _sdc_table_version", "2") == [(1, 1), (1, 2)]


def test_rows_without_a_version_are_not_lost_to_the_activation_of_one(store: Store):
    """As of BATCH messages, which need not carry one."""
    loaded(store.place, store.loader(), [schema(), record(id=1, version=1), activate(1), state(v=1)])
    ended = loaded(store.place, store.loader(), [schema(), record(id=2), activate(2), record(id=3), state(v=2)])
    assert store.rows("orders", "id, _sdc_table_version") == [(2, None), (3, None)]
    assert ended.stream("orders")["deleted"] == 1
    last = [schema(), record(id=4, version=3), activate(3), state(v=3)]
    loaded(store.place, store.loader(), last)
    assert store.rows("orders", "id, _sdc_table_version") == [(4, 3)]


def test_without_versions_there_is_no_column_for_them(place: Workspace):
    ended = loaded(place, to_duckdb(), [schema(), record(id=1), activate(5)])
    assert list(place.types("orders")) == ["id", "amount", "note"]
    assert "carry none" in ended.log
    assert place.query("SELECT count(*) FROM shop.orders") == [(1,)]


def test_metadata_columns_are_added_where_the_setting_says_so(store: Store):
    timed = {"type": "RECORD", "stream": "orders", "record": {"id": 1}, "time_extracted": "2024-01-01T00:00:00Z"}
    lines = [schema(), json.dumps({**timed, "version": 7}), record(id=2)]
    loaded(store.place, store.loader(add_record_metadata=True), lines)
    columns = "id, _sdc_extracted_at IS NULL, _sdc_received_at >= _sdc_batched_at, _sdc_deleted_at, _sdc_table_version"
    assert store.rows("orders", columns) == [(1, False, True, None, 7), (2, True, True, None, None)]
    assert all(row[0] > 1_700_000_000_000 for row in store.rows("orders", "_sdc_sequence"))


def batch(paths: list[Path], **encoding: Any) -> str:
    manifest = [path.as_uri() for path in paths]
    return json.dumps({"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest})


def test_batches_of_json_lines_and_parquet_are_loaded(store: Store):
    place = store.place
    plain = place.write("a.jsonl", '{"id": 1, "amount": 1.5, "extra": 1}\n\n{"note": "b", "id": 2}\n')
    packed = place.folder / "runs" / "1" / "b.jsonl.gz"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(gzip.compress(b'{"id": 3}\n'))
    parquet = place.files / "c.parquet"
    duckdb.sql("SELECT 4::INTEGER AS id, 4.25::DECIMAL(9,2) AS amount, 'd' AS other").write_parquet(str(parquet))
    lines = [
        schema(),
        record(id=0),
        batch([plain], format="jsonl"),
        batch([packed], format="jsonl", compression="gzip"),
        batch([parquet], format="parquet"),
        record(id=5),
        state(orders=5),
    ]
    ended = loaded(place, store.loader(), lines)
    assert store.rows("orders", "id, amount, note") == [
        *((0, None, None), (1, 1.5, None), (2, None, "b"), (3, None, None), (4, 4.25, None), (5, None, None)),
    ]
    assert ended.stream("orders")["rows_read"] == 6
    assert "property extra" in ended.log


def test_a_batch_outside_the_allowed_folders_is_refused(place: Workspace, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside") / "a.jsonl"
    outside.write_text('{"id": 1}\n')
    error = load(place, to_duckdb(), [schema(), batch([outside], format="jsonl")]).error
    assert error["code"] == "path-outside"
    place.allowed.append(str(outside.parent))
    loaded(place, to_duckdb(), [schema(), batch([outside], format="jsonl")])


@pytest.mark.parametrize(
    ("manifest", "encoding"),
    [("s3://bucket/a.jsonl", "jsonl"), ("files/none.jsonl", "jsonl"), ("files/a.jsonl", "avro")],
)
def test_a_batch_that_cannot_be_read_is_named(place: Workspace, manifest: str, encoding: str):
    place.write("a.jsonl", '{"id": 1}\n')
    message = {"type": "BATCH", "stream": "orders", "encoding": {"format": encoding}, "manifest": [manifest]}
    error = load(place, to_duckdb(), [schema(), json.dumps(message)]).error
    assert (error["code"], error["stream"], error["line"]) == ("singer-batch", "orders", 2)


@pytest.mark.parametrize("damage", ["cut", "wrong"])
def test_a_damaged_batch_is_named(place: Workspace, damage: str):
    packed = gzip.compress(b'{"id": 1}\n' * 1000)
    packed = packed[:-12] if damage == "cut" else packed[:20] + b"\xff" * 8 + packed[28:]
    lines = [schema(), batch([place.write("a.jsonl.gz", packed)], format="jsonl", compression="gzip")]
    error = load(place, to_duckdb(), lines).error
    assert (error["code"], error["file"]) == ("singer-batch", "files/a.jsonl.gz")


def test_a_bad_line_of_a_batch_is_named_with_its_file(place: Workspace):
    path = place.write("a.jsonl", '{"id": 1}\nno\n')
    error = load(place, to_duckdb(), [schema(), batch([path], format="jsonl")]).error
    assert (error["code"], error["file"], error["line"]) == ("singer-line", "files/a.jsonl", 2)


def test_streams_of_one_table_are_refused(place: Workspace):
    error = load(place, to_duckdb(), [schema("public-orders"), schema("public/orders")]).error
    assert error["code"] == "stream-name"


def test_odd_characters_in_a_streams_name_become_underscores(store: Store):
    loaded(store.place, store.loader(), [schema("public-Orders/EU 1"), record("public-Orders/EU 1", id=1)])
    assert store.count("public_orders_eu_1") == 1
