"""Verb `init`: makes a workspace's own warehouse, so that pages have something to read before the first load."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jobs.engine.movers import duckdb, paths
from jobs.engine.movers.duckdb_writer import LOADS_COLUMNS
from jobs.engine.movers.model_duckdb import warehouse_path
from jobs.engine.movers.model_store import target_schema
from jobs.engine.movers.ports import LOADS_TABLE
from jobs.engine.movers.protocol import log


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Make the DuckDB file with its schema and table of loads, and publish its first snapshot. A second time changes nothing."""
    settings, limits = spec["loader"]["settings"], spec["limits"]
    path = warehouse_path(spec)
    schema = target_schema(spec)
    is_new = not os.path.exists(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(path, limits=limits, memory_limit=settings.get("memory_limit") or "") as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {duckdb.qualified(connection, schema)}")
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {duckdb.qualified(connection, schema, LOADS_TABLE)} ({LOADS_COLUMNS})"
        )
        connection.execute("CHECKPOINT")
    log(f"{'Made' if is_new else 'Found'} the warehouse {paths.shown(path)}, schema {schema}")
    published = duckdb.publish_snapshot(path, max_bytes=int(limits["snapshot_max_bytes"]))
    return {"path": paths.shown(path), "schema": schema, "created": is_new, "snapshot": published}
