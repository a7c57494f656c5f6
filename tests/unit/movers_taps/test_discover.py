"""What a built-in extractor's source holds, and a few rows of it; and the checks of pipelines with connectors."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from jobs.engine.movers import discover, move, reading
from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb
from tests.unit.movers_taps.conftest import TARGET, run_verb, tap_sqlite

TAP = {"plugin": "tap-orchard", "name": "Orchard", "settings": {"token": "x"}}


def catalog(place: Workspace, extractor: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the discovered catalog, by stream."""
    ended = run_verb(place, "discover", {**place.spec(extractor, TARGET), "loader": None})
    assert ended.exit_code == 0, (ended.of("error"), ended.stderr)
    (event,) = ended.of("catalog")
    return {entry["tap_stream_id"]: entry for entry in event["streams"]}


def samples(place: Workspace, extractor: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The samples, by stream."""
    ended = run_verb(place, "sample", {**place.spec(extractor, TARGET), "loader": None})
    assert ended.exit_code == 0, (ended.of("error"), ended.stderr)
    return {event["stream"]: event for event in ended.of("sample")}


def fields(entry: dict[str, Any]) -> dict[str, str]:
    """The inclusion of each field of a catalog's entry."""
    return {m["breadcrumb"][1]: m["metadata"]["inclusion"] for m in entry["metadata"] if m["breadcrumb"]}


def test_a_catalog_has_schema_keys_and_metadata(place: Workspace, server: Server) -> None:
    server.run("CREATE TABLE orders (id bigint, price numeric(9,2), changed timestamp)")
    entry = {"table": "orders", "primary_keys": ["id"]}
    incremental = {"replication_method": "INCREMENTAL", "replication_key": "changed"}
    found = catalog(place, server.tap({**entry, **incremental}, {"stream": "q", "query": "SELECT 1 AS one;"}))
    orders = found["orders"]
    assert orders["stream"] == "orders"
    assert orders["schema"]["properties"]["price"] == {"type": ["null", "number"], "multipleOf": 0.01}
    assert orders["key_properties"] == ["id"]
    assert fields(orders) == {"id": "automatic", "price": "available", "changed": "automatic"}
    (root,) = [m["metadata"] for m in orders["metadata"] if not m["breadcrumb"]]
    assert root == {
        **{"inclusion": "available", "selected": True, "table-key-properties": ["id"]},
        **{"forced-replication-method": "INCREMENTAL", "replication-key": "changed"},
        "valid-replication-keys": ["changed"],
    }
    assert fields(found["q"]) == {"one": "available"}


def test_a_sample_is_a_few_rows_as_short_texts(place: Workspace, server: Server) -> None:
    server.run(
        "CREATE TABLE t AS SELECT n AS id, NULL::text AS none, repeat('é', 300) AS long FROM generate_series(1, 99) n"
    )
    found = samples(place, server.tap({"table": "t", "replication_method": "INCREMENTAL", "replication_key": "id"}))
    assert found["t"]["columns"] == ["id", "none", "long"]
    assert len(found["t"]["rows"]) == 10
    assert found["t"]["rows"][0] == ["1", None, "é" * 200]


def test_a_sample_of_large_values_takes_them_all(place: Workspace, server: Server) -> None:
    server.run("CREATE TABLE t AS SELECT repeat('x', 3000000) AS long FROM generate_series(1, 20)")
    assert samples(place, server.tap({"table": "t"}))["t"]["rows"] == [["x" * 200]] * 10


def test_a_database_that_gives_more_rows_than_are_shown_is_read_to_its_end(place: Workspace, server: Server) -> None:
    """A pipe that is not read to its end would be the database's failure."""
    server.run("CREATE TABLE t AS SELECT n AS id, repeat('x', 3000000) AS long FROM generate_series(1, 20) n")
    spec = place.spec(server.tap({"table": "t"}), TARGET)
    reader = move.make_reader(spec)
    (stream,) = reader.streams()
    with (
        closing(reading.engine_of(spec)) as engine,
        reader.open(stream, engine=engine, bookmark={}, method="append", careful=False) as source,
    ):
        (part,) = source.parts
        rows = discover._rows_of(part, source.columns, {"id": "BIGINT", "long": "VARCHAR"}, engine, count=2)
    assert rows == [["1", "x" * 200], ["2", "x" * 200]]


def test_samples_of_files_come_from_the_first_that_have_rows(place: Workspace) -> None:
    place.write("1.csv", "id,at\n")
    place.write("2.csv", "id,at\n" + "".join(f"{n},2024-01-0{n}\n" for n in range(1, 5)))
    place.write("3.csv", "id,at\n" + "9,2024-02-01\n" * 50_000)
    rows = samples(place, tap_files({"stream": "a", "path": "*.csv"}))["a"]["rows"]
    assert [row[0] for row in rows] == [*"1234", *"999999"]
    assert rows[0] == ["1", "2024-01-01", "2.csv"]


def test_samples_hold_nested_values_and_come_though_later_rows_are_of_another_type(place: Workspace) -> None:
    place.write("a.jsonl", '{"id": 1, "o": {"k": [1, null]}}\n' * 30_000 + '{"id": "x"}\n')
    place.write("b.csv", "n\n" + "1\n" * 25_000 + "x\n")
    duckdb.sql(f"COPY (SELECT [1, 2] AS l, {{'a': 'x'}} AS o, '\\xAA'::BLOB AS b) TO '{place.files}/c.parquet'")
    streams = [{"stream": path[0], "path": path} for path in ("a.jsonl", "b.csv", "c.parquet")]
    found = samples(place, tap_files(*streams))
    assert found["a"]["rows"] == [["1", '{"k":[1,null]}', "a.jsonl"]] * 10
    assert found["b"]["rows"] == [["1", "b.csv"]] * 10
    assert found["c"]["rows"] == [["[1,2]", '{"a":"x"}', "\\xAA", "c.parquet"]]


def test_sqlite_is_looked_at_too_and_keeps_its_declared_types(place: Workspace, sqlite_file: Path) -> None:
    with closing(sqlite3.connect(sqlite_file)) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER, at TIMESTAMP)")
        connection.executemany("INSERT INTO t VALUES (?, '2024-01-01 10:00:00')", [(n,) for n in range(50)])
    extractor = tap_sqlite(
        {"table": "t", "columns": ["at"], "replication_method": "INCREMENTAL", "replication_key": "id"}
    )
    assert catalog(place, extractor)["t"]["schema"]["properties"]["at"]["format"] == "date-time"
    found = samples(place, extractor)["t"]
    assert (found["columns"], len(found["rows"])) == (["id", "at"], 10)


def test_a_stream_that_fails_leaves_the_others_their_samples(place: Workspace) -> None:
    place.write("b.csv", "id\n1\n")
    extractor = tap_files({"stream": "a", "path": "none.csv"}, {"stream": "b", "path": "b.csv"})
    ended = run_verb(place, "sample", place.spec(extractor, TARGET))
    assert ended.error["code"] == "file-missing"
    assert [event["stream"] for event in ended.of("sample")] == ["b"]
    ended = run_verb(place, "discover", place.spec(extractor, TARGET))
    assert ended.error["code"] == "file-missing"
    assert [entry["stream"] for entry in ended.of("catalog")[0]["streams"]] == ["b"]


def test_looking_makes_no_store_and_leaves_no_file(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    samples(place, tap_files({"stream": "a", "path": "a.csv"}))
    catalog(place, tap_files({"stream": "a", "path": "a.csv"}))
    assert sorted(path.name for path in place.folder.rglob("*")) == ["1", "a.csv", "files", "runs"]


def checks(place: Workspace, verb: str, extractor: Any, loader: Any, **more: Any) -> dict[str, Any]:
    """Which checks are made of two ends, and whether they are fine."""
    ended = run_verb(place, verb, {**place.spec({}, {}), "extractor": extractor, "loader": loader, **more})
    assert ended.exit_code == 0, ended.of("error")
    return {event["name"]: event.get("ok") for event in ended.of("check")}


def test_a_connector_at_an_end_leaves_the_other_its_checks(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    ours = tap_files({"stream": "a", "path": "a.csv"})
    models = [{"path": "models/m.sql", "sql": "SELECT 1 AS one"}]
    assert checks(place, "check", ours, TARGET) == dict.fromkeys(["Extractor", "Stream a", "Tables"], True)
    found = checks(place, "check", TAP, to_duckdb("merge"), models=models)
    assert found == dict.fromkeys(["Loader", "Place of the rows", "Load method", "SQL models"], True)
    assert checks(place, "check", TAP, TARGET) == {}


def test_a_connector_named_like_one_of_ours_is_a_connector_by_its_full_name(place: Workspace) -> None:
    other = {"plugin": "loaders/target-duckdb--jwills", "name": "Lake", "settings": {"filepath": "x"}}
    assert checks(place, "check", TAP, other) == {}
    assert "Loader" in checks(place, "check", TAP, to_duckdb())


def test_a_component_is_tested_by_itself(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    ours = tap_files({"stream": "a", "path": "a.csv"})
    assert set(checks(place, "test", ours, None)) == {"Settings of the extractor", "Stream a"}
    assert set(checks(place, "test", ours, TARGET)) == {"Settings of the extractor", "Stream a"}
    found = checks(place, "test", None, to_duckdb())
    assert found == dict.fromkeys(["Settings of the loader", "Warehouse", "Open the warehouse", "Make a table"], True)
    assert checks(place, "test", TAP, to_duckdb()) == found
