"""The demo: a small shop with a year of orders, set up through the same services as everything else."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from eltsite.errors import Conflict
from jobs import demo_shop, folders
from jobs.engine.executor import execute_run
from jobs.engine.interface import Outcome, RunSpec, Step, StopRequest
from jobs.models import Job
from jobs.run_steps import MEMORY_BYTES
from jobs.services import PipelineBusy, create_job
from jobs.status import TERMINAL, Trigger
from pipelines.models import DataPlugin, Pipeline, PipelineStatus
from pipelines.plugins import NATIVE
from pipelines.services import save_component, save_file, save_pipeline
from workspaces.models import InstallationFact, TokenScope, User, Workspace, WorkspaceStatus
from workspaces.services import create_workspace, issue_token, revoke_token

FACT = "demo-workspace"
USER = "demo"
NAME = "Harbour Goods"
WAIT_SECONDS = 300


class NotTheDemosHome(Conflict):
    """This installation is not the demo's."""


class DemoFailed(Conflict):
    """The demo could not be set up."""


class Quiet:
    """The engine's ports where nobody needs to know more than the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, *, source: str, level: str, text: str) -> None:
        """Keep a line for the case that it goes wrong."""
        self.lines.append(text)

    def flush(self) -> None:
        """Nothing is stored."""

    def save(self, *, state: Mapping[str, Any], epoch: int, sequence: int, is_partial: bool = False) -> None:
        """There is no state."""

    def poll(self) -> StopRequest | None:
        """Nobody stops it."""
        return None

    def progress(self, event: Mapping[str, Any]) -> None:
        """Nobody watches it."""


def refuse_foreign_home() -> None:
    """Leave an installation alone that somebody works with. Raises NotTheDemosHome."""
    if Workspace.objects.exists() and not InstallationFact.objects.filter(name=FACT).exists():
        raise NotTheDemosHome(
            f"{settings.ELTSITE_HOME} holds an installation that is not the demo's, so the demo does not touch it. "
            "Start it with `manage.py up`, or give the demo a home of its own: ELTSITE_HOME=/tmp/shop make demo"
        )


def set_up() -> tuple[Workspace, User, dict[str, str]]:
    """The demo's workspace, person and secrets; made when they are missing. The shop's files are written once."""
    user, access = _person()
    fact = InstallationFact.objects.filter(name=FACT).first()
    workspace = Workspace.objects.filter(pk=fact.value).first() if fact else None
    if workspace is None:
        workspace = create_workspace(name=NAME, owner=user)
        InstallationFact.objects.update_or_create(name=FACT, defaults={"value": str(workspace.pk)})
    _write_shop(workspace)
    for path, content in demo_shop.model_files().items():
        if not workspace.files.filter(path=path).exists():
            save_file(workspace, path=path, content=content, user=user)
    return workspace, user, access


def _person() -> tuple[User, dict[str, str]]:
    """The demo's administrator. Password and token lie in a file only we can read, to be shown at each start."""
    path = Path(settings.ELTSITE_HOME) / "demo.json"
    access: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    user, made = User.objects.get_or_create(
        username=USER, defaults={"first_name": "Demo", "last_name": "Person", "is_superuser": True, "is_staff": True}
    )
    if made or "password" not in access:
        access = {"user": USER, "password": secrets.token_urlsafe(9)}
        user.set_password(access["password"])
        user.save(update_fields=["password"])
    old = user.api_tokens.filter(name=USER, revoked_at__isnull=True)
    if "token" not in access or not old.exists():
        for token in old:
            revoke_token(token)
        access["token"] = issue_token(user, name=USER, scope=TokenScope.ADMIN)[1]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        json.dump(access, handle)
    return user, access


def _write_shop(workspace: Workspace) -> None:
    """Have a mover write the shop's files; those that are there already stay as they are."""
    folder = folders.prepare(workspace)
    run_folder = folders.make_run_folder(workspace, "demo")
    spec = RunSpec(
        job="demo",
        mark=f"demo:{workspace.pk}",
        steps=[Step("Write the shop", "demo", {"files_folder": "files", "limits": {"memory_bytes": MEMORY_BYTES}})],
        folder=str(folder),
        run_folder=str(run_folder),
        timeout_seconds=120,
        environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(settings.BASE_DIR), "HOME": str(run_folder)},
        run_as=folders.run_as(workspace),
    )
    quiet = Quiet()
    result, _ = execute_run(spec, log=quiet, state=quiet, control=quiet)
    if result.outcome != Outcome.COMPLETE:
        raise DemoFailed("The shop's files could not be written: " + "\n".join(quiet.lines[-5:]))


def save_pipelines(workspace: Workspace, user: User) -> Pipeline:
    """The demo's components and pipelines, made when they are missing; the first one is what the demo runs.

    The workspace must be READY.
    """
    for component in demo_shop.COMPONENTS:
        if not workspace.components.filter(name=component.name).exists():
            plugin = DataPlugin.objects.get(name=component.plugin, variant=NATIVE, workspace__isnull=True)
            properties = dict(component.properties)
            save_component(workspace, name=component.name, plugin=plugin, properties=properties, user=user)
    for wanted in demo_shop.PIPELINES:
        if not Pipeline.objects.alive().filter(workspace=workspace, label=wanted.label).exists():
            upstream = Pipeline.objects.alive().filter(workspace=workspace, label__in=wanted.triggered_by)
            save_pipeline(
                workspace,
                label=wanted.label,
                components=wanted.components,
                properties={},
                schedule=wanted.schedule,
                timeout_seconds=wanted.timeout_seconds,
                triggered_by=list(upstream),
                tags=wanted.tags,
                user=user,
            )
    return Pipeline.objects.alive().get(workspace=workspace, label=demo_shop.PIPELINES[0].label)


def wait_for_workspace(workspace: Workspace) -> None:
    """Until the workspace is READY. Raises DemoFailed."""
    if _wait(workspace, WorkspaceStatus.PROVISIONING) != WorkspaceStatus.READY:
        raise DemoFailed(f"The workspace could not be set up: {workspace.status_reason or 'no worker took the job'}")


def run(pipeline: Pipeline, user: User) -> Job:
    """Run the pipeline through a worker and wait for its end. Raises DemoFailed when it is not ready in time."""
    if _wait(pipeline, PipelineStatus.PROVISIONING) != PipelineStatus.READY:
        raise DemoFailed(f"{pipeline.label} is not ready: {pipeline.status_reason or 'no worker took the check'}")
    until = timezone.now() + timedelta(seconds=WAIT_SECONDS)
    try:
        job = create_job(pipeline, trigger=Trigger.MANUAL, user=user)
    except PipelineBusy as busy:  # the schedule was first: that run is as good
        if busy.job is None:
            raise
        job = busy.job
    while job.status not in TERMINAL and timezone.now() < until:
        time.sleep(0.1)
        job.refresh_from_db()
    return job


def _wait(row: Workspace | Pipeline, while_in: Any) -> str:
    until = timezone.now() + timedelta(seconds=WAIT_SECONDS)
    while row.status == while_in and timezone.now() < until:
        time.sleep(0.05)
        row.refresh_from_db(fields=["status", "status_reason"])
    return row.status
