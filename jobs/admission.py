"""What a job must hold while it runs: a store of its own, a host."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.conf import settings
from pipelines.validation import component_settings, ends_of

from jobs import folders
from jobs.status import JobType
from pipelines.models import Pipeline
from pipelines.plugins import is_local
from workspaces.models import Workspace


@dataclass(frozen=True)
class Needs:
    """`exclusive_key`: at most one running job holds it. `required_host`: only workers of this host may claim it."""

    exclusive_key: str = ""
    required_host: str = ""


def needs_of(workspace: Workspace, pipeline: Pipeline | None, job_type: str) -> Needs:
    """What a job of this type and pipeline needs, by the definitions as they are now."""
    home = workspace.home_host
    if job_type == JobType.WORKSPACE_INIT:
        return Needs(_key("duckdb", home, folders.of_workspace(workspace) / "warehouse.duckdb"), home)
    if pipeline is None:
        return Needs()
    extractor, loader = ends_of(pipeline)
    is_tied = False
    key = ""
    for component in (extractor, loader):
        if component is not None:
            values = component_settings(pipeline, component)
            is_tied = is_tied or is_local(component.plugin.name, values)
            if component is loader and job_type != JobType.PIPELINE_CONFIG:
                key = _store_key(workspace, component.plugin.name, values)
    return Needs(key, home if is_tied else "")


def _store_key(workspace: Workspace, plugin: str, values: dict[str, object]) -> str:
    """DuckDB files and folders of files have one writer; a database server looks after itself."""
    if plugin == "target-duckdb":
        path = values.get("path") or "warehouse.duckdb"
        return _key("duckdb", workspace.home_host, folders.of_workspace(workspace) / str(path))
    if plugin == "target-files":
        path = values.get("path") or "exports"
        return _key("files", workspace.home_host, folders.of_workspace(workspace) / str(path))
    return ""


def _key(kind: str, host: str, path: object) -> str:
    """The normalised real path, so that two ways to one file are one key."""
    return f"{kind}:{host or settings.ELTSITE_HOST}:{os.path.realpath(str(path))}"[:500]
