"""The check of a pipeline as it is written, by the real mover: no store is opened."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.unit.movers_sql.conftest import Place


@pytest.fixture
def shop(place: Place) -> Place:
    """A pipeline that is as it should be."""
    (place.folder / "files" / "shop").mkdir()
    (place.folder / "files" / "shop" / "a.csv").write_text("id\n1\n")
    (place.folder / "files" / "shop" / "b.csv").write_text("id\n2\n")
    files = [{"stream": "orders", "path": "shop/*.csv", "primary_keys": ["id"], "columns": {"id": "BIGINT"}}]
    place.spec["extractor"]["settings"] = {"files": files}
    place.models = {"m.sql": "select * from orders"}
    return place


def entry(place: Place) -> dict[str, Any]:
    """The one stream's settings."""
    return place.spec["extractor"]["settings"]["files"][0]


def test_a_sound_pipeline_passes_and_no_store_is_made(shop: Place) -> None:
    ended = shop.run("check")
    assert ended.exit_code == 0, ended.events
    assert set(ended.checks.values()) == {True}
    assert {"Extractor", "Loader", "Stream orders", "SQL models"} <= ended.checks.keys()
    assert "2 files, 10 bytes" in ended.log
    assert not (shop.folder / "warehouse.duckdb").exists()


def test_a_warehouse_in_use_does_not_disturb_the_check(shop: Place) -> None:
    with duckdb.connect(str(shop.folder / "warehouse.duckdb")):
        assert shop.run("check").exit_code == 0


def test_a_pattern_without_files_is_a_warning(shop: Place) -> None:
    entry(shop)["path"] = "shop/*.jsonl"
    ended = shop.run("check")
    assert ended.exit_code == 0
    assert ended.checks["Stream orders"] is None
    assert ended.of("result")[0]["warnings"] == 1


def test_all_checks_are_made_and_the_first_failure_names_the_others(shop: Place) -> None:
    entry(shop)["path"] = "../../secret.csv"
    shop.spec["loader"]["settings"]["path"] = "/etc/warehouse.duckdb"
    shop.models = {"m.sql": "delete from orders"}
    ended = shop.run("check")
    assert ended.exit_code == 1
    assert [name for name, ok in ended.checks.items() if ok is False] == [
        "Stream orders",
        "Place of the rows",
        "SQL models",
    ]
    assert ended.error["code"] == "path-outside"
    assert "models/m.sql is not one SELECT statement" in ended.error["reason"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"path": ""}, "setting-missing", "path"),
        ({"columns": {"id": "NUMBERS"}}, "type-unknown", "NUMBERS"),
    ],
)
def test_a_wrong_stream_is_named(shop: Place, change: dict[str, Any], code: str, words: str) -> None:
    entry(shop).update(change)
    error = shop.run("check").error
    assert error["code"] == code
    assert words in error["headline"]


def test_missing_ends_misplaced_plugins_and_missing_settings_are_named(shop: Place) -> None:
    assert shop.run("check", extractor=None).error["code"] == "end-missing"
    other = {"plugin": "target-files", "name": "Exports", "settings": {}}
    ended = shop.run("check", extractor=other)
    assert (ended.error["code"], ended.checks["Loader"]) == ("plugin-unknown", True)
    server = {"plugin": "target-postgres", "name": "Server", "settings": {"host": "db", "user": ""}}
    error = shop.run("check", loader=server).error
    assert error["headline"] == "Server: the settings user, database are missing"


def test_merge_without_a_primary_key_is_refused(shop: Place) -> None:
    shop.spec["loader"]["settings"]["load_method"] = "merge"
    assert shop.run("check").exit_code == 0
    entry(shop)["primary_keys"] = []
    assert shop.run("check").error["code"] == "primary-key-missing"


def test_a_file_that_is_no_duckdb_file_cannot_be_the_warehouse(shop: Place) -> None:
    (shop.folder / "warehouse.duckdb").write_text("this is not a database at all")
    assert shop.run("check").error["code"] == "store-unreadable"


def test_a_link_that_leads_out_of_the_folder_is_refused(shop: Place) -> None:
    outside = shop.folder.parent / "outside.csv"
    outside.write_text("id\n1\n")
    (shop.folder / "files" / "shop" / "c.csv").symlink_to(outside)
    assert shop.run("check").error["code"] == "path-outside"
    assert shop.run("check", allowed_folders=[str(shop.folder.parent)]).exit_code == 0


def test_incremental_without_a_key_is_refused(shop: Place) -> None:
    table = {"table": "orders", "replication_method": "INCREMENTAL"}
    source = {"dialect": "postgresql", "host": "db", "user": "u", "database": "d", "tables": [table]}
    ended = shop.run("check", extractor={"plugin": "tap-sql", "name": "Source", "settings": source})
    assert ended.error["headline"] == "Source, stream orders: the setting replication_key is missing"


def test_two_streams_of_one_table_and_a_model_named_like_a_stream_are_refused(shop: Place) -> None:
    shop.models = {"orders.sql": "select 1 as one"}
    assert shop.run("check").error["code"] == "model-name-taken"
    shop.models = {}
    shop.spec["extractor"]["settings"]["files"].append({**entry(shop), "stream": "Orders"})
    assert shop.run("check").error["code"] == "stream-name"
