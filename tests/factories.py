"""Rows for tests, made directly: the quickest way to a state that the services would take many steps to reach."""

from __future__ import annotations

import itertools
import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Job
from jobs.status import JobStatus, JobType, Trigger
from pipelines.models import DataComponent, DataPlugin, Pipeline, PipelineComponent, PipelineStatus
from pipelines.plugins import NATIVE
from workspaces.models import Membership, Role, User, Workspace, WorkspaceStatus

_numbers = itertools.count(1)
PASSWORD = "correct horse battery"


def make_user(username: str = "", **values: Any) -> User:
    """A person who can sign in with PASSWORD."""
    name = username or f"user{next(_numbers)}"
    return User.objects.create_user(name, email=f"{name}@example.org", password=PASSWORD, **values)


def make_workspace(name: str = "Harbour Goods", *, owner: User | None = None, **values: Any) -> Workspace:
    """A READY workspace; its owner is a member."""
    values.setdefault("status", WorkspaceStatus.READY)
    workspace = Workspace.objects.create(name=name, number=next(_numbers) + 10_000, **values)
    if owner:
        Membership.objects.create(workspace=workspace, user=owner, role=Role.OWNER)
    return workspace


def make_component(workspace: Workspace, plugin: str, name: str = "", **values: Any) -> DataComponent:
    """A component of a native plugin, which the migrations have put into the catalogue."""
    found = DataPlugin.objects.get(name=plugin, variant=NATIVE, workspace__isnull=True)
    return DataComponent.objects.create(
        workspace=workspace, plugin=found, name=name or f"{plugin}-{next(_numbers)}", **values
    )


def make_plugin(workspace: Workspace | None = None, name: str = "tap-orchard", **definition: Any) -> DataPlugin:
    """A connector's definition of a workspace's own (a shipped one without a workspace)."""
    values = {
        "name": name,
        "variant": "acme",
        "pluginType": "LOADER" if name.startswith("target-") else "EXTRACTOR",
        "pipUrl": f"{name}==1.0",
        "capabilities": ["CATALOG", "DISCOVER", "STATE"],
        "settings": [{"name": "api_key", "kind": "PASSWORD"}, {"name": "start_date", "kind": "DATE_ISO8601"}],
        **definition,
    }
    return DataPlugin.objects.create(
        workspace=workspace,
        plugin_type=values["pluginType"],
        name=name,
        variant=values["variant"],
        label=values.get("label", ""),
        definition=values,
    )


def make_pipeline(
    workspace: Workspace, label: str = "", *, components: list[DataComponent] | None = None, **values: Any
) -> Pipeline:
    """A READY pipeline. Without components it has none: enough for everything but running."""
    label = label or f"Pipeline {next(_numbers)}"
    values.setdefault("status", PipelineStatus.READY)
    values.setdefault("name", label.lower().replace(" ", "-"))
    pipeline = Pipeline.objects.create(workspace=workspace, label=label, number=next(_numbers), **values)
    for position, component in enumerate(components or []):
        PipelineComponent.objects.create(pipeline=pipeline, component=component, position=position)
    return pipeline


def make_job(
    pipeline: Pipeline | None = None,
    *,
    workspace: Workspace | None = None,
    status: str = JobStatus.QUEUED,
    **values: Any,
) -> Job:
    """A job row in any status, with the times that belong to it. Counters are not kept: use services where they matter."""
    now = values.pop("now", None) or timezone.now()
    values.setdefault("type", JobType.PIPELINE_RUN)
    values.setdefault("trigger", Trigger.MANUAL)
    values.setdefault("created_at", now)
    if status != JobStatus.QUEUED:
        values.setdefault("started_at", now)
        values.setdefault("heartbeat_at", now)
        values.setdefault("claim_token", uuid.uuid4())
    if status in (JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED):
        values.setdefault("ended_at", values["started_at"] + timedelta(seconds=12))
    owner = pipeline.workspace if pipeline else workspace
    assert owner is not None
    return Job.objects.create(
        pipeline=pipeline, workspace=owner, number=next(_numbers) + 100_000, status=status, **values
    )
