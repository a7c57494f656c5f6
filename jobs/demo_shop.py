"""The demo as plain data: which components, pipelines and SQL models it has. Its rows come from the verb `demo`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODELS_FOLDER = Path(__file__).parent / "engine" / "movers" / "demo_models"
WAREHOUSE = "Warehouse"  # the default store that every workspace has
TIMEOUT_SECONDS = 3600

CUSTOMERS = {
    "stream": "customers",
    "path": "shop/customers.csv",
    "primary_keys": ["customer_id"],
    "columns": {"credit_limit": "DECIMAL(10,2)", "created_at": "TIMESTAMP", "birth_date": "DATE"},
}
PRODUCTS = {"stream": "products", "path": "shop/products.parquet", "primary_keys": ["product_id"]}
ORDERS = {
    "stream": "orders",
    "path": "shop/orders/*.jsonl.gz",
    "primary_keys": ["order_id"],
    "columns": {
        "unit_price": "DECIMAL(10,2)",
        "discount": "DECIMAL(4,2)",
        "ordered_at": "TIMESTAMP",
        "shipped_at": "TIMESTAMP",
    },
}


@dataclass(frozen=True)
class DemoComponent:
    """A component to be made: `properties` are setting names to texts, as a component keeps them."""

    name: str
    plugin: str
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DemoPipeline:
    """A pipeline to be made: `components` and `triggered_by` are names of components and labels of pipelines."""

    label: str
    components: tuple[str, ...]
    schedule: str = ""
    triggered_by: tuple[str, ...] = ()
    timeout_seconds: int = TIMEOUT_SECONDS
    tags: tuple[str, ...] = ("demo",)


COMPONENTS = (
    DemoComponent("Shop files", "tap-files", {"files": json.dumps([CUSTOMERS, ORDERS, PRODUCTS])}),
    DemoComponent("Shop catalogue", "tap-files", {"files": json.dumps([CUSTOMERS, PRODUCTS])}),
    DemoComponent(
        "Shop exports", "target-files", {"path": "exports/shop", "format": "parquet", "load_method": "replace"}
    ),
)
PIPELINES = (
    DemoPipeline("Shop nightly", ("Shop files", WAREHOUSE), schedule="0 30 2 * * *"),
    DemoPipeline("Shop export", ("Shop catalogue", "Shop exports"), triggered_by=("Shop nightly",)),
)


def model_files() -> dict[str, bytes]:
    """The demo's SQL models as workspace files: path to content."""
    return {f"models/{path.name}": path.read_bytes() for path in sorted(MODELS_FOLDER.glob("*.sql"))}
