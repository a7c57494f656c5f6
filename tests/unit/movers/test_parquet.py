"""What Parquet and JSON lines bring that CSV does not: types of their own, nested values, and ways to be broken."""

from __future__ import annotations

import json

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb, to_files


def parquet(place: Workspace, name: str, select: str) -> None:
    duckdb.sql(f"COPY ({select}) TO '{place.files / name}' (FORMAT parquet)")


def test_nested_values_arrive_whole_in_duckdb_and_as_json_in_postgres(place: Workspace, server: Server):
    parquet(place, "t.parquet", "SELECT 1 AS id, {'a': [1, 2], 'b': {'c': 'x'}} AS value, MAP {'k': 1} AS pairs")
    tap = tap_files({"stream": "t", "path": "t.parquet"})
    place.load(tap, to_duckdb())
    place.load(tap, server.target())

    assert place.query("SELECT value.a[2], value.b.c, pairs['k'] FROM shop.t") == [(2, "x", 1)]
    assert server.run("SELECT value, pairs FROM shop.t") == [({"a": [1, 2], "b": {"c": "x"}}, {"k": 1})]


def test_a_parquet_file_cut_short_is_named(place: Workspace):
    parquet(place, "t.parquet", "SELECT range AS id FROM range(100000)")
    whole = (place.files / "t.parquet").read_bytes()
    place.write("t.parquet", whole[: len(whole) // 2])
    error = place.move(tap_files({"stream": "t", "path": "t.parquet"}), to_duckdb()).error
    assert (error["code"], error["file"], error["stream"]) == ("not-parquet", "t.parquet", "t")


@pytest.mark.parametrize("garbage", [b"", b"PAR1", b"PAR1PAR1"])
def test_what_is_shorter_than_any_parquet_is_named(place: Workspace, garbage: bytes):
    place.write("t.parquet", garbage)
    error = place.move(tap_files({"stream": "t", "path": "t.parquet"}), to_duckdb()).error
    assert (error["code"], error["file"]) == ("not-parquet", "t.parquet")


def test_a_damaged_page_ends_the_run_by_name_and_nothing_is_half_written(place: Workspace):
    parquet(place, "t.parquet", "SELECT range AS id, md5(range::VARCHAR) AS note FROM range(200000)")
    content = bytearray((place.files / "t.parquet").read_bytes())
    content[len(content) // 3 : len(content) // 3 + 64] = b"\xff" * 64
    place.write("t.parquet", bytes(content))
    error = place.move(tap_files({"stream": "t", "path": "t.parquet"}), to_duckdb()).error

    assert error["file"] == "t.parquet" and error["code"] != "unexpected"
    assert place.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'") == [(0,)]


def test_wildcards_in_a_parquets_name_are_letters(place: Workspace):
    parquet(place, "t[1].parquet", "SELECT 1 AS id")
    parquet(place, "t1.parquet", "SELECT 2 AS id")
    place.load(tap_files({"stream": "t", "path": "t[1].parquet"}), to_duckdb())
    assert place.query("SELECT id, _eltsite_file FROM shop.t") == [(1, "t[1].parquet")]


def test_parquet_and_csv_of_one_stream_meet_in_one_type(place: Workspace):
    parquet(place, "a.parquet", "SELECT 1 AS id, 1.25::DECIMAL(9,2) AS amount")
    place.write("b.csv", "id,amount\n2,3\n")
    place.load(tap_files({"stream": "t", "path": "*.*"}), to_duckdb())
    assert place.query("SELECT id, amount::VARCHAR FROM shop.t ORDER BY id") == [(1, "1.25"), (2, "3.00")]


def test_infinity_is_refused_by_column_where_json_lines_have_no_number_for_it(place: Workspace):
    parquet(place, "t.parquet", "SELECT 1 AS id, 'inf'::DOUBLE AS ratio")
    tap = tap_files({"stream": "t", "path": "t.parquet"})
    error = place.move(tap, to_files(format="jsonl")).error
    assert (error["code"], error["stream"], error["column"]) == ("value-refused", "t", "ratio")
    assert list((place.folder / "exports" / "t").iterdir()) == []
    place.load(tap, to_files(format="parquet"))


def test_nanoseconds_are_refused_by_column_where_postgres_does_not_keep_them(place: Workspace, server: Server):
    parquet(place, "t.parquet", "SELECT 1 AS id, '2024-01-01 00:00:00.000000001'::TIMESTAMP_NS AS at_ns")
    error = place.move(tap_files({"stream": "t", "path": "t.parquet"}), server.target()).error
    assert (error["code"], error["column"]) == ("value-refused", "at_ns")
    assert server.run("SELECT to_regclass('shop.t')") == [(None,)]


def test_arrays_of_a_database_arrive_as_json(place: Workspace, server: Server):
    server.run("CREATE TABLE t (id integer, tags text[], grid integer[][])")
    server.run("""INSERT INTO t VALUES (1, '{a,"b c",NULL}', '{{1,2},{3,4}}'), (2, NULL, '{}')""")
    place.load(server.tap({"stream": "t", "table": "t"}), to_duckdb())
    found = place.query("SELECT tags::VARCHAR, grid::VARCHAR FROM shop.t ORDER BY id")
    assert [[json.loads(value) if value else None for value in row] for row in found] == [
        [["a", "b c", None], [[1, 2], [3, 4]]],
        [None, []],
    ]
