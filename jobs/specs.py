"""From rows to the plain values of a run. The only place where secrets are opened for one."""

from __future__ import annotations

import json
import os
from typing import Any

from django.conf import settings

from eltsite.errors import Invalid
from jobs import folders
from jobs.connectors import connectors_of, installer_environment
from jobs.definitions import End, Ends, ends_of, ends_of_component
from jobs.engine.interface import RunSpec
from jobs.engine.steps.mover import ROOT
from jobs.models import Job
from jobs.run_steps import steps_of
from jobs.status import JobType
from pipelines.connector_config import variables_of_process
from pipelines.models import PipelineState
from pipelines.plugins import MASK

SYSTEM_TIMEOUT_SECONDS = 300
BUILD_TIMEOUT_SECONDS = 1800


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
    ends = ends_of_job(job)
    state = _state_of(job, ends) if job.type == JobType.PIPELINE_RUN else None
    environment = environment_of(job, ends, run_folder=str(run_folder))
    spec = RunSpec(
        job=str(job.pk),
        mark=job.mark,
        steps=steps_of(job, ends, state),
        folder=str(folder),
        run_folder=str(run_folder),
        timeout_seconds=job.timeout_seconds if job.type == JobType.PIPELINE_RUN else _system_timeout(ends),
        environment=environment,
        secrets=secrets_of(job, ends),
        run_as=folders.run_as(workspace),
        notices=_notices_of(job, ends, environment),
        environments_folder=str(settings.ELTSITE_ENVIRONMENTS),
        installer=installer_environment(),
    )
    return spec, state


def ends_of_job(job: Job) -> Ends:
    """What a job works with; nothing for one of the workspace itself."""
    if job.pipeline is not None:
        return ends_of(job.pipeline)
    return ends_of_component(job.component) if job.component is not None else Ends(None, None)


def _system_timeout(ends: Ends) -> float:
    """Checks and tests: longer where an environment may have to be built first."""
    return BUILD_TIMEOUT_SECONDS if connectors_of(ends) else SYSTEM_TIMEOUT_SECONDS


def _state_of(job: Job, ends: Ends) -> PipelineState | None:
    if job.pipeline is None or ends.extractor is None or ends.loader is None:
        return None
    row, _ = PipelineState.objects.get_or_create(
        pipeline=job.pipeline, extractor=ends.extractor.component, loader=ends.loader.component
    )
    return row


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
            ends = ends_of_job(job)
        except Invalid:
            ends = Ends(None, None)
    found = [secret for end in ends.both for secret in end.secrets]
    found += [str(variable.value) for variable in job.workspace.variables.filter(is_sensitive=True)]
    return [secret for secret in found if secret]


def _notices_of(job: Job, ends: Ends, environment: dict[str, str]) -> list[tuple[str, str]]:
    """What the log begins with."""
    subject = job.pipeline.label if job.pipeline else job.component.name if job.component else job.workspace.name
    found = [("info", f"{subject}, job {job.number}, attempt {job.attempt + 1}, on {settings.ELTSITE_HOST}")]
    if job.type in (JobType.PIPELINE_ENV, JobType.COMPONENT_TEST):
        found += [("info", f"{name}={value}") for name, value in sorted(environment.items())]
        for end in ends.both:
            found += _settings_shown(end)
    if job.type == JobType.PIPELINE_RUN and len(ends.both) < 2:
        found.append(("warning", "The pipeline has no pair of extractor and loader: there is nothing to do."))
    if os.geteuid() == 0 and not settings.ELTSITE_RUN_AS:
        found.append(
            ("warning", "ELTSITE_RUN_AS is empty: this run works as root and could read everything on the host.")
        )
    return found


def _written(value: Any) -> str:
    """A value as a person sets it: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _settings_shown(end: End) -> list[tuple[str, str]]:
    """A component's settings with secrets masked, and the variables its own process finds them in."""
    secret = end.plugin.secret_names
    found = [
        ("info", f"{end.component.name}.{name} = {MASK if name in secret else _written(value)}")
        for name, value in sorted(end.settings.items())
    ]
    if not end.plugin.is_native:
        variables = variables_of_process(end.plugin, {name: MASK for name in secret if name in end.settings})
        open_ones = {name: value for name, value in end.settings.items() if name not in secret}
        variables |= variables_of_process(end.plugin, open_ones)
        found += [("info", f"{name}={value}") for name, value in sorted(variables.items())]
    return found
