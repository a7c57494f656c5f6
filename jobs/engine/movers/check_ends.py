"""Verb `test`: whether the ends of a pipeline, or a component by itself, can be reached and used, and what is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jobs.engine.movers.check_config import check_end, is_connector
from jobs.engine.movers.check_sources import check_files_source, check_sql_source
from jobs.engine.movers.check_targets import check_duckdb_target, check_files_target, check_postgres_target
from jobs.engine.movers.checklist import Checklist

EndCheck = Callable[[Mapping[str, Any], Checklist], None]
ENDS: dict[str, EndCheck] = {
    "tap-files": check_files_source,
    "tap-sql": check_sql_source,
    "target-duckdb": check_duckdb_target,
    "target-postgres": check_postgres_target,
    "target-files": check_files_target,
}


def check_ends(spec: Mapping[str, Any], checks: Checklist) -> None:
    """Test the extractor, then the loader, whether or not the first can be reached.

    An end that is not there is not tested, and a connector by the engine.
    """
    for end in ("extractor", "loader"):
        if not spec.get(end) or is_connector(spec, end):
            continue
        if checks.make(f"Settings of the {end}", partial(check_end, spec, end)):
            ENDS[spec[end]["plugin"]](spec, checks)
