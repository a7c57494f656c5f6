"""The copy that pages read: published when asked, and when a run fails with rows committed."""

from __future__ import annotations

from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb

SNAPSHOT = "warehouse.duckdb.snapshot"
A, B = {"stream": "a", "path": "a.csv"}, {"stream": "b", "path": "b.csv"}


def test_no_snapshot_is_published_unless_asked(place: Workspace):
    place.write("a.csv", "id\n1\n")
    place.load(tap_files(A), to_duckdb())
    assert not (place.folder / SNAPSHOT).exists()


def test_rows_committed_before_a_failure_are_published_for_no_later_step_will(place: Workspace):
    place.write("a.csv", "id\n1\n")
    place.write("b.csv", "id,more\n1\n")
    assert place.move(tap_files(A, B), to_duckdb()).error["code"] == "csv-line"
    assert place.query("SELECT count(*) FROM shop.a", SNAPSHOT) == [(1,)]
    assert place.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'b'", SNAPSHOT) == [(0,)]


def test_a_failure_without_a_commit_leaves_the_old_snapshot(place: Workspace):
    place.write("a.csv", "id\n1\n")
    first = place.load(tap_files(A), to_duckdb(), publish_snapshot=True)
    before = (place.folder / SNAPSHOT).stat()
    place.write("a.csv", "id\n1,2\n")
    place.move(tap_files(A), to_duckdb(), publish_snapshot=True, **first.state)
    assert (place.folder / SNAPSHOT).stat().st_ino == before.st_ino


def test_a_run_that_finds_nothing_new_leaves_the_snapshot_as_it_is(place: Workspace):
    place.write("a.csv", "id\n1\n")
    first = place.load(tap_files(A), to_duckdb(), publish_snapshot=True)
    before = (place.folder / SNAPSHOT).stat()
    place.load(tap_files(A), to_duckdb(), publish_snapshot=True, **first.state)
    assert (place.folder / SNAPSHOT).stat().st_ino == before.st_ino
