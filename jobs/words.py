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
    warned = sum(1 for check in facts["checks"] if check.get("ok") is None)
    warnings = f", with {counted(warned, 'warning')}" if warned else ""
    if job.type == JobType.PIPELINE_CONFIG:
        return f"Ready to run{warnings}"
    if job.type == JobType.PIPELINE_ENV:
        return f"Both ends answer: {_tested(facts)}{warnings}"
    if job.type == JobType.COMPONENT_TEST:
        name = job.component.name if job.component else "The component"
        return f"{name} answers: {_tested(facts)}{warnings}"
    return _run_headline(facts)


def _tested(facts: Mapping[str, Any]) -> str:
    passed = sum(1 for check in facts["checks"] if check.get("ok"))
    rows = sum(len(sample["rows"]) for sample in facts["samples"])
    sampled = f", {counted(rows, 'sample row')} of {counted(len(facts['samples']), 'stream')}"
    return f"{counted(passed, 'check')} passed{sampled if facts['samples'] else ''}"


def _run_headline(facts: Mapping[str, Any]) -> str:
    if not facts["steps"]:
        return "Nothing to do: no pair of extractor and loader"
    rows, streams = facts["rows_written"], len(facts["streams"])
    built = len(facts["models_built"])
    tail = f", {counted(built, 'SQL model')} built" if built else ""
    if not rows:
        return f"Nothing new to load{tail}"
    return f"Loaded {counted(rows, 'row')} in {counted(streams, 'stream')}{tail}"
