"""A workspace's own plugin definitions: made, changed, imported and deleted. Called through services.py.

What eltsite ships is read only, and a definition of the same name and variant is refused: it would be unclear which of
the two a component uses. A workspace that wants another release or other settings gives its definition a variant of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from eltsite.errors import Conflict, FieldError, Invalid, NotFound
from pipelines.definition_checks import faults_of
from pipelines.hub import definitions_from, normalised
from pipelines.locks import lock_row, lock_workspace
from pipelines.models import DataPlugin, Pipeline, PipelineStatus
from pipelines.plugins import MASK, parse, parse_setting
from pipelines.signals import pipeline_changed
from workspaces.models import User, Workspace

# Ours, not the contract's: where a change does not name one, it stays.
EXTENSIONS = ("store", "monogram")


@transaction.atomic
def save_plugin(
    workspace: Workspace,
    *,
    plugin: DataPlugin | None = None,
    plugin_id: UUID | None = None,
    definition: Mapping[str, Any],
    user: User | None = None,
) -> DataPlugin:
    """Make or replace a definition of the workspace's own; `***` keeps the stored default of a secret setting.

    1. Bring it into the stored form and check it; nothing is written when it has a fault.
    2. Refuse names that are taken, and a change of type under components that use it.
    3. Write it, and have the pipelines that use it checked again.
    """
    workspace = lock_workspace(workspace)
    row = _own(workspace, plugin) if plugin else DataPlugin(workspace=workspace)
    if plugin is None and plugin_id is not None:
        if DataPlugin.objects.filter(pk=plugin_id).exists():
            raise Conflict(f"There is a plugin with the id {plugin_id} already. Use another id.")
        row.id = plugin_id
    found = normalised(definition)
    errors = [*_unmask(found, row.definition), *faults_of(found, allowed_folders=settings.ELTSITE_ALLOWED_FOLDERS)]
    errors = errors or _taken(workspace, row, found)
    if errors:
        raise Invalid(_summary(errors), errors=errors)
    _write(row, found, user)
    return row


@transaction.atomic
def import_definitions(workspace: Workspace, text: str, user: User | None = None) -> list[DataPlugin]:
    """Make or replace every definition of a published document, in its order: all of them, or none."""
    workspace = lock_workspace(workspace)
    own = {(row.plugin_type, row.name, row.variant): row for row in workspace.plugins.select_for_update(no_key=True)}
    rows, errors = [], []
    for found in definitions_from(text, allowed_folders=settings.ELTSITE_ALLOWED_FOLDERS):
        row = own.get(_identity(found)) or DataPlugin(workspace=workspace)
        errors += [*_unmask(found, row.definition), *_taken(workspace, row, found)]
        rows.append((row, found))
    if errors:
        raise Invalid(_summary(errors), errors=errors)
    for row, found in rows:
        _write(row, found, user)
    return [row for row, _ in rows]


@transaction.atomic
def delete_plugin(plugin: DataPlugin, *, user: User | None = None) -> None:
    """Delete a definition of a workspace's own that no component uses."""
    if plugin.workspace is None:
        _own(None, plugin)
    workspace = lock_workspace(plugin.workspace)  # type: ignore[arg-type]
    row = _own(workspace, plugin)
    users = list(row.components.order_by("name").values_list("name", flat=True))
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise Conflict(f"{row.name} is used by {', '.join(users[:5])}{more}. Delete what uses it first.")
    row.delete()


def _own(workspace: Workspace | None, plugin: DataPlugin) -> DataPlugin:
    """The row, locked. Raises where it is not the workspace's to change."""
    if plugin.workspace_id is None:
        raise Conflict(
            f"{plugin.full_name} comes with eltsite and stays as it is. Make one of your own with another variant."
        )
    if workspace is None or plugin.workspace_id != workspace.pk:
        raise NotFound()
    return lock_row(plugin)


def _identity(definition: Mapping[str, Any]) -> tuple[str, str, str]:
    return definition["pluginType"], definition["name"], definition["variant"]


def _taken(workspace: Workspace, row: DataPlugin, found: Mapping[str, Any]) -> list[FieldError]:
    kind, name, variant = _identity(found)
    before = (row.plugin_type, row.name, row.variant)
    is_new = row._state.adding
    if not is_new and kind != row.plugin_type and row.components.exists():
        message = (
            f"{row.name} is used by components, so it stays of the type {row.plugin_type}. Make another plugin instead."
        )
        return [FieldError("pluginType", message, value=kind)]
    if not is_new and before == (kind, name, variant):
        return []
    same = DataPlugin.objects.filter(plugin_type=kind, name=name, variant=variant).exclude(pk=row.pk)
    if same.filter(workspace__isnull=True).exists():
        message = (
            f"{name}: the variant {variant} comes with eltsite. Give your definition a variant of its own, such as "
            f"{variant}-own."
        )
        return [FieldError("variant", message, code="taken", value=variant)]
    if same.filter(workspace=workspace).exists():
        message = (
            f"{name}: this workspace has the variant {variant} already. Change that one, or choose another variant."
        )
        return [FieldError("variant", message, code="taken", value=variant)]
    return []


def _unmask(found: dict[str, Any], stored: Mapping[str, Any], where: str = "settings") -> list[FieldError]:
    """Put the stored default where `***` stands for it, also in the `items` of a setting; errors where there is none."""
    errors = []
    key = where.rpartition(".")[2]
    before = {each.get("name"): each for each in stored.get(key) or [] if isinstance(each, Mapping)}
    given = found.get(key)
    for position, setting in enumerate(given if isinstance(given, list) else []):
        if not isinstance(setting, dict):
            continue
        place = f"{where}[{position}]"
        old = before.get(setting.get("name"), {})
        errors += _unmask(setting, old, f"{place}.items")
        if setting.get("value") != MASK:
            continue
        if "value" in old and parse_setting(old).is_secret:
            setting["value"] = old["value"]
        else:
            message = f"setting {setting.get('name')}: {MASK} stands for the stored default, and none is stored. Leave it out."
            errors.append(FieldError(f"{place}.value", message, code="no-stored-value"))
    return errors


def _write(row: DataPlugin, found: dict[str, Any], user: User | None) -> None:
    is_new = row._state.adding
    kept = {key: row.definition[key] for key in EXTENSIONS if key in row.definition and key not in found}
    before = row.definition
    plugin = parse(found)
    row.plugin_type, row.name, row.variant, row.label = plugin.plugin_type, plugin.name, plugin.variant, plugin.label
    row.definition = {"id": str(row.pk), **found, **kept}
    row.save(force_insert=is_new)
    if not is_new and row.definition != before:
        _tell_pipelines(row, user)


def _tell_pipelines(row: DataPlugin, user: User | None) -> None:
    """Have the pipelines that use the plugin checked again: settings may have gone, or another release is wanted."""
    pipelines = Pipeline.objects.alive().filter(components__plugin=row).exclude(status=PipelineStatus.DRAFT)
    ids = list(pipelines.values_list("pk", flat=True).distinct())
    for pipeline in Pipeline.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True, of=("self",)):
        pipeline.status, pipeline.status_reason = PipelineStatus.PROVISIONING, ""
        pipeline.save(update_fields=["status", "status_reason", "modified_at"])
        pipeline_changed.send(Pipeline, pipeline=pipeline, user=user, needs_check=True)


def _summary(errors: list[FieldError]) -> str:
    return errors[0].message if len(errors) == 1 else f"{len(errors)} faults in the definition. {errors[0].message}"
