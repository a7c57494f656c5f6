"""The rows of targets' tables: counted before and after a run, keys looked for, and never held open."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.movers.conftest import ROOT, Server, Workspace
from tests.unit.movers_taps.conftest import run_verb

DUCKDB = {"kind": "duckdb", "path": "{filepath}", "schema": "{default_target_schema}", "table": "{stream}"}
POSTGRES = {
    **{name: f"{{{name}}}" for name in ("host", "port", "user", "password", "database")},
    **{"kind": "postgresql", "schema": "{default_target_schema}", "table": "{stream_table}"},
}


@dataclass
class Counter:
    """The long-lived verb count, as a run talks with it."""

    process: subprocess.Popen[str]

    def hear(self) -> dict[str, Any]:
        """Its next answer; log lines are skipped."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] != "log":
                return event
        raise AssertionError("it ended")

    def ask(self, when: str, *streams: str, **keys: Any) -> dict[str, Any]:
        """The tables it counts."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"count": when, "streams": streams, "keys": keys}) + "\n")
        self.process.stdin.flush()
        answer = self.hear()
        assert (answer["event"], answer["when"]) == ("counted", when)
        return answer["tables"]

    def end(self) -> int:
        """How it ends when there is nothing more to hear."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.hear()["event"] == "result"
        return self.process.wait(timeout=10)


@pytest.fixture
def counter(place: Workspace) -> Iterator[Any]:
    """Starts counters of a store with a target's settings."""
    started: list[subprocess.Popen[str]] = []

    def start(store: dict[str, Any], **settings: Any) -> Counter:
        loader = {"plugin": "target-orchard", "name": "Orchard", "settings": settings}
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.engine.movers", "count", "--folder", str(place.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps({**place.spec({}, loader), "extractor": None, "store": store}) + "\n")
        process.stdin.flush()
        found = Counter(process)
        assert found.hear() == {"event": "counted", "when": "ready", "tables": {}}
        return found

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)


def keys(*values: Any, columns: tuple[str, ...] = ("id",)) -> dict[str, Any]:
    """Keys to look for."""
    return {"columns": columns, "samples": [value if isinstance(value, list) else [value] for value in values]}


def test_a_duckdb_file_is_counted_before_and_after_and_free_in_between(place: Workspace, counter: Any) -> None:
    path = place.files / "w.duckdb"
    with duckdb.connect(str(path)) as store:
        store.execute("CREATE SCHEMA lake; CREATE TABLE lake.orders AS SELECT range AS id FROM range(5)")
    found = counter(DUCKDB, filepath="w.duckdb", default_target_schema="lake")
    with duckdb.connect(str(path)) as store:  # as a target that opens it at once, and lets nobody else in
        assert found.ask("before", "orders", "new") == {
            "orders": {"rows": 5, "exists": True},
            "new": {"rows": 0, "exists": False},
        }
        store.execute("INSERT INTO lake.orders VALUES (7), (8); CREATE TABLE lake.new (k VARCHAR, n INTEGER)")
        store.execute("INSERT INTO lake.new VALUES ('a', 1)")
    wanted = {"orders": keys(7, 9, 8, 10), "new": keys(["a", 1], ["a", 2], columns=("K", "n"))}
    assert found.ask("after", "orders", "new", "none", **wanted) == {
        "orders": {"rows": 7, "exists": True, "missing": [[9], [10]]},
        "new": {"rows": 1, "exists": True, "missing": [["a", 2]]},
        "none": {"rows": 0, "exists": False},
    }
    assert found.end() == 0


def test_a_duckdb_file_that_is_not_there_yet_has_no_rows(place: Workspace, counter: Any) -> None:
    found = counter({**DUCKDB, "schema": ""}, filepath="w.duckdb")
    assert found.ask("before", "orders") == {"orders": {"rows": 0, "exists": False}}
    with duckdb.connect(str(place.files / "w.duckdb")) as store:
        store.execute("CREATE TABLE Orders AS SELECT 1 AS id")
    assert found.ask("after", "orders") == {"orders": {"rows": 1, "exists": True}}


def test_a_file_that_is_no_database_is_not_counted_and_says_why(place: Workspace, counter: Any) -> None:
    place.write("w.duckdb", "this is no database, and longer than its head would be")
    found = counter(DUCKDB, filepath="w.duckdb")
    table = found.ask("after", "orders")["orders"]
    assert table["rows"] is None
    assert "w.duckdb" in table["why"]
    assert found.end() == 0


def test_keys_whose_text_a_target_may_change_are_not_looked_for(place: Workspace, counter: Any) -> None:
    with duckdb.connect(str(place.files / "w.duckdb")) as store:
        store.execute(
            "CREATE TABLE t AS SELECT TIMESTAMP '2024-01-01' AS at, 0.5::DOUBLE AS d, 'x' AS s,"
            " '6f9619ff-8b86-d011-b42d-00c04fc964ff'::UUID AS u, 1::DECIMAL(9,2) AS n"
        )
    found = counter(DUCKDB, filepath="w.duckdb", default_target_schema="main")

    def missing(column: str, *values: Any) -> Any:
        return found.ask("after", "t", t=keys(*values, columns=(column,)))["t"].get("missing")

    assert [missing("at", "2025-01-01T00:00:00Z"), missing("d", 0.75), missing("gone", 1)] == [None, None, None]
    assert missing("s", "2025-01-01T00:00:00Z", None, True, "a\x00") is None
    assert missing("s", "x", "y") == [["y"]]
    assert missing("u", "6F9619FF-8B86-D011-B42D-00C04FC964FF", "0") == [["0"]]
    assert missing("n", 1, "1", 2, 1.5, "z") == [[2]]


def test_a_postgresql_table_is_counted_and_its_keys_looked_for(server: Server, counter: Any) -> None:
    server.run('CREATE SCHEMA "Lake"')
    server.run('CREATE TABLE "Lake".shop_orders ("50%" integer, name varchar(9), PRIMARY KEY ("50%", name))')
    settings = {**server.settings, "port": str(server.settings["port"]), "default_target_schema": "lake"}
    found = counter(POSTGRES, **settings)
    assert found.ask("before", "shop-orders", "b") == {
        "shop-orders": {"rows": 0, "exists": True},
        "b": {"rows": 0, "exists": False},
    }
    server.run("""INSERT INTO "Lake".shop_orders VALUES (1, 'x'), (2, 'y')""")
    wanted = {"shop-orders": keys([1, "x"], [2, "x"], ["3", "y"], columns=("50%", "name"))}
    assert found.ask("after", "shop-orders", **wanted) == {
        "shop-orders": {"rows": 2, "exists": True, "missing": [[2, "x"], ["3", "y"]]}
    }
    assert found.end() == 0


def test_a_server_that_cannot_be_reached_says_why(counter: Any) -> None:
    found = counter(POSTGRES, host="127.0.0.1", port="1", user="u", database="d")
    table = found.ask("before", "a")["a"]
    assert table["rows"] is None
    assert "cannot be reached" in table["why"]


def test_lines_of_jsonl_files_are_counted_by_pattern(place: Workspace, counter: Any) -> None:
    found = counter({"kind": "jsonl", "path": "{destination_path}/{stream}-*.jsonl"}, destination_path="out[1]")
    assert found.ask("before", "orders") == {"orders": {"rows": 0, "exists": False}}
    place.write("out[1]/orders-1.jsonl", '{"id": 1}\n{"id": 2}\n')
    place.write("out[1]/orders-2.jsonl", '{"id": 3}\n{"id": 4}')
    place.write("out[1]/items-1.jsonl", '{"id": 5}\n')
    assert found.ask("after", "orders", orders=keys(9)) == {"orders": {"rows": 4, "exists": True}}


def test_csv_records_are_counted_across_line_ends_and_quotes(place: Workspace, counter: Any) -> None:
    text = 'id,note\r\n1,"two\nlines, and a "" quote"\r\n2,""\r\n3,plain'
    place.write("a.csv", text)
    place.write("b.csv.gz", gzip.compress(text.encode()))
    place.write("large.csv", "id,t\n" + '1,"x\n\n"\n' * 400_000)
    path = {"kind": "csv", "path": "{folder}/{stream_lower}.csv{ending}"}
    found = counter({**path, "header": True})
    assert found.ask("after", "A", "large") == {
        "A": {"rows": 3, "exists": True},
        "large": {"rows": 400_000, "exists": True},
    }
    assert counter({**path, "header": "{header}"}, header=False).ask("after", "a")["a"]["rows"] == 4
    assert counter({**path, "header": "true"}, ending=".gz").ask("after", "b")["b"]["rows"] == 3


def test_files_outside_the_allowed_folders_are_not_counted(place: Workspace, counter: Any, tmp_path: Path) -> None:
    found = counter({"kind": "jsonl", "path": "{folder}/{stream}.jsonl"}, folder="/etc")
    table = found.ask("before", "a")["a"]
    assert table["rows"] is None
    assert "outside the allowed folders" in table["why"]


def test_a_store_of_an_unknown_kind_is_not_counted(counter: Any) -> None:
    found = counter({"kind": "orchard"})
    assert found.ask("before", "a") == {
        "a": {"rows": None, "exists": None, "why": "stores of the kind orchard are not counted"}
    }


def test_without_a_question_it_ends_with_a_result(place: Workspace) -> None:
    spec = {**place.spec({}, {"plugin": "t", "name": "T", "settings": {}}), "store": {"kind": "csv"}}
    ended = run_verb(place, "count", spec)
    assert (ended.exit_code, ended.of("result")) == (0, [{"event": "result", "answers": 0}])


def test_counting_files_imports_no_database(place: Workspace) -> None:
    code = (
        "import sys; from jobs.engine.movers import count, count_files;"
        " sys.exit(len({'duckdb', 'psycopg', 'pyarrow'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
