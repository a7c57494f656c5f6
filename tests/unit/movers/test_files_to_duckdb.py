"""tap-files into a DuckDB warehouse: what arrives, and what a second run does."""

from __future__ import annotations

import gzip
import os

import duckdb
import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb

ORDERS = "id,amount,day\n1,10.50,2024-01-05\n2,7,2024-01-06\n"


def orders(**more):
    return tap_files({"stream": "orders", "path": "orders/*.csv", **more})


def test_rows_arrive_with_their_types_and_their_file(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    ended = place.load(orders(), to_duckdb())

    assert place.types("orders") == {
        "id": "BIGINT",
        "amount": "DECIMAL(18,2)",
        "day": "DATE",
        "_eltsite_file": "VARCHAR",
    }
    assert place.query("SELECT id, amount::VARCHAR, day::VARCHAR, _eltsite_file FROM shop.orders ORDER BY id") == [
        (1, "10.50", "2024-01-05", "orders/january.csv"),
        (2, "7.00", "2024-01-06", "orders/january.csv"),
    ]
    done = ended.stream("orders")
    assert (done["rows_read"], done["rows_written"], done["inserted"], done["verified"]) == (2, 2, 2, True)
    assert (done["table"], done["mode"]) == ("orders", "append")


def test_a_second_run_skips_unchanged_files(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    second = place.load(orders(), to_duckdb(), **first.state)

    assert second.stream("orders")["rows_read"] == 0
    assert "1 of 1 files are unchanged and skipped" in second.log
    assert place.query("SELECT count(*) FROM shop.orders") == [(2,)]


def test_a_file_whose_time_alone_changed_is_skipped(place: Workspace):
    path = place.write("orders/january.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    os.utime(path, (1, 1))

    assert place.load(orders(), to_duckdb(), **first.state).stream("orders")["rows_read"] == 0


def test_one_file_added_and_one_changed_are_exactly_what_is_read(place: Workspace):
    for month in ("january", "february", "march"):
        place.write(f"orders/{month}.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    place.write("orders/february.csv", "id,amount,day\n9,1.25,2024-02-01\n")
    place.write("orders/april.csv", "id,amount,day\n10,2.25,2024-04-01\n11,3.25,2024-04-02\n")
    second = place.load(orders(), to_duckdb(), **first.state)

    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["deleted"]) == (3, 3, 2)
    assert place.query("SELECT _eltsite_file, count(*) FROM shop.orders GROUP BY 1 ORDER BY 1") == [
        ("orders/april.csv", 2),
        ("orders/february.csv", 1),
        ("orders/january.csv", 2),
        ("orders/march.csv", 2),
    ]


def test_a_vanished_files_rows_stay(place: Workspace):
    path = place.write("orders/january.csv", ORDERS)
    place.write("orders/february.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    path.unlink()
    place.load(orders(), to_duckdb(), **first.state)

    assert place.query("SELECT count(*) FROM shop.orders") == [(4,)]


def test_a_full_refresh_reads_all_and_doubles_nothing(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    second = place.load(orders(), to_duckdb(), full_refresh=True, **first.state)

    assert second.stream("orders")["rows_read"] == 2
    assert place.query("SELECT count(*) FROM shop.orders") == [(2,)]


def test_lost_state_is_found_in_the_store(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    place.load(orders(), to_duckdb())
    second = place.load(orders(), to_duckdb())

    assert second.stream("orders")["rows_read"] == 0
    assert "newer state" in second.log


def test_a_reset_state_wins_over_the_store(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    place.load(orders(), to_duckdb())
    second = place.load(orders(), to_duckdb(), state={}, epoch=1, sequence=0)

    assert second.stream("orders")["rows_read"] == 2
    assert place.query("SELECT count(*) FROM shop.orders") == [(2,)]
    assert second.state["epoch"] == 1


def test_a_dropped_table_is_loaded_in_full(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    first = place.load(orders(), to_duckdb())
    with duckdb.connect(str(place.folder / "warehouse.duckdb")) as connection:
        connection.execute("DROP TABLE shop.orders")
    second = place.load(orders(), to_duckdb(), **first.state)

    assert second.stream("orders")["rows_read"] == 2
    assert "does not exist" in second.log


def test_replace_holds_exactly_the_files_of_today(place: Workspace):
    path = place.write("orders/january.csv", ORDERS)
    place.write("orders/february.csv", ORDERS)
    first = place.load(orders(), to_duckdb("replace"))
    path.unlink()
    second = place.load(orders(), to_duckdb("replace"), **first.state)

    assert (second.stream("orders")["inserted"], second.stream("orders")["deleted"]) == (2, 4)
    assert place.query("SELECT count(*) FROM shop.orders") == [(2,)]


def test_merge_updates_by_key_and_the_last_read_wins(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1\n2,2\n2,3\n")
    first = place.load(orders(primary_keys=["id"]), to_duckdb("merge"))
    place.write("orders/2.csv", "id,amount\n2,20\n3,30\n3,31\n")
    second = place.load(orders(primary_keys=["id"]), to_duckdb("merge"), **first.state)

    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"], done["verified"]) == (3, 1, 1, True)
    assert place.query("SELECT id, amount, _eltsite_file FROM shop.orders ORDER BY id") == [
        (1, 1, "orders/1.csv"),
        (2, 20, "orders/2.csv"),
        (3, 31, "orders/2.csv"),
    ]


def test_merge_keeps_the_columns_that_the_source_does_not_have(place: Workspace):
    place.write("orders/1.csv", "id,amount,note\n1,1,kept\n2,2,too\n")
    first = place.load(orders(primary_keys=["id"]), to_duckdb("merge"))
    place.write("orders/2.csv", "id,amount\n1,10\n")
    place.load(orders(primary_keys=["id"]), to_duckdb("merge"), **first.state)

    assert place.query("SELECT id, amount, note FROM shop.orders ORDER BY id") == [(1, 10, "kept"), (2, 2, "too")]


def test_a_null_key_is_refused_by_name(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1\n,2\n")
    error = place.move(orders(primary_keys=["id"]), to_duckdb("merge")).error

    assert error["code"] == "null-key"
    assert error["column"] == "id" and error["file"] == "orders/1.csv"
    assert place.query("SELECT count(*) FROM information_schema.tables WHERE table_name = 'orders'") == [(0,)]


def test_merge_without_a_key_is_refused(place: Workspace):
    place.write("orders/1.csv", ORDERS)
    assert place.move(orders(), to_duckdb("merge")).error["code"] == "key-missing"
    assert place.move(orders(primary_keys=["nope"]), to_duckdb("merge")).error["code"] == "column-missing"


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_arrives_alike(place: Workspace, ending: str, packed: bool):
    rows = "SELECT 1 AS id, 'a\"b,c' AS name, 1.25::DECIMAL(18,2) AS amount UNION ALL SELECT 2, NULL, 3"
    options = {
        "csv": "FORMAT csv",
        "tsv": "FORMAT csv, DELIMITER '\t'",
        "jsonl": "FORMAT json",
        "parquet": "FORMAT parquet",
    }
    path = place.files / f"data.{ending}"
    duckdb.sql(f"COPY ({rows}) TO '{path}' ({options[ending]})")
    if packed and ending != "parquet":
        path.with_name(f"data.{ending}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    place.load(tap_files({"stream": "data", "path": "data.*"}), to_duckdb())

    assert place.query("SELECT id, name, amount::VARCHAR FROM shop.data ORDER BY id") == [
        (1, 'a"b,c', "1.25"),
        (2, None, "3.00"),
    ]


def test_columns_that_later_files_bring_are_added(place: Workspace):
    place.write("orders/1.csv", "id\n1\n")
    first = place.load(orders(), to_duckdb())
    place.write("orders/2.csv", "id,note\n2,new\n")
    second = place.load(orders(), to_duckdb(), **first.state)

    assert place.query("SELECT id, note FROM shop.orders ORDER BY id") == [(1, None), (2, "new")]
    assert "gets the new column note" in second.log


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("1", "2.25", "DECIMAL(21,2)"),
        ("1.5", "2.125", "DECIMAL(20,3)"),
        ("1.5", "1e300", "DOUBLE"),
        ("2024-01-01", "2024-01-01 10:00:00", "TIMESTAMP"),
        ("", "2024-01-01", "DATE"),
    ],
)
def test_types_are_widened_and_no_value_changes(place: Workspace, first: str, second: str, kind: str):
    place.write("orders/1.csv", f"id,value\n1,{first}\n")
    one = place.load(orders(), to_duckdb())
    place.write("orders/2.csv", f"id,value\n2,{second}\n")
    place.load(orders(), to_duckdb(), **one.state)

    assert place.types("orders")["value"] == kind
    expected = f"CAST({first!r} AS {kind})" if first else "NULL"
    same = f"SELECT count(*) FROM shop.orders WHERE (id = 1 AND value IS NOT DISTINCT FROM {expected})"
    assert place.query(f"{same} OR (id = 2 AND value = CAST({second!r} AS {kind}))") == [(2,)]


def test_a_type_that_only_text_would_widen_is_refused_by_name(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    one = place.load(orders(), to_duckdb())
    place.write("orders/2.csv", "id,amount\n2,11\n3,none\n")
    error = place.move(orders(), to_duckdb(), **one.state).error

    assert error["code"] == "column-narrows"
    assert (error["column"], error["stream"]) == ("amount", "orders")
    assert place.query("SELECT count(*) FROM shop.orders") == [(1,)]


def test_files_that_disagree_name_the_file_and_the_line(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    place.write("orders/2.csv", "id,amount\n2,11\n3,none\n")
    error = place.move(orders(), to_duckdb()).error

    assert error["code"] == "column-narrows"
    assert (error["file"], error["line"], error["column"]) == ("orders/2.csv", 3, "amount")


def test_text_is_allowed_where_the_setting_allows_it(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    one = place.load(orders(), to_duckdb())
    place.write("orders/2.csv", "id,amount\n2,none\n")
    extractor = orders()
    extractor["settings"]["allow_text_widening"] = True
    place.load(extractor, to_duckdb(), **one.state)

    assert place.query("SELECT amount FROM shop.orders ORDER BY id") == [("10",), ("none",)]


def test_a_wrong_guess_of_the_first_rows_is_mended(place: Workspace):
    lines = [f"{number},{number}" for number in range(30_000)]
    place.write("orders/1.csv", "\n".join(["id,amount", *lines, "30000,1.125"]) + "\n")
    ended = place.load(orders(), to_duckdb())

    assert "looking at all of them" in ended.log
    assert place.types("orders")["amount"] == "DECIMAL(18,3)"
    assert place.query("SELECT count(*), max(amount)::VARCHAR FROM shop.orders WHERE id = 30000") == [(1, "1.125")]


def test_streams_become_tables_and_collide_by_name(place: Workspace):
    place.write("a.csv", "id\n1\n")
    place.load(tap_files({"stream": "My-Orders.v1", "path": "a.csv"}), to_duckdb())
    assert place.query("SELECT count(*) FROM shop.my_orders_v1") == [(1,)]

    twice = tap_files({"stream": "a-b", "path": "a.csv"}, {"stream": "A.b", "path": "a.csv"})
    assert place.move(twice, to_duckdb()).error["code"] == "stream-name"


def test_only_the_wanted_streams_are_loaded(place: Workspace):
    place.write("a.csv", "id\n1\n")
    two = tap_files({"stream": "a", "path": "a.csv"}, {"stream": "b", "path": "a.csv"})
    place.load(two, to_duckdb(), streams=["b"])
    assert place.query("SELECT table_name FROM information_schema.tables WHERE table_name IN ('a', 'b')") == [("b",)]
    assert place.move(two, to_duckdb(), streams=["c"]).error["code"] == "stream-missing"


def test_streams_committed_before_a_failure_stay_and_their_state_is_said(place: Workspace):
    place.write("a.csv", "id\n1\n")
    ended = place.move(tap_files({"stream": "a", "path": "a.csv"}, {"stream": "b", "path": "b.csv"}), to_duckdb())
    assert ended.error["code"] == "file-missing"
    assert list(ended.state["state"]["bookmarks"]) == ["a"]
    assert place.query("SELECT count(*) FROM shop.a") == [(1,)]


def test_a_schema_may_bear_the_name_of_the_file(place: Workspace):
    place.write("orders/january.csv", ORDERS)
    for expected in (2, 0):
        ended = place.load(orders(), to_duckdb(schema="warehouse"))
        assert ended.stream("orders")["rows_written"] == expected

    assert place.query("SELECT count(*) FROM warehouse.warehouse.orders") == [(2,)]
