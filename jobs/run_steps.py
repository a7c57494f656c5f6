"""Which steps a job takes, by its type and by what its two ends are: ours, or connectors."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from typing import Any

from django.conf import settings

from eltsite.errors import Invalid
from jobs.admission import WAREHOUSE
from jobs.connectors import catalog_key, connector_of, connectors_of, discovers, environments_of, known_catalog
from jobs.definitions import End, Ends
from jobs.engine.interface import (
    AnyStep,
    DiscoverStep,
    EnvironmentStep,
    ExtractLoadStep,
    ProbeStep,
    SampleStep,
    Step,
    TargetTestStep,
)
from jobs.models import Job
from jobs.status import JobType
from pipelines.models import DataComponent, PipelineState, WorkspaceFile
from pipelines.state_values import merge

MIB = 1024 * 1024
MEMORY_BYTES = 256 * MIB  # of a store's engine; the rest of a mover needs about as much again
LOCK_WAIT_SECONDS = 60


def steps_of(job: Job, ends: Ends, state: PipelineState | None) -> list[AnyStep]:
    """The steps in order. Connectors need their environments first."""
    common = _common(job, ends)
    if job.type == JobType.WORKSPACE_INIT:
        return [
            Step("Make the warehouse", "init", {**common, "loader": _default_loader(job), "publish_snapshot": True})
        ]
    first: list[AnyStep] = []
    if connectors_of(ends):
        first.append(EnvironmentStep("Prepare environments", environments_of(ends)))
    if job.type == JobType.PIPELINE_CONFIG:
        return [*first, *_check_steps(job, ends, common)]
    if job.type in (JobType.PIPELINE_ENV, JobType.COMPONENT_TEST):
        return [*first, *_test_steps(ends, common)]
    if job.type != JobType.PIPELINE_RUN:
        raise Invalid(f"This version does not know jobs of the type {job.type}.")
    if ends.extractor is None or ends.loader is None:
        return []  # as the API has it: without a pair nothing is done, a message says so, and the job is complete
    models = _models_of(job, ends.loader)
    steps = [*first, *_run_steps(job, ends, {**common, "publish_snapshot": not models}, state)]
    if models:
        steps.append(Step("Build SQL models", "models", {**common, "models": models, "publish_snapshot": True}))
    return steps


def _check_steps(job: Job, ends: Ends, common: dict[str, Any]) -> list[AnyStep]:
    """Opens nothing: what is installed, and whether the definition makes sense."""
    probes = [ProbeStep(f"Look for {end.plugin.name}", connector_of(end)) for end in connectors_of(ends)]
    if len(probes) == len(ends.both) > 0:
        return [*probes]
    return [*probes, Step("Check the pipeline", "check", {**common, "models": _models_of(job, ends.loader)})]


def _test_steps(ends: Ends, common: dict[str, Any]) -> list[AnyStep]:
    """Both ends are opened; streams are found, a few rows read, and nothing is loaded."""
    steps: list[AnyStep] = []
    if any(end.plugin.is_native for end in ends.both):
        steps.append(Step("Test both ends" if len(ends.both) == 2 else "Test the connection", "test", common))
    extractor, loader = ends.extractor, ends.loader
    if extractor is not None and extractor.plugin.is_native:
        mine = {**common, "component": str(extractor.component.pk), "key": catalog_key(extractor)}
        steps += [Step("Discover streams", "discover", mine), Step("Read sample rows", "sample", mine)]
    elif extractor is not None:
        if discovers(extractor):
            steps.append(_discovery(extractor))
        steps.append(SampleStep("Read sample rows", connector_of(extractor), None))
    if loader is not None and not loader.plugin.is_native:
        steps.append(TargetTestStep(f"Start {loader.plugin.name}", connector_of(loader)))
    return steps


def _run_steps(job: Job, ends: Ends, spec: dict[str, Any], state: PipelineState | None) -> list[AnyStep]:
    extractor, loader = ends.extractor, ends.loader
    assert extractor is not None and loader is not None
    position = {"epoch": state.epoch if state else 0, "sequence": state.sequence if state else 0}
    begin = merge(state.state, state.partial) if state else {}
    if extractor.plugin.is_native and loader.plugin.is_native:
        move = {**spec, **position, "state": begin, "full_refresh": job.full_refresh, "streams": None}
        return [Step("Extract and load", "move", move)]
    steps: list[AnyStep] = []
    catalog = None
    if not extractor.plugin.is_native and discovers(extractor):
        catalog = None if job.full_refresh else known_catalog(extractor)
        if catalog is None:
            steps.append(_discovery(extractor))
    pair = ExtractLoadStep(
        "Extract and load",
        extractor=None if extractor.plugin.is_native else connector_of(extractor),
        loader=None if loader.plugin.is_native else connector_of(loader),
        mover=spec,
        state=begin,
        catalog=catalog,
        full_refresh=job.full_refresh,
        **position,
    )
    return [*steps, pair]


def _discovery(extractor: End) -> DiscoverStep:
    return DiscoverStep(
        "Discover streams",
        extractor=connector_of(extractor),
        component=str(extractor.component.pk),
        key=catalog_key(extractor),
    )


def _common(job: Job, ends: Ends) -> dict[str, Any]:
    pipeline = job.pipeline
    return {
        # A store remembers loads under this: another extractor of the same pipeline begins anew.
        "pipeline": f"{pipeline.pk}/{ends.extractor.component.pk}" if pipeline and ends.extractor else "",
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
    # A connector may bear the name of one of ours: only those that movers run go by the bare name.
    plugin = end.plugin.name if end.plugin.is_native else end.plugin.full_name
    return {"plugin": plugin, "name": end.component.name, "settings": end.settings}


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
