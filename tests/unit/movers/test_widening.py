"""A table's columns grow with what comes: wider types, more columns, never a changed value."""

from __future__ import annotations

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb, to_files


def readings(**settings):
    return tap_files({"stream": "readings", "path": "*.*"}, **settings)


def parquet(place: Workspace, name: str, columns: str) -> None:
    duckdb.sql(f"COPY (SELECT {columns}) TO '{place.files / name}' (FORMAT parquet)")


@pytest.mark.parametrize(
    ("first", "second", "kind", "values"),
    [
        ("1::INTEGER", "9000000000::BIGINT", "BIGINT", ["1", "9000000000"]),
        ("255::UTINYINT", "-1::TINYINT", "SMALLINT", ["255", "-1"]),
        ("18446744073709551615::UBIGINT", "-1::BIGINT", "HUGEINT", ["18446744073709551615", "-1"]),
        ("9000000000::BIGINT", "0.25::DECIMAL(4,2)", "DECIMAL(21,2)", ["9000000000.00", "0.25"]),
        ("0.25::DECIMAL(4,2)", "1e300::DOUBLE", "DOUBLE", ["0.25", "1e+300"]),
        ("1::INTEGER", "0.5::FLOAT", "DOUBLE", ["1.0", "0.5"]),
        (
            "DATE '2024-02-29'",
            "TIMESTAMP '2024-03-01 10:00:00'",
            "TIMESTAMP",
            ["2024-02-29 00:00:00", "2024-03-01 10:00:00"],
        ),
    ],
)
def test_the_tables_column_takes_the_type_that_holds_both(
    place: Workspace, first: str, second: str, kind: str, values: list[str]
):
    parquet(place, "1.parquet", f"1 AS id, {first} AS value")
    one = place.load(readings(), to_duckdb())
    parquet(place, "2.parquet", f"2 AS id, {second} AS value")
    two = place.load(readings(), to_duckdb(), **one.state)

    assert place.types("readings")["value"] == kind
    assert place.query("SELECT value::VARCHAR FROM shop.readings ORDER BY id") == [(value,) for value in values]
    assert "column value is widened from" in two.log


@pytest.mark.parametrize("order", [("1.parquet", "2.parquet"), ("2.parquet", "1.parquet")])
def test_files_of_one_run_agree_on_the_wider_type_in_either_order(place: Workspace, order: tuple[str, str]):
    parquet(place, order[0], "1 AS id, 7::INTEGER AS value")
    parquet(place, order[1], "2 AS id, 7.25::DECIMAL(4,2) AS value")
    place.load(readings(), to_duckdb())

    assert place.types("readings")["value"] == "DECIMAL(12,2)"
    assert place.query("SELECT value::VARCHAR FROM shop.readings ORDER BY id") == [("7.00",), ("7.25",)]


def test_a_refusal_names_stream_column_file_and_both_types(place: Workspace):
    parquet(place, "1.parquet", "1 AS id, 7::INTEGER AS value")
    parquet(place, "2.parquet", "2 AS id, 'seven' AS value")
    error = place.move(readings(), to_duckdb()).error

    assert (error["code"], error["stream"], error["column"]) == ("column-narrows", "readings", "value")
    assert error["file"] == "2.parquet"
    assert "INTEGER" in error["headline"] and "VARCHAR" in error["headline"]


@pytest.mark.parametrize("to", ["duckdb", "postgres", "files"])
def test_a_refusal_by_the_table_names_stream_column_file_and_both_types(place: Workspace, server: Server, to: str):
    loader = {"duckdb": to_duckdb(), "postgres": server.target(), "files": to_files()}[to]
    parquet(place, "1.parquet", "1 AS id, 7::INTEGER AS value")
    one = place.load(readings(), loader)
    parquet(place, "2.parquet", "2 AS id, 8::INTEGER AS value")
    parquet(place, "3.parquet", "3 AS id, DATE '2024-01-01' AS value, 'x' AS more")
    (place.files / "2.parquet").unlink()
    error = place.move(readings(), loader, **one.state).error

    assert (error["code"], error["stream"], error["column"]) == ("column-narrows", "readings", "value")
    assert error["file"] == "3.parquet"
    assert "INTEGER" in error["headline"] and "DATE" in error["headline"]
    again = place.move(readings(allow_text_widening=True), loader, **one.state)
    assert again.exit_code == 0, again.of("error")


@pytest.mark.parametrize("to", ["duckdb", "postgres"])
def test_a_date_becomes_text_only_where_text_is_allowed_and_keeps_its_words(place: Workspace, server: Server, to: str):
    loader = {"duckdb": to_duckdb(), "postgres": server.target()}[to]
    place.write("1.csv", "id,day\n1,2024-01-05\n")
    one = place.load(readings(), loader)
    place.write("2.csv", "id,day\n2,soon\n")
    assert place.move(readings(), loader, **one.state).error["code"] == "column-narrows"

    place.load(readings(allow_text_widening=True), loader, **one.state)
    sql = "SELECT day FROM shop.readings ORDER BY id"
    assert (server.run(sql) if to == "postgres" else place.query(sql)) == [("2024-01-05",), ("soon",)]


def test_new_columns_are_added_and_missing_ones_are_null(place: Workspace):
    place.write("1.csv", "id,old\n1,kept\n")
    one = place.load(readings(), to_duckdb())
    place.write("2.csv", "ID,New\n2,1.5\n")
    two = place.load(readings(), to_duckdb(), **one.state)

    assert place.query("SELECT id, old, new FROM shop.readings ORDER BY id") == [(1, "kept", None), (2, None, 1.5)]
    assert list(place.types("readings")) == ["id", "old", "_eltsite_file", "New"]
    assert "gets the new column New" in two.log


def test_columns_without_values_take_the_type_of_the_first_that_have_one(place: Workspace):
    place.write("1.csv", "id,day\n1,\n")
    one = place.load(readings(), to_duckdb())
    place.write("2.csv", "id,day\n2,2024-02-29\n")
    two = place.load(readings(), to_duckdb(), **one.state)
    place.write("3.csv", "id,day\n3,\n")
    place.load(readings(), to_duckdb(), **two.state)

    assert place.types("readings")["day"] == "DATE"
    assert place.query("SELECT count(*), count(day) FROM shop.readings") == [(3, 1)]


@pytest.mark.parametrize("method", ["append", "merge"])
def test_large_integers_keep_their_digits_in_files(place: Workspace, method: str):
    """DuckDB itself would write them to Parquet as doubles."""
    tap = tap_files({"stream": "readings", "path": "*.parquet", "primary_keys": ["id"]})
    parquet(place, "1.parquet", "1 AS id, 18446744073709551615::UBIGINT AS value")
    parquet(place, "2.parquet", "2 AS id, -1::BIGINT AS value")
    one = place.load(tap, to_files(method))
    parquet(place, "3.parquet", "3 AS id, 18446744073709551614::UBIGINT AS value")
    place.load(tap, to_files(method), **one.state)

    rows = duckdb.sql(
        f"SELECT value::VARCHAR FROM read_parquet('{place.folder}/exports/readings/*.parquet', union_by_name = true)"
        " ORDER BY id"
    ).fetchall()
    assert rows == [("18446744073709551615",), ("-1",), ("18446744073709551614",)]


def test_intervals_keep_their_microseconds_in_files(place: Workspace):
    """Parquet's intervals end at milliseconds, so a file holds the text."""
    warehouse = place.files / "shop.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS id, INTERVAL '1 day 00:00:00.123' AS span) TO '{warehouse}' (FORMAT parquet)")
    place.load(tap_files({"stream": "readings", "path": "shop.parquet"}), to_files())
    rows = duckdb.sql(f"SELECT span FROM '{place.folder}/exports/readings/*.parquet'").fetchall()
    assert rows == [("1 day 00:00:00.123",)]
