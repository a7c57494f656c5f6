"""A job in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eltsite.words import counted
from jobs.status import JobType

if TYPE_CHECKING:
    from jobs.models import Job


def headline_of(job: Job, facts: Mapping[str, Any]) -> str:
    """What a job that went well did, in one line."""
    if job.type == JobType.WORKSPACE_INIT:
        return "Workspace is ready"
    if job.type == JobType.PIPELINE_CONFIG:
        warned = sum(1 for check in facts["checks"] if check.get("ok") is None)
        return "Ready to run" + (f", with {counted(warned, 'warning')}" if warned else "")
    if job.type == JobType.PIPELINE_ENV:
        return f"Both ends answer: {counted(len(facts['checks']), 'check')} passed"
    if job.type == JobType.COMPONENT_TEST:
        return f"It answers: {counted(len(facts['checks']), 'check')} passed"
    return _run_headline(facts)


def _run_headline(facts: Mapping[str, Any]) -> str:
    if not facts["steps"]:
        return "Nothing to do: no pair of extractor and loader"
    rows, streams = facts["rows_written"], len(facts["streams"])
    built = len(facts["models_built"])
    tail = f", {counted(built, 'SQL model')} built" if built else ""
    if not rows:
        return f"Nothing new to load{tail}"
    return f"Loaded {counted(rows, 'row')} in {counted(streams, 'stream')}{tail}"
