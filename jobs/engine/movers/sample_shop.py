"""The demo's data: a small shop as files, the same bytes for the same seed.

customers.csv, one gzipped JSONL file of orders per month of 2025, products.parquet. Every order names a customer and
a product that exist; all customers joined before the first order.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.engine.movers import paths
from jobs.engine.movers.protocol import log

SEED = 2025
FOLDER = "shop"
CUSTOMERS = 5_000
PRODUCTS = 400
ORDERS = 60_000
YEAR = 2025

FIRST_NAMES = (
    "Anna", "Ben", "Chloé", "Daniel", "Émile", "Fatima", "Grace", "Hiroshi", "Ingrid", "Jürgen", "Karim", "Léa",
    "Mateusz", "Noor", "Óscar", "Priya", "Quentin", "Renée", "Søren", "Tomás", "Uma", "Václav", "Wanda", "Xin", "Yuki",
    "Zoë", "Łukasz", "Þóra", "Ștefan", "Дмитрий", "Ольга", "Ελένη", "美咲", "伟",
)  # fmt: skip
LAST_NAMES = (
    "Andersson", "Bianchi", "Çelik", "Dupont", "Eriksen", "Fernández", "García", "Horváth", "Ivanova", "Jansen",
    "Kowalski", "López", "Müller", "Nguyễn", "O'Brien", "Petrov", "Quispe", "Rossi", "Šimek", "Tanaka", "Ünal", "Vega",
    "Weiß", "Ximénez", "Yamamoto", "Żukowski", "Smith", "Jones", "Papadopoulos", "李", "佐藤",
)  # fmt: skip
CITIES = (
    ("London", "GB", "GBP"), ("Köln", "DE", "EUR"), ("München", "DE", "EUR"), ("Paris", "FR", "EUR"),
    ("Málaga", "ES", "EUR"), ("Kraków", "PL", "PLN"), ("Göteborg", "SE", "SEK"), ("São Paulo", "BR", "BRL"),
    ("東京", "JP", "JPY"), ("New York", "US", "USD"),
)  # fmt: skip
# Category and what its products cost.
CATEGORIES = {
    "Coffee": (6, 30),
    "Tea": (4, 25),
    "Brewing": (15, 220),
    "Cups": (7, 45),
    "Grinders": (40, 390),
    "Books": (9, 60),
    "Gifts": (10, 120),
}
ADJECTIVES = (
    "Amber", "Bright", "Classic", "Dark", "Everyday", "Fresh", "Golden", "Highland", "Iced", "Jade", "Kraft", "Light",
    "Mellow", "Nordic", "Original", "Petite", "Quiet", "Royal",
)  # fmt: skip
# Repeated words are the likelier ones.
STATUSES = ("completed",) * 6 + ("shipped",) * 2 + ("returned", "cancelled")
CHANNELS = ("web", "web", "web", "app", "app", "shop", "phone")
NOTES = (
    "Please ring twice",
    "Geschenk – bitte ohne Rechnung",
    "Laisser chez le voisin",
    'He said "leave it, thanks"',
    "☕ for the office",
)

Row = dict[str, Any]
JSON_FOR: dict[type, Callable[[Any], str]] = {
    int: str,
    str: partial(json.dumps, ensure_ascii=False),
    Decimal: "{:.2f}".format,
    datetime: '"{:%Y-%m-%dT%H:%M:%S}"'.format,
    type(None): lambda _: "null",
}


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Write the shop into the workspace's files and answer which there are.

    A file that is there already is kept, so that the demo may be run again over files a person has changed;
    `overwrite` in the spec writes all of them anew.
    """
    base = os.path.join(spec.get("files_folder", "files"), spec.get("folder", FOLDER))
    folder = Path(paths.resolve(base, allowed=spec.get("allowed_folders", ())))
    written = write_shop(folder, seed=spec.get("seed", SEED), overwrite=bool(spec.get("overwrite")))
    files = [
        {"path": str(path.relative_to(folder.parent)), "bytes": path.stat().st_size, "written": path in written}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    log(f"Demo shop: wrote {len(written)} of {len(files)} files into {paths.shown(str(folder))}")
    return {"files": files}


def write_shop(folder: Path, *, seed: int = SEED, overwrite: bool = False) -> set[Path]:
    """Write the shop's files into `folder`; returns those written, without the ones that were there and kept."""
    numbers = random.Random(seed)
    products = make_products(numbers)
    contents: dict[str, Callable[[], bytes]] = {
        "products.parquet": partial(as_parquet, products),
        "customers.csv": partial(as_csv, make_customers(numbers)),
    }
    for month, orders in make_orders(numbers, products).items():
        contents[f"orders/{YEAR}-{month:02d}.jsonl.gz"] = partial(as_jsonl_gz, orders)
    written: set[Path] = set()
    for name, content in contents.items():
        path = folder / name
        if overwrite or not path.exists():
            write_whole(path, content())
            written.add(path)
    return written


def write_whole(path: Path, content: bytes) -> None:
    """Write and rename, so that no reader ever meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(content)
    scratch.replace(path)


def cents(numbers: random.Random, low: float, high: float) -> Decimal:
    """A price between the two, skewed towards the lower."""
    return Decimal(int((low + (high - low) * numbers.random() ** 2) * 100)) / 100


def make_products(numbers: random.Random) -> list[Row]:
    """The catalogue; some weights are unknown, some products are no longer sold."""
    rows = []
    for number in range(1, PRODUCTS + 1):
        category = numbers.choice(list(CATEGORIES))
        price = cents(numbers, *CATEGORIES[category])
        rows.append(
            {
                "product_id": number,
                "sku": f"{category[:3].upper()}-{number:04d}",
                "name": f"{numbers.choice(ADJECTIVES)} {category} No. {number}",
                "category": category,
                "price": price,
                "cost": (price * numbers.randrange(35, 75) / 100).quantize(Decimal("0.01")),
                "weight_kg": None if numbers.random() < 0.1 else Decimal(numbers.randrange(50, 6000)) / 1000,
                "is_active": numbers.random() < 0.92,
                "launched_on": date(2022, 1, 1) + timedelta(days=numbers.randrange(1000)),
            }
        )
    return rows


def make_customers(numbers: random.Random) -> list[Row]:
    """The people; birth dates, credit limits and e-mail addresses may be unknown."""
    rows = []
    for number in range(1, CUSTOMERS + 1):
        city, country, currency = numbers.choice(CITIES)
        joined = datetime.fromisoformat("2023-01-01") + timedelta(seconds=numbers.randrange(2 * 365 * 86_400))
        born = date(1940, 1, 1) + timedelta(days=numbers.randrange(66 * 365))
        rows.append(
            {
                "customer_id": number,
                "name": f"{numbers.choice(FIRST_NAMES)} {numbers.choice(LAST_NAMES)}",
                "email": None if numbers.random() < 0.03 else f"customer{number}@example.com",
                "city": city,
                "country": country,
                "currency": currency,
                "birth_date": None if numbers.random() < 0.15 else born,
                "credit_limit": None if numbers.random() < 0.4 else cents(numbers, 50, 5_000),
                "accepts_mail": numbers.random() < 0.6,
                "created_at": joined,
            }
        )
    return rows


def make_orders(numbers: random.Random, products: list[Row]) -> dict[int, list[Row]]:
    """The year's orders by month, in the order they came; busier towards its end."""
    start = datetime.fromisoformat(f"{YEAR}-01-01")
    whole_year = 365 * 86_400
    seconds = sorted(int(whole_year * numbers.random() ** 0.85) for _ in range(ORDERS))
    months: dict[int, list[Row]] = {month: [] for month in range(1, 13)}
    for number, second in enumerate(seconds, start=1):
        ordered_at = start + timedelta(seconds=second)
        # The square favours the low numbers: a few customers and products make most of the trade.
        customer_id = 1 + int(CUSTOMERS * numbers.random() ** 2)
        product = products[int(PRODUCTS * numbers.random() ** 2)]
        keys = {"order_id": number, "customer_id": customer_id, "product_id": product["product_id"]}
        months[ordered_at.month].append(keys | make_order(numbers, ordered_at, price=product["price"]))
    return months


def make_order(numbers: random.Random, ordered_at: datetime, *, price: Decimal) -> Row:
    """What an order holds beside its keys; what is cancelled was never shipped."""
    status = numbers.choice(STATUSES)
    shipped_at = ordered_at + timedelta(seconds=numbers.randrange(3_600, 6 * 86_400))
    return {
        "ordered_at": ordered_at,
        "status": status,
        "channel": numbers.choice(CHANNELS),
        "quantity": numbers.choice((1, 1, 1, 1, 2, 2, 3, 5)),
        "unit_price": price,
        "discount": Decimal(numbers.choice((0, 0, 0, 0, 5, 10, 20))) / 100,
        "shipped_at": None if status == "cancelled" else shipped_at,
        "note": numbers.choice(NOTES) if numbers.random() < 0.04 else None,
    }


def as_csv(rows: list[Row]) -> bytes:
    """Rows as CSV with a header; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(
        [str(value).lower() if isinstance(value, bool) else value for value in row.values()] for row in rows
    )
    return text.getvalue().encode()


def as_jsonl_gz(rows: list[Row]) -> bytes:
    """Rows as one JSON object per line, gzipped. No time in the header: the same rows are the same bytes."""
    return gzip.compress("".join(json_lines(rows)).encode(), compresslevel=6, mtime=0)


def json_lines(rows: list[Row]) -> Iterator[str]:
    """Each row as a line: timestamps in ISO form, decimals with the two places that a float would lose."""
    for row in rows:
        yield "{" + ", ".join([f'"{key}": {JSON_FOR[type(value)](value)}' for key, value in row.items()]) + "}\n"


def as_parquet(rows: list[Row]) -> bytes:
    """The products as Parquet, money as decimals."""
    schema = pa.schema(
        [
            ("product_id", pa.int32()),
            ("sku", pa.string()),
            ("name", pa.string()),
            ("category", pa.string()),
            ("price", pa.decimal128(10, 2)),
            ("cost", pa.decimal128(10, 2)),
            ("weight_kg", pa.decimal128(8, 3)),
            ("is_active", pa.bool_()),
            ("launched_on", pa.date32()),
        ]
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue())
