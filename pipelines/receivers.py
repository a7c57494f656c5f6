"""What pipelines answers to workspaces."""

from __future__ import annotations

from typing import Any

from pipelines.models import DataComponent
from pipelines.services import find_plugin
from workspaces.models import Workspace

DEFAULT_STORE = "Warehouse"


def make_default_store(workspace: Workspace, **_: Any) -> None:
    """Each workspace begins with a DuckDB file as its default store."""
    DataComponent.objects.create(
        workspace=workspace,
        plugin=find_plugin(workspace, "loaders/target-duckdb"),
        name=DEFAULT_STORE,
        properties={"path": "warehouse.duckdb"},
        is_default=True,
    )
