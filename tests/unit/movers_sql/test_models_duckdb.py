"""SQL models in DuckDB, by the real mover."""

from __future__ import annotations

import duckdb
import pytest

from tests.unit.movers_sql.conftest import Place

RAW = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders AS SELECT range AS id, range % 3 AS customer, (range * 1.5)::DECIMAL(10, 2) AS amount
    FROM range(30)
"""


@pytest.fixture
def shop(place: Place) -> Place:
    """A warehouse with loaded orders."""
    place.query(RAW)
    return place


def test_models_are_built_in_dependency_order_and_counted(shop: Place) -> None:
    shop.models = {
        "a_totals.sql": "-- materialized: table\nselect customer, sum(amount) as total from stg group by customer",
        "deep/stg.sql": "select * from shop.orders where id > 0",
        "z_best.sql": "select * from a_totals order by total desc limit 1",
    }
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    assert [event["name"] for event in ended.of("model")] == ["stg", "a_totals", "z_best"]
    facts = {name: (event["kind"], event["status"], event["rows"]) for name, event in ended.models.items()}
    assert facts == {
        "stg": ("view", "complete", 29),
        "a_totals": ("table", "complete", 3),
        "z_best": ("view", "complete", 1),
    }
    assert shop.query("SELECT count(*) FROM shop.a_totals") == [(3,)]


def test_a_failed_model_skips_those_below_and_the_others_go_on(shop: Place) -> None:
    shop.models = {
        "bad.sql": "-- materialized: table\nselect id,\n  nosuch\nfrom orders",
        "below.sql": "select * from bad",
        "further_below.sql": "select * from below",
        "other.sql": "select count(*) as n from orders",
    }
    ended = shop.run("models")
    assert ended.exit_code == 1
    assert {name: event["status"] for name, event in ended.models.items()} == {
        "bad": "error",
        "below": "skipped",
        "further_below": "skipped",
        "other": "complete",
    }
    assert ended.error["headline"].startswith("Model bad failed: ")
    assert "nosuch" in ended.error["headline"]
    assert (ended.error["file"], ended.error["line"]) == ("models/bad.sql", 3)
    assert shop.query("SELECT n FROM shop.other") == [(30,)]


def test_a_table_that_fails_keeps_its_old_rows(shop: Place) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id from orders"}
    assert shop.run("models").exit_code == 0
    shop.models = {"t.sql": "-- materialized: table\nselect error('no') as id from orders"}
    assert shop.run("models").exit_code == 1
    assert shop.query("SELECT count(*) FROM shop.t") == [(30,)]


def test_views_on_a_replaced_table_survive_and_changed_columns_are_said(shop: Place) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id, customer from orders"}
    assert shop.run("models").exit_code == 0
    shop.query("CREATE VIEW shop.report AS SELECT id FROM shop.t")
    shop.models = {"t.sql": "-- materialized: table\nselect id::varchar as id, amount from orders where id < 5"}
    ended = shop.run("models")
    assert ended.exit_code == 0
    assert shop.query("SELECT count(id) FROM shop.report") == [(5,)]
    assert "amount DECIMAL(10,2) added, customer removed, id BIGINT became VARCHAR" in ended.log


def test_a_view_becomes_a_table_and_a_view_again(shop: Place) -> None:
    for kind in ("view", "table", "view"):
        shop.models = {"m.sql": f"-- materialized: {kind}\nselect id from orders"}
        assert shop.run("models").exit_code == 0
        assert shop.query("SELECT table_type FROM information_schema.tables WHERE table_name = 'm'") == [
            ("VIEW" if kind == "view" else "BASE TABLE",)
        ]


def test_a_loaded_table_is_never_replaced_by_a_model_of_its_name(shop: Place) -> None:
    shop.models = {"orders.sql": "-- materialized: table\nselect 1 as id"}
    ended = shop.run("models")
    assert ended.error["code"] == "model-name-taken"
    assert shop.query("SELECT count(*) FROM shop.orders") == [(30,)]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('../secret.csv')",
        "select * from read_text('/etc/passwd')",
        "select * from '../secret.csv'",
        "select * from glob('/etc/*')",
        "select * from read_csv('../../elsewhere/files/theirs.csv')",
    ],
)
def test_files_outside_the_workspaces_files_cannot_be_read(shop: Place, sql: str) -> None:
    (shop.folder / "secret.csv").write_text("a\n1\n")
    theirs = shop.folder.parent / "elsewhere" / "files"
    theirs.mkdir(parents=True)
    (theirs / "theirs.csv").write_text("a\n1\n")
    shop.models = {"spy.sql": sql}
    ended = shop.run("models")
    assert ended.exit_code == 1
    assert "Permission Error" in ended.error["headline"]


def test_the_workspaces_own_files_can_be_read_by_relative_paths(shop: Place) -> None:
    (shop.folder / "files" / "rates.csv").write_text("currency,rate\nEUR,1.0\nUSD,0.9\n")
    shop.models = {"rates.sql": "-- materialized: table\nselect * from read_csv('rates.csv')"}
    assert shop.run("models").exit_code == 0
    assert shop.query("SELECT count(*) FROM shop.rates") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "drop table orders",
        "copy orders to 'x.csv'",
        "select 1; drop table orders",
        "with gone as (delete from orders returning *) select * from gone",
        "attach 'x.duckdb'",
        "set memory_limit = '10GB'",
        "call pragma_version()",
        "",
    ],
)
def test_anything_but_one_select_is_refused(shop: Place, sql: str) -> None:
    shop.models = {"m.sql": sql, "fine.sql": "select 1 as one"}
    ended = shop.run("models")
    assert ended.exit_code == 1
    assert ended.error["code"] == "model-statement"
    assert ended.error["file"] == "models/m.sql"
    assert shop.query("SELECT count(*) FROM shop.orders") == [(30,)]


def test_a_statement_that_takes_too_long_is_interrupted(shop: Place) -> None:
    shop.spec["limits"]["statement_timeout_seconds"] = 0.5
    shop.models = {
        "slow.sql": "-- materialized: table\nselect sum(a.range * b.range) as s from range(10000000) a, range(10000) b"
    }
    ended = shop.run("models")
    assert ended.error["code"] == "model-time-limit"
    assert "0.5 s" in ended.error["headline"]


def test_a_model_bigger_than_memory_spills_into_the_runs_folder(shop: Place) -> None:
    shop.spec["limits"]["memory_bytes"] = 100 * 1024 * 1024
    shop.models = {
        "big.sql": "-- materialized: table\nselect range as id, repeat('x', 60) as pad from range(3000000) order by hash(range)"
    }
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    assert ended.models["big"]["rows"] == 3000000


def test_the_snapshot_is_published_even_where_a_model_failed(shop: Place) -> None:
    shop.models = {"bad.sql": "select nosuch from orders", "good.sql": "select 1 as one"}
    assert shop.run("models", publish_snapshot=True).exit_code == 1
    snapshot = shop.folder / "warehouse.duckdb.snapshot"
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        assert connection.execute("SELECT one FROM shop.good").fetchall() == [(1,)]


def test_loaded_rows_are_published_even_where_no_model_can_be_read(shop: Place) -> None:
    shop.models = {"bad.sql": "select ("}
    assert shop.run("models", publish_snapshot=True).error["code"] == "model-parse"
    with duckdb.connect(str(shop.folder / "warehouse.duckdb.snapshot"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM shop.orders").fetchall() == [(30,)]


def test_models_into_files_are_refused_with_the_reason(place: Place) -> None:
    place.spec["loader"] = {"plugin": "target-files", "name": "Exports", "settings": {"path": "exports"}}
    place.models = {"m.sql": "select 1"}
    assert place.run("models").error["code"] == "models-need-database"


def test_a_warehouse_held_by_another_process_is_named(shop: Place) -> None:
    shop.spec["limits"]["lock_wait_seconds"] = 0.5
    shop.models = {"m.sql": "select 1 as one"}
    with duckdb.connect(str(shop.folder / "warehouse.duckdb")):
        ended = shop.run("models", publish_snapshot=True)
    assert ended.error["code"] == "store-locked"
    assert not (shop.folder / "warehouse.duckdb.snapshot").exists()
