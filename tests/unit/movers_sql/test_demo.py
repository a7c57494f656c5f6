"""The demo's shop: deterministic, whole, and a fair test of the models that come with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jobs import demo_shop
from tests.unit.movers_sql.conftest import ROOT, Place, make_spec

FILES = "read_csv('{0}/customers.csv')", "read_json('{0}/orders/*.gz')", "'{0}/products.parquet'"


def digests(folder: Path) -> dict[str, str]:
    """What is in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def shop(place: Place) -> Path:
    """The folder of a freshly written shop."""
    ended = place.run("demo")
    assert ended.exit_code == 0, ended.events
    return place.folder / "files" / "shop"


def test_the_same_seed_writes_the_same_bytes(place: Place, shop: Path) -> None:
    first = digests(shop)
    assert len(first) == 14
    place.run("demo", overwrite=True)
    assert digests(shop) == first
    place.run("demo", overwrite=True, seed=7)
    assert digests(shop) != first


def test_files_a_person_changed_are_kept_and_missing_ones_written(place: Place, shop: Path) -> None:
    (shop / "customers.csv").write_text("changed")
    (shop / "orders" / "2025-03.jsonl.gz").unlink()
    ended = place.run("demo")
    assert (shop / "customers.csv").read_text() == "changed"
    written = [file["path"] for file in ended.of("result")[0]["files"] if file["written"]]
    assert written == ["shop/orders/2025-03.jsonl.gz"]


def test_every_order_names_a_customer_and_a_product_and_lies_in_its_month(shop: Path) -> None:
    with duckdb.connect() as connection:
        for name, source in zip(("customers", "orders", "products"), FILES, strict=True):
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {source.format(shop)}")
        counts = [connection.table(name).count("*").fetchall()[0][0] for name in ("customers", "orders", "products")]
        assert counts == [5000, 60000, 400]
        orphans = connection.execute(
            "SELECT count(*) FROM orders AS o WHERE NOT EXISTS (FROM customers AS c WHERE c.customer_id = o.customer_id)"
            " OR NOT EXISTS (FROM products AS p WHERE p.product_id = o.product_id)"
        ).fetchall()
        assert orphans == [(0,)]
        assert connection.execute("SELECT count(DISTINCT order_id) FROM orders").fetchall() == [(60000,)]
        months = connection.execute(
            "SELECT count(DISTINCT month) FROM (SELECT month(ordered_at) AS month, filename"
            f" FROM read_json('{shop}/orders/*.gz', filename = true)) WHERE filename LIKE '%-' || printf('%02d', month) || '.%'"
        ).fetchall()
        assert months == [(12,)]
        nulls = connection.execute("SELECT count(*) FROM customers WHERE birth_date IS NULL").fetchall()
        assert 0 < nulls[0][0] < 2500


def test_the_demos_models_agree_with_the_files(place: Place, shop: Path) -> None:
    place.query(
        "CREATE SCHEMA shop; CREATE TABLE shop.customers AS FROM {};"
        "CREATE TABLE shop.orders AS SELECT * REPLACE (unit_price::DECIMAL(10, 2) AS unit_price,"
        " discount::DECIMAL(4, 2) AS discount) FROM {}; CREATE TABLE shop.products AS FROM {}".format(
            *(source.format(shop) for source in FILES)
        )
    )
    place.models = {path.removeprefix("models/"): text.decode() for path, text in demo_shop.model_files().items()}
    ended = place.run("models")
    assert ended.exit_code == 0, ended.events
    assert {event["name"]: event["kind"] for event in ended.of("model")} == {
        "stg_orders": "view",
        "customer_value": "table",
        "daily_sales": "table",
    }
    assert ended.models["customer_value"]["rows"] == 5000
    sales, value = place.query(
        "SELECT sum(revenue) FROM shop.daily_sales UNION ALL SELECT sum(revenue) FROM shop.customer_value"
    )
    by_hand = place.query(
        "SELECT sum((quantity * unit_price * (1 - discount))::DECIMAL(12, 2)) FROM shop.orders"
        " WHERE status NOT IN ('cancelled', 'returned')"
    )
    assert sales == value == by_hand[0]


def test_the_demos_definition_loads_no_data_library() -> None:
    code = "import sys, jobs.demo_shop; sys.exit(any(name in sys.modules for name in ('duckdb', 'pyarrow')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def settings_of(name: str) -> dict[str, Any]:
    """A demo component's properties as typed settings."""
    (component,) = (component for component in demo_shop.COMPONENTS if component.name == name)
    return {key: json.loads(text) if text.startswith("[") else text for key, text in component.properties.items()}


def move(place: Place) -> dict[str, int]:
    """Load from where the store says the last run ended; rows written by stream."""
    state = {"bookmarks": {}}
    ended = place.run("move", state=state, epoch=0, sequence=0, full_refresh=False, streams=None)
    assert ended.exit_code == 0, ended.events
    return {event["stream"]: event["rows_written"] for event in ended.of("stream") if event.get("done")}


def test_the_demos_pipelines_run_twice_and_no_row_is_doubled(place: Place, shop: Path) -> None:
    place.spec["extractor"]["settings"] = settings_of("Shop files")
    assert place.run("check").exit_code == 0
    assert move(place) == {"customers": 5000, "orders": 60000, "products": 400}
    assert move(place) == {"customers": 0, "orders": 0, "products": 0}
    place.models = {path.removeprefix("models/"): text.decode() for path, text in demo_shop.model_files().items()}
    assert place.run("models").exit_code == 0
    assert place.query("SELECT count(*), sum(orders) FROM shop.customer_value") == [(5000, 54026)]
    export = Place(place.folder, make_spec("target-files", settings_of("Shop exports")))
    export.spec["extractor"]["settings"] = settings_of("Shop catalogue")
    for _ in range(2):
        assert move(export) == {"customers": 5000, "products": 400}
        rows = duckdb.sql(f"SELECT count(*) FROM '{place.folder}/exports/shop/products/*.parquet'").fetchall()
        assert rows == [(400,)]
