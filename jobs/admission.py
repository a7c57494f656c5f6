"""What a job must hold while it runs: a store of its own, a host."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from eltsite.errors import Invalid
from jobs import folders
from jobs.definitions import End, ends_of, ends_of_component
from jobs.status import JobType
from pipelines.models import DataComponent, Pipeline
from pipelines.plugins import is_local
from workspaces.models import Workspace

WAREHOUSE = "warehouse.duckdb"


@dataclass(frozen=True)
class Needs:
    """`exclusive_key`: at most one running job holds it. `required_host`: only workers of this host may claim it."""

    exclusive_key: str = ""
    required_host: str = ""


def needs_of(
    workspace: Workspace, pipeline: Pipeline | None, job_type: str, component: DataComponent | None = None
) -> Needs:
    """What a job of this type and pipeline needs, by the definitions as they are now.

    Definitions with faults need nothing: such a job starts at once, and ends saying what is wrong.
    """
    home = workspace.home_host
    if job_type == JobType.WORKSPACE_INIT:
        return Needs(_store_key(workspace, "target-duckdb", {"path": WAREHOUSE}), home)
    try:
        if pipeline is not None:
            ends = ends_of(pipeline)
        elif component is not None:
            ends = ends_of_component(component)
        else:
            return Needs()
    except Invalid:
        return Needs()
    is_tied = any(is_local(end.plugin, end.settings) for end in ends.both)
    key = ""
    if ends.loader is not None and job_type != JobType.PIPELINE_CONFIG:
        key = _key_of(workspace, ends.loader)
    return Needs(key, home if is_tied else "")


def _key_of(workspace: Workspace, loader: End) -> str:
    """What a loader's job holds. A connector's definition says where its store is, where that is a file."""
    plugin, settings = loader.plugin, loader.settings
    if plugin.is_native:
        return _store_key(workspace, plugin.name, settings)
    if plugin.store.get("kind") != "duckdb":
        return ""
    path = fill(str(plugin.store.get("path") or ""), settings)
    return _store_key(workspace, "target-duckdb", {"path": os.path.join("files", path)}) if path else ""


def fill(pattern: str, settings: Mapping[str, Any]) -> str:
    """A text of a definition's `store` with the settings' values in place of {name}."""
    return re.sub(r"\{([^{}]+)\}", lambda found: str(settings.get(found[1]) or ""), pattern)


def _store_key(workspace: Workspace, plugin: str, values: dict[str, Any]) -> str:
    """DuckDB files and folders of files have one writer; a database server looks after itself.

    The real path, so that two ways to one file are one key.
    """
    kinds = {"target-duckdb": "duckdb", "target-files": "files"}
    if plugin not in kinds:
        return ""
    path = os.path.realpath(folders.of_workspace(workspace) / str(values.get("path") or WAREHOUSE))
    return f"{kinds[plugin]}:{workspace.home_host or settings.ELTSITE_HOST}:{path}"[:500]
