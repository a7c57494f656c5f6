"""What a job must hold while it runs: a store of its own, a host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from eltsite.errors import Invalid
from jobs import folders
from jobs.definitions import ends_of
from jobs.status import JobType
from pipelines.models import Pipeline
from pipelines.plugins import is_local
from workspaces.models import Workspace

WAREHOUSE = "warehouse.duckdb"


@dataclass(frozen=True)
class Needs:
    """`exclusive_key`: at most one running job holds it. `required_host`: only workers of this host may claim it."""

    exclusive_key: str = ""
    required_host: str = ""


def needs_of(workspace: Workspace, pipeline: Pipeline | None, job_type: str) -> Needs:
    """What a job of this type and pipeline needs, by the definitions as they are now.

    Definitions with faults need nothing: such a job starts at once, and ends saying what is wrong.
    """
    home = workspace.home_host
    if job_type == JobType.WORKSPACE_INIT:
        return Needs(_store_key(workspace, "target-duckdb", {"path": WAREHOUSE}), home)
    if pipeline is None:
        return Needs()
    try:
        ends = ends_of(pipeline)
    except Invalid:
        return Needs()
    is_tied = any(is_local(end.plugin, end.settings) for end in ends.both)
    key = ""
    if ends.loader is not None and job_type != JobType.PIPELINE_CONFIG:
        key = _store_key(workspace, ends.loader.plugin.name, ends.loader.settings)
    return Needs(key, home if is_tied else "")


def _store_key(workspace: Workspace, plugin: str, values: dict[str, Any]) -> str:
    """DuckDB files and folders of files have one writer; a database server looks after itself.

    The real path, so that two ways to one file are one key.
    """
    kinds = {"target-duckdb": "duckdb", "target-files": "files"}
    if plugin not in kinds:
        return ""
    path = os.path.realpath(folders.of_workspace(workspace) / str(values.get("path") or WAREHOUSE))
    return f"{kinds[plugin]}:{workspace.home_host or settings.ELTSITE_HOST}:{path}"[:500]
