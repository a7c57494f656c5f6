"""What a built-in extractor says as a Singer tap: which messages in which order, and where it goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from tests.unit.movers.conftest import Server, Workspace, events_of, tap_files, to_duckdb
from tests.unit.movers_taps.conftest import TARGET, read, start, tap, tap_sqlite


def orders(*, key: bool = True, incremental: bool = False) -> dict[str, Any]:
    """A table of the SQLite file."""
    entry: dict[str, Any] = {"table": "orders", **({"primary_keys": ["id"]} if key else {})}
    if incremental:
        entry |= {"replication_method": "INCREMENTAL", "replication_key": "changed"}
    return entry


def fill(path: Path, *rows: tuple[int, int]) -> None:
    """Rows of (id, changed) into the table orders."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER, changed INTEGER)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", rows)


def test_each_stream_is_a_schema_its_records_and_then_the_state_of_all(place: Workspace) -> None:
    place.write("a.csv", "ID,name\n1,Ann\n2,Bob\n")
    place.write("b.csv", "x\n")
    files = [{"stream": "Ä-a", "path": "a.csv", "primary_keys": ["id"]}, {"stream": "b", "path": "b.csv"}]
    state = {"bookmarks": {"old": {"replication_key": "x", "value": "7"}}}
    said = read(place, tap_files(*files), state=state)
    assert said.kinds == ["SCHEMA Ä-a", "RECORD Ä-a", "STATE", "SCHEMA b", "STATE"]
    assert said.schema("Ä-a")["key_properties"] == ["ID"]
    assert said.schema("Ä-a")["bookmark_properties"] == []
    first, last = (m["value"]["bookmarks"] for m in said.messages if m["type"] == "STATE")
    assert (sorted(first), sorted(last)) == (["old", "Ä-a"], ["b", "old", "Ä-a"])
    assert said.stream("Ä-a")["bytes"] > 0
    assert "2 rows read" in said.log


def test_a_pipeline_may_change_between_the_tap_and_the_built_in_loader(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    extractor = tap_files({"stream": "a", "path": "*.csv"})
    moved = place.load(extractor, to_duckdb())
    said = read(place, extractor, state=moved.state["state"])
    assert (said.records("a"), said.last_state) == ([], moved.state["state"])
    place.write("b.csv", "id\n2\n")
    said = read(place, extractor, state=said.last_state)
    assert [record["id"] for record in said.records("a")] == [2]
    moved = place.load(extractor, to_duckdb(), state=said.last_state, epoch=moved.state["epoch"], sequence=99)
    assert place.query("SELECT count(*) FROM shop.a") == [(1,)]


def test_with_a_key_rows_that_tie_with_the_bookmark_come_again_and_without_one_they_do_not(
    place: Workspace, sqlite_file: Path
) -> None:
    fill(sqlite_file, (1, 10), (2, 20))
    said = read(place, tap_sqlite(orders(incremental=True)))
    assert said.schema("orders")["bookmark_properties"] == ["changed"]
    state = said.last_state
    assert state == {"bookmarks": {"orders": {"replication_key": "changed", "value": "20"}}}
    fill(sqlite_file, (3, 20), (4, 30))

    def ids(entry: dict[str, Any], **more: Any) -> list[int]:
        return [record["id"] for record in read(place, tap_sqlite(entry), state=state, **more).records("orders")]

    assert ids(orders(incremental=True)) == [2, 3, 4]
    assert ids(orders(incremental=True, key=False)) == [4]
    assert ids(orders(incremental=True), store={"kind": "jsonl"}) == [4]
    assert ids(orders(incremental=True), full_refresh=True) == [1, 2, 3, 4]
    replacing = {**TARGET, "settings": {"load_method": "overwrite"}}
    assert ids(orders(incremental=True), loader=replacing) == [1, 2, 3, 4]


def test_nothing_new_still_has_schema_and_state(place: Workspace, sqlite_file: Path) -> None:
    fill(sqlite_file, (1, 10))
    entry = orders(incremental=True, key=False)
    state = read(place, tap_sqlite(entry)).last_state
    said = read(place, tap_sqlite(entry), state=state)
    assert said.kinds == ["SCHEMA orders", "STATE"]
    assert said.last_state == state


def test_a_changed_file_without_a_key_is_sent_again_with_a_warning(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    extractor = tap_files({"stream": "a", "path": "*.csv"})
    state = read(place, extractor).last_state
    place.write("a.csv", "id\n1\n2\n")
    said = read(place, extractor, state=state)
    assert len(said.records("a")) == 2
    assert "a.csv changed and is read again" in said.log


def test_later_rows_of_another_type_are_known_before_the_first_is_sent(place: Workspace) -> None:
    place.write("a.csv", "n\n" + "1\n" * 25_000 + "x1\n")
    said = read(place, tap_files({"stream": "a", "path": "a.csv"}))
    assert said.properties("a")["n"]["type"] == ["null", "string"]
    assert len(said.records("a")) == 25_001


def test_a_file_without_a_column_of_the_stream_has_null_in_it(place: Workspace) -> None:
    place.write("1.csv", "id,name\n1,Ann\n")
    place.write("2.csv", "id,age\n2,40\n")
    said = read(place, tap_files({"stream": "a", "path": "*.csv"}))
    rows = [(record["id"], record["name"], record["age"]) for record in said.records("a")]
    assert rows == [(1, "Ann", None), (2, None, 40)]


def test_a_failure_is_named_after_the_state_of_the_streams_before_it(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    said = tap(place, tap_files({"stream": "a", "path": "a.csv"}, {"stream": "b", "path": "none.csv"}))
    assert said.error["code"] == "file-missing"
    assert said.kinds == ["SCHEMA a", "RECORD a", "STATE"]
    assert sorted(said.last_state["bookmarks"]) == ["a"]


def test_rows_before_a_broken_line_have_no_state(place: Workspace) -> None:
    place.write("a.csv", "id,name\n" + "1,x\n" * 50_000 + '2,"open\n')
    said = tap(place, tap_files({"stream": "a", "path": "a.csv"}))
    assert said.error["code"] == "csv-line"
    assert "STATE" not in said.kinds


def test_wrong_keys_names_and_plugins_are_named(place: Workspace) -> None:
    place.write("a.csv", "id\n1\n")
    entry = {"stream": "a", "path": "a.csv"}
    assert tap(place, tap_files({**entry, "primary_keys": ["no"]})).error["code"] == "column-missing"
    assert tap(place, tap_files(entry, entry)).error["code"] == "stream-name"
    assert tap(place, tap_files()).error["code"] == "no-streams"
    assert tap(place, tap_files(entry), streams=["b"]).error["code"] == "stream-missing"
    assert tap(place, {**tap_files(entry), "plugin": "tap-orchard"}).error["code"] == "plugin-unknown"


def test_a_reader_that_is_gone_ends_the_tap_quietly(place: Workspace, server: Server) -> None:
    duckdb.sql(f"COPY (SELECT range AS id, repeat('x', 100) AS t FROM range(200000)) TO '{place.files}/a.csv'")
    server.run("CREATE TABLE a AS SELECT n AS id, repeat('x', 100) AS t FROM generate_series(1, 200000) AS n")
    for extractor in (tap_files({"stream": "a", "path": "a.csv"}), server.tap({"table": "a"})):
        with open(place.folder / "events", "w+", encoding="utf-8") as events:
            spec = place.spec(extractor, TARGET)
            process = start(place, "singer_tap", spec, stdout=subprocess.PIPE, events=events)
            assert process.stdout is not None
            assert process.stdout.read(1000)
            process.stdout.close()
            process.stdout = None
            _, stderr = process.communicate(timeout=60)
            events.seek(0)
            said = events_of(events.read())
        assert (process.returncode, stderr) == (1, b"")
        assert [event for event in said if event["event"] in ("error", "result")] == []


def test_many_rows_come_through_whole_and_once(place: Workspace) -> None:
    rows = "SELECT range AS id, hash(range)::VARCHAR AS h, (range % 1000)::DECIMAL(9, 3) / 8 AS d FROM range(300000)"
    duckdb.sql(f"COPY (SELECT id, h, d::DECIMAL(9, 3) AS d FROM ({rows})) TO '{place.files}/a.parquet'")
    out = place.folder / "out.jsonl"
    with open(place.folder / "events", "w+", encoding="utf-8") as events, open(out, "wb") as stdout:
        spec = place.spec(tap_files({"stream": "a", "path": "a.parquet", "primary_keys": ["id"]}), TARGET)
        assert start(place, "singer_tap", spec, stdout=stdout, events=events).wait(timeout=120) == 0
        events.seek(0)
        (done,) = [event for event in events_of(events.read()) if event.get("done")]
    assert done["rows_read"] == 300_000
    assert out.read_bytes().count(b'\n{"type":"RECORD"') == 300_000
    shape = "columns = {type: 'VARCHAR', record: 'STRUCT(id BIGINT, h VARCHAR, d DECIMAL(9, 3))'}"
    sent = f"(SELECT record.* FROM read_json('{out}', format = 'newline_delimited', {shape}) WHERE type = 'RECORD')"
    facts = "SELECT count(*), count(DISTINCT id), sum(hash(id, h, d)) FROM"
    assert duckdb.sql(f"{facts} {sent}").fetchall() == duckdb.sql(f"{facts} '{place.files}/a.parquet'").fetchall()
    assert os.path.getsize(out) > done["bytes"] > 0
