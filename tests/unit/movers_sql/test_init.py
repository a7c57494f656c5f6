"""A workspace's warehouse is made once."""

from __future__ import annotations

import duckdb

from tests.unit.movers_sql.conftest import Place


def test_init_makes_the_warehouse_its_schema_and_a_snapshot_in_the_old_storage_format(place: Place) -> None:
    ended = place.run("init")
    assert ended.exit_code == 0, ended.events
    (result,) = ended.of("result")
    assert (result["created"], result["snapshot"]) == (True, True)
    with duckdb.connect(str(place.folder / "warehouse.duckdb.snapshot"), read_only=True) as connection:
        schemas = connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal").fetchall()
        assert ("shop",) in schemas
        assert connection.execute("SELECT count(*) FROM shop._eltsite_loads").fetchall() == [(0,)]
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
        assert tags[0][0]["storage_version"].startswith("v1.0.0")


def test_a_second_init_keeps_what_is_there(place: Place) -> None:
    place.run("init")
    place.query("CREATE TABLE shop.kept AS SELECT 1 AS one")
    ended = place.run("init")
    assert ended.exit_code == 0
    assert ended.of("result")[0]["created"] is False
    assert place.query("SELECT one FROM shop.kept") == [(1,)]


def test_a_warehouse_outside_the_allowed_folders_is_refused(place: Place) -> None:
    place.spec["loader"]["settings"]["path"] = "../elsewhere.duckdb"
    ended = place.run("init")
    assert ended.error["code"] == "path-outside"
    assert not (place.folder.parent / "elsewhere.duckdb").exists()
