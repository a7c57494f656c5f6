"""Writes of pipelines; and the one door to the writes of components, files, variables, state and the catalogue."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.text import slugify

from eltsite.errors import Conflict, FieldError, Invalid
from pipelines import cron
from pipelines.components import (
    component_for_reference,
    component_warnings,
    definition_of,
    delete_component,
    find_plugin,
    make_default_store,
    note_secrets,
    part_of,
    parts_of,
    save_component,
    surroundings_of,
    variables_of,
)
from pipelines.environments import (
    environment_for,
    rebuild_environment,
    record_built,
    record_error,
    record_lock,
    roll_back_environment,
    touch,
    upgrade_environment,
)
from pipelines.files import delete_file, delete_variable, save_file, save_variable
from pipelines.locks import ChangedMeanwhile, lock_row, lock_workspace
from pipelines.models import DataComponent, Pipeline, PipelineComponent, PipelineStatus
from pipelines.pipeline_checks import LONGEST_LABEL, check_numbers, check_texts
from pipelines.plugin_rows import delete_plugin, import_definitions, save_plugin
from pipelines.shipped import sync_catalogue
from pipelines.signals import pipeline_changed, pipeline_deleting
from pipelines.state import edit_state, import_state, reset_state, undo_state_change
from pipelines.validation import (
    canonical,
    changed_secrets,
    check_part,
    find_circle,
    load_settings,
    pair_warnings,
    split_properties,
    summary,
    unmask,
    warnings_of,
)
from pipelines.values import nearest
from workspaces.models import User, Workspace

__all__ = [
    "ChangedMeanwhile",
    "component_warnings",
    "definition_of",
    "delete_component",
    "delete_file",
    "delete_pipeline",
    "delete_plugin",
    "delete_variable",
    "edit_state",
    "environment_for",
    "find_plugin",
    "import_definitions",
    "import_state",
    "make_default_store",
    "parts_of",
    "pause_schedule",
    "pipeline_warnings",
    "rebuild_environment",
    "record_built",
    "record_error",
    "record_lock",
    "reset_state",
    "resume_schedule",
    "roll_back_environment",
    "save_component",
    "save_file",
    "save_pipeline",
    "save_plugin",
    "save_variable",
    "sync_catalogue",
    "touch",
    "undo_state_change",
    "upgrade_environment",
    "variables_of",
]

DEPLOY = "deploy"  # the contract's name for a deployment among triggers


@transaction.atomic
def save_pipeline(
    workspace: Workspace,
    *,
    pipeline: Pipeline | None = None,
    pipeline_id: UUID | None = None,
    label: str,
    name: str = "",
    components: Sequence[DataComponent | str],
    properties: Mapping[str, Any],
    schedule: str = "",
    time_zone: str = "UTC",
    timeout_seconds: int = 0,
    max_retries: int = 0,
    retry_delay_seconds: int | None = None,
    triggered_by: Collection[Pipeline | str] = (),
    script: str = "",
    actions: Sequence[str] = (),
    tags: Sequence[str] = (),
    user: User | None = None,
    now: datetime | None = None,
    expected_revision: int | None = None,
) -> Pipeline:
    """Make or change a pipeline and have it checked: its status becomes PROVISIONING.

    1. Lock the workspace: names, numbers and triggers are checked across its pipelines.
    2. Find the components; make those given as plugin names.
    3. Check everything; raise Invalid with all faults at once, before anything is written.
    4. Write the row, its components and its triggers.
    5. Announce it; the answer to that is the job that checks it.
    """
    workspace = lock_workspace(workspace)
    row = lock_row(pipeline, expected_revision=expected_revision) if pipeline else Pipeline(workspace=workspace)
    row.label, row.script, row.actions = label.strip(), script.strip(), list(actions)
    row.tags = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    row.timeout_seconds, row.max_retries = timeout_seconds, max_retries
    if retry_delay_seconds is not None:
        row.retry_delay_seconds = retry_delay_seconds
    errors = [*check_texts(row), *check_numbers(row), *_set_name(row, name.strip())]
    chosen, faults = _choose_components(workspace, components)
    errors += faults
    errors += _set_properties(row, chosen, components, properties, user) if not faults else []
    errors += _set_schedule(row, schedule, time_zone, now or timezone.now())
    upstream, faults = _choose_triggers(row, triggered_by)
    errors += faults
    if errors:
        raise Invalid(summary(errors), errors=errors)
    _write(row, pipeline_id if pipeline is None else None, user)
    PipelineComponent.objects.filter(pipeline=row).delete()
    PipelineComponent.objects.bulk_create(
        PipelineComponent(pipeline=row, component=component, position=position)
        for position, component in enumerate(chosen)
    )
    row.triggered_by.set(upstream)
    pipeline_changed.send(Pipeline, pipeline=row, user=user, needs_check=True)
    return row


@transaction.atomic
def delete_pipeline(pipeline: Pipeline, *, user: User | None = None, now: datetime | None = None) -> None:
    """Hide a pipeline and ask its job to stop. The row goes when no job of it is active."""
    lock_workspace(pipeline.workspace)
    row = lock_row(pipeline)
    row.deleting_at = now or timezone.now()
    row.next_run_at = None
    row.rerun_requested = False
    row.save(update_fields=["deleting_at", "next_run_at", "rerun_requested", "modified_at"])
    row.triggered_by.clear()
    row.triggers.clear()
    pipeline_deleting.send(Pipeline, pipeline=row, user=user)


@transaction.atomic
def pause_schedule(pipeline: Pipeline, *, now: datetime) -> Pipeline:
    """Stop the schedule from firing. Runs by hand and by triggers go on."""
    row = lock_row(pipeline)
    row.is_paused, row.next_run_at = True, None
    row.save(update_fields=["is_paused", "next_run_at", "modified_at"])
    return row


@transaction.atomic
def resume_schedule(pipeline: Pipeline, *, now: datetime) -> Pipeline:
    """Let the schedule fire again, from its next slot after `now`; slots missed meanwhile are not made up."""
    row = lock_row(pipeline)
    row.is_paused = False
    row.next_run_at = cron.next_run_at(row.schedule, time_zone=row.time_zone, after=now)
    row.save(update_fields=["is_paused", "next_run_at", "modified_at"])
    return row


def pipeline_warnings(pipeline: Pipeline) -> list[str]:
    """What is allowed and probably not meant, as sentences."""
    variables = variables_of(pipeline.workspace)
    parts = parts_of(pipeline)
    found = [warning for part in parts for warning in warnings_of(part, variables)]
    try:
        settings = {part.plugin.plugin_type: load_settings(part, variables) for part in parts if part.plugin.is_native}
    except Invalid:
        return found  # faults are reported as such
    return found + pair_warnings(settings.get("EXTRACTOR", {}), settings.get("LOADER", {}))


# ---------- inside save_pipeline ----------


def _set_name(row: Pipeline, name: str) -> list[FieldError]:
    """The name given, else the one it has, else one made from the label. Names are unique in the workspace."""
    taken = set(
        Pipeline.objects.alive().filter(workspace=row.workspace).exclude(pk=row.pk).values_list("name", flat=True)
    )
    taken.add(DEPLOY)
    if name:
        row.name = name
        if len(name) > LONGEST_LABEL or not re.fullmatch(r"\S+", name) or not name.isprintable():
            message = f"The name {name} holds a space or is too long. Write at most {LONGEST_LABEL} characters without spaces."
            return [FieldError("name", message, value=name)]
        if name in taken:
            message = f"The name {name} is taken in this workspace. Choose another, or leave it empty to have one made."
            return [FieldError("name", message, value=name, code="taken")]
    elif not row.name:
        base = (slugify(row.label) or "pipeline")[: LONGEST_LABEL - 8]
        number = 1
        row.name = base
        while row.name in taken:
            number += 1
            row.name = f"{base}-{number}"
    return []


def _choose_components(
    workspace: Workspace, wanted: Sequence[DataComponent | str]
) -> tuple[list[DataComponent], list[FieldError]]:
    """The components in order; exactly one extracts and one loads."""
    chosen, errors = [], []
    for each in wanted:
        if isinstance(each, DataComponent) and each.workspace_id != workspace.pk:
            each = each.name
        try:
            chosen.append(each if isinstance(each, DataComponent) else component_for_reference(workspace, each.strip()))
        except Invalid as fault:
            errors += fault.errors
    if errors:
        return chosen, errors
    twice = next((component.name for component in chosen if chosen.count(component) > 1), None)
    if twice:
        message = f"The component {twice} is named twice. Name each once."
        return chosen, [FieldError("components", message, value=twice)]
    for plugin_type, verb, example in [
        ("EXTRACTOR", "extract from", "tap-files"),
        ("LOADER", "load into", "target-duckdb"),
    ]:
        names = [component.name for component in chosen if component.plugin.plugin_type == plugin_type]
        if not names:
            message = f"The pipeline has nothing to {verb}. Add a component of a plugin such as {example}."
            errors.append(FieldError("components", message, code="required"))
        elif len(names) > 1:
            message = (
                f"The pipeline names {' and '.join(names)} to {verb}, and takes one of them. Make a pipeline for each."
            )
            errors.append(FieldError("components", message, value=names))
    return chosen, errors


def _set_properties(
    row: Pipeline,
    components: Sequence[DataComponent],
    wanted: Sequence[DataComponent | str],
    properties: Mapping[str, Any],
    user: User | None,
) -> list[FieldError]:
    """Properties under their components' names, secrets kept where `***` stands; checked as a run would need them."""
    around = surroundings_of(row.workspace)
    by_component, errors = split_properties(*_by_own_name(components, wanted, properties))
    stored = split_properties(row.properties, list(by_component))[0]
    noted = split_properties(row.secrets_set, list(by_component))[0]
    result: dict[str, str] = {}
    changed: set[str] = set()
    for component in components:
        definition, prefix = definition_of(component.plugin), f"{component.name}."
        given = canonical(definition, by_component[component.name])
        texts, masked = unmask(definition, given, stored[component.name], prefix=prefix, noted=noted[component.name])
        errors += masked or check_part(part_of(component, texts), around)
        changed |= {prefix + key for key in changed_secrets(definition, texts, stored[component.name])}
        result |= {prefix + key: text for key, text in texts.items() if text != ""}
    note_secrets(row, changed, result, user)
    row.properties = result  # type: ignore[assignment]
    return errors


def _by_own_name(
    components: Sequence[DataComponent], wanted: Sequence[DataComponent | str], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Properties with their keys under the components' names, and these names.

    A component may also be called as the pipeline named it (`extractors/tap-files`) or by its plugin's name.
    """
    names = {component.name: component.name for component in components}
    for component, reference in zip(components, wanted, strict=True):
        names.setdefault(component.plugin.name, component.name)
        if isinstance(reference, str):
            names.setdefault(reference.strip(), component.name)
    result = {}
    for key, value in properties.items():
        fitting = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
        result[key if fitting is None else names[fitting] + key[len(fitting) :]] = value
    return result, [component.name for component in components]


def _set_schedule(row: Pipeline, schedule: str, time_zone: str, now: datetime) -> list[FieldError]:
    """The schedule and its next slot, which stays where neither schedule nor zone changed."""
    text = "" if schedule.strip() in cron.NEVER else " ".join(schedule.split())
    same = (text, time_zone) == (row.schedule, row.time_zone) and row.next_run_at is not None
    row.schedule, row.time_zone = text, time_zone
    if row.is_paused or same:
        return []
    try:
        row.next_run_at = cron.next_run_at(text, time_zone=time_zone, after=now)
    except cron.CronFault as fault:
        field = "time_zone" if fault.field == "time zone" else "schedule"
        return [FieldError(field, str(fault), value=fault.value, code="value")]
    return []


def _choose_triggers(row: Pipeline, wanted: Collection[Pipeline | str]) -> tuple[list[Pipeline], list[FieldError]]:
    """The pipelines whose success starts this one; names of them are taken, then labels. Circles are refused."""
    others = list(Pipeline.objects.alive().filter(workspace=row.workspace).prefetch_related("triggered_by"))
    by_name = {other.label: other for other in others} | {other.name: other for other in others}
    by_id = {other.pk: other for other in others}
    chosen, errors = [], []
    for each in wanted:
        found = by_id.get(each.pk) if isinstance(each, Pipeline) else by_name.get(each.strip())
        if found is not None:
            chosen.append(found)
        else:
            errors.append(_unknown_trigger(str(each), by_name))
    upstream = {other.pk: [each.pk for each in other.triggered_by.all()] for other in others}
    upstream[row.pk] = [other.pk for other in chosen]
    circle = find_circle(row.pk, upstream)
    if circle:
        labels = [row.label if pk == row.pk else by_id[pk].label for pk in reversed(circle)]
        message = f"The triggers go round in a circle: {' → '.join(labels)}. Take one of them out."
        errors.append(FieldError("triggered_by", message, value=labels, code="circle"))
    return chosen, errors


def _unknown_trigger(name: str, known: Mapping[str, Pipeline]) -> FieldError:
    if name.strip().lower() == DEPLOY:
        message = (
            "This workspace has no repository, so a deployment never ends in it. Take deploy out, or name a pipeline."
        )
        return FieldError("triggered_by", message, value=name, code="unknown")
    meant = nearest(name, known)
    remedy = f"Did you mean {meant}?" if meant else "Write the name of a pipeline of this workspace."
    return FieldError("triggered_by", f"There is no pipeline {name}. {remedy}", value=name, code="unknown")


def _write(row: Pipeline, pipeline_id: UUID | None, user: User | None) -> None:
    row.status, row.status_reason = PipelineStatus.PROVISIONING, ""
    if row.created_at is not None:
        row.revision += 1
        row.save()
        return
    if pipeline_id is not None:
        if Pipeline.objects.filter(pk=pipeline_id).exists():
            raise Conflict(
                f"There is a pipeline with the id {pipeline_id} already, or it is being deleted. Use another id."
            )
        row.id = pipeline_id
    row.created_by = user
    row.number = next_pipeline_number(row.workspace)
    row.save(force_insert=True)


def next_pipeline_number(workspace: Workspace) -> int:
    """The number of the next pipeline: raised first, so that the row's lock hands each number out once."""
    Workspace.objects.filter(pk=workspace.pk).update(next_pipeline_number=F("next_pipeline_number") + 1)
    return Workspace.objects.values_list("next_pipeline_number", flat=True).get(pk=workspace.pk) - 1
