"""From rows to the plain values of a run. The only place where secrets are opened for one."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from typing import Any

from django.conf import settings

from eltsite.errors import Invalid
from jobs import folders
from jobs.admission import WAREHOUSE
from jobs.definitions import End, Ends, ends_of
from jobs.engine.interface import RunSpec, Step
from jobs.engine.steps.mover import ROOT
from jobs.models import Job
from jobs.status import JobType
from pipelines.models import DataComponent, PipelineState, WorkspaceFile
from pipelines.state_values import merge

MIB = 1024 * 1024
MEMORY_BYTES = 256 * MIB  # of a store's engine; the rest of a mover needs about as much again
LOCK_WAIT_SECONDS = 60
SYSTEM_TIMEOUT_SECONDS = 300


def build_run_spec(job: Job) -> tuple[RunSpec, PipelineState | None]:
    """What the engine needs for a claimed job, and the state row its run goes on from (for runs only).

    The workspace's folder is made and its files are brought up to date on the way. Raises Invalid where the
    definition has faults.
    """
    workspace = job.workspace
    folder = folders.prepare(workspace)
    if not workspace.home_host:
        workspace.home_host = settings.ELTSITE_HOST
        type(workspace).objects.filter(pk=workspace.pk, home_host="").update(home_host=settings.ELTSITE_HOST)
    folders.sync_files(workspace)
    run_folder = folders.make_run_folder(workspace, job.pk)
    ends = ends_of(job.pipeline) if job.pipeline else Ends(None, None)
    state = _state_of(job, ends) if job.type == JobType.PIPELINE_RUN else None
    environment = environment_of(job, ends, run_folder=str(run_folder))
    spec = RunSpec(
        job=str(job.pk),
        mark=job.mark,
        steps=_steps_of(job, ends, state),
        folder=str(folder),
        run_folder=str(run_folder),
        timeout_seconds=job.timeout_seconds if job.type == JobType.PIPELINE_RUN else SYSTEM_TIMEOUT_SECONDS,
        environment=environment,
        secrets=secrets_of(job, ends),
        run_as=folders.run_as(workspace),
        notices=_notices_of(job, ends, environment),
    )
    return spec, state


def _state_of(job: Job, ends: Ends) -> PipelineState | None:
    if job.pipeline is None or ends.extractor is None or ends.loader is None:
        return None
    row, _ = PipelineState.objects.get_or_create(
        pipeline=job.pipeline, extractor=ends.extractor.component, loader=ends.loader.component
    )
    return row


def _steps_of(job: Job, ends: Ends, state: PipelineState | None) -> list[Step]:
    common = _common(job, ends)
    if job.type == JobType.WORKSPACE_INIT:
        return [
            Step("Make the warehouse", "init", {**common, "loader": _default_loader(job), "publish_snapshot": True})
        ]
    if job.type == JobType.PIPELINE_CONFIG:
        return [Step("Check the pipeline", "check", {**common, "models": _models_of(job, ends.loader)})]
    if job.type == JobType.PIPELINE_ENV:
        return [Step("Test both ends", "test", common)]
    if job.type != JobType.PIPELINE_RUN:
        raise Invalid(f"This version does not know jobs of the type {job.type}.")
    if ends.extractor is None or ends.loader is None:
        return []  # as the API has it: without a pair nothing is done, a message says so, and the job is complete
    models = _models_of(job, ends.loader)
    move = {
        **common,
        "state": merge(state.state, state.partial) if state else {},
        "epoch": state.epoch if state else 0,
        "sequence": state.sequence if state else 0,
        "full_refresh": job.full_refresh,
        "streams": None,
        "publish_snapshot": not models,
    }
    steps = [Step("Extract and load", "move", move)]
    if models:
        steps.append(Step("Build SQL models", "models", {**common, "models": models, "publish_snapshot": True}))
    return steps


def _common(job: Job, ends: Ends) -> dict[str, Any]:
    pipeline = job.pipeline
    return {
        "pipeline": str(pipeline.pk) if pipeline else "",
        "pipeline_label": pipeline.label if pipeline else "",
        "job": str(job.pk),
        "job_number": job.number,
        "attempt": job.attempt,
        "extractor": _end(ends.extractor),
        "loader": _end(ends.loader),
        "schema": job.workspace.alias,
        "files_folder": "files",
        "run_folder": f"runs/{job.pk}",
        "allowed_folders": list(settings.ELTSITE_ALLOWED_FOLDERS),
        "publish_snapshot": False,
        "limits": {
            "memory_bytes": MEMORY_BYTES,
            "threads": min(os.cpu_count() or 1, 4),
            "snapshot_max_bytes": 2048 * MIB,
            "lock_wait_seconds": LOCK_WAIT_SECONDS,
            "http_max_bytes": settings.ELTSITE_HTTP_MAX_BYTES,
            "allow_private_addresses": settings.ELTSITE_ALLOW_PRIVATE_ADDRESSES,
            "statement_timeout_seconds": job.timeout_seconds,
        },
    }


def _end(end: End | None) -> dict[str, Any] | None:
    if end is None:
        return None
    return {"plugin": end.plugin.name, "name": end.component.name, "settings": end.settings}


def _default_loader(job: Job) -> dict[str, Any]:
    store = DataComponent.objects.select_related("plugin").filter(workspace=job.workspace, is_default=True).first()
    values = {"path": WAREHOUSE, **(store.properties if store else {})}
    return {"plugin": "target-duckdb", "name": store.name if store else "Warehouse", "settings": values}


def _models_of(job: Job, loader: End | None) -> list[dict[str, str]]:
    """The workspace's SQL models that the loader's setting `models` names; none for a loader without that setting."""
    pattern = str(loader.settings.get("models") or "") if loader else ""
    if pattern in ("", "-"):
        return []
    files = WorkspaceFile.objects.filter(workspace=job.workspace, path__endswith=".sql").order_by("path")
    return [
        {"path": file.path, "sql": bytes(file.content).decode("utf-8", "replace")}
        for file in files
        if fnmatch(file.path, pattern)
    ]


def environment_of(job: Job, ends: Ends, *, run_folder: str) -> dict[str, str]:
    """A child's environment, built from nothing: what a program needs to start, and who it works for.

    Settings are not in it: movers read them from standard input, where no other process sees them.
    """
    values = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": run_folder,
        "TMPDIR": run_folder,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "JOB_ID": str(job.pk),
        "WORKSPACE_ID": str(job.workspace_id),
    }
    if job.pipeline:
        values["PIPELINE_ID"] = str(job.pipeline_id)
    if ends.extractor:
        values["EXTRACTOR"] = ends.extractor.plugin.name
    if ends.loader:
        values["LOADER"] = ends.loader.plugin.name
    return values


def secrets_of(job: Job, ends: Ends | None = None) -> list[str]:
    """Every value that must not appear in the job's log: secret settings, and the workspace's sensitive variables."""
    if ends is None:
        try:
            ends = ends_of(job.pipeline) if job.pipeline else Ends(None, None)
        except Invalid:
            ends = Ends(None, None)
    found = [secret for end in ends.both for secret in end.secrets]
    found += [str(variable.value) for variable in job.workspace.variables.filter(is_sensitive=True)]
    return [secret for secret in found if secret]


def _notices_of(job: Job, ends: Ends, environment: dict[str, str]) -> list[tuple[str, str]]:
    """What the log begins with."""
    who = f"{job.pipeline.label}, " if job.pipeline else ""
    found = [("info", f"{who}job {job.number}, attempt {job.attempt + 1}, on {settings.ELTSITE_HOST}")]
    if job.type == JobType.PIPELINE_ENV:
        found += [("info", f"{name}={value}") for name, value in sorted(environment.items())]
        for end in ends.both:
            secret = end.plugin.secret_names
            for name, value in sorted(end.settings.items()):
                found.append(("info", f"{end.component.name}.{name} = {'***' if name in secret else value}"))
    if job.type == JobType.PIPELINE_RUN and len(ends.both) < 2:
        found.append(("warning", "The pipeline has no pair of extractor and loader: there is nothing to do."))
    if os.geteuid() == 0 and not settings.ELTSITE_RUN_AS:
        found.append(
            ("warning", "ELTSITE_RUN_AS is empty: this run works as root and could read everything on the host.")
        )
    return found
