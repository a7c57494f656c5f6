"""Components: named configurations of one plugin in one workspace. Its functions are called through services.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from eltsite.errors import Conflict, FieldError, Invalid
from pipelines.locks import lock_row, lock_workspace
from pipelines.models import DataComponent, DataPlugin, Pipeline, PipelineStatus
from pipelines.plugins import NATIVE, Plugin, parse
from pipelines.signals import component_deleting, pipeline_changed
from pipelines.validation import (
    MOST_NAMED,
    Part,
    Surroundings,
    canonical,
    changed_secrets,
    check_part,
    check_properties,
    split_properties,
    summary,
    unmask,
    warnings_of,
)
from pipelines.values import nearest
from workspaces.models import User, Workspace

LONGEST_NAME = 160


def definition_of(plugin: DataPlugin) -> Plugin:
    """The definition of a plugin's row, parsed."""
    return parse(plugin.definition)


def surroundings_of(workspace: Workspace) -> Surroundings:
    """What the properties of a workspace are checked against."""
    return Surroundings(variables=variables_of(workspace), allowed_folders=settings.ELTSITE_ALLOWED_FOLDERS)


def variables_of(workspace: Workspace) -> dict[str, str]:
    """The values of the workspace's variables, opened."""
    return {variable.name: variable.value for variable in workspace.variables.all()}


def part_of(component: DataComponent, overrides: Mapping[str, str] | None = None) -> Part:
    """A component as the checks see it."""
    return Part(component.name, definition_of(component.plugin), component.properties, overrides or {})


def parts_of(pipeline: Pipeline) -> list[Part]:
    """A pipeline's components in order, each with what the pipeline sets over it."""
    components = [step.component for step in pipeline.steps.select_related("component__plugin")]
    overrides = split_properties(pipeline.properties, [component.name for component in components])[0]
    return [part_of(component, overrides[component.name]) for component in components]


def component_warnings(component: DataComponent) -> list[str]:
    """What is allowed and probably not meant, as sentences."""
    return warnings_of(part_of(component), variables_of(component.workspace))


@transaction.atomic
def save_component(
    workspace: Workspace,
    *,
    component: DataComponent | None = None,
    component_id: Any = None,
    name: str,
    plugin: DataPlugin | str,
    properties: Mapping[str, Any],
    user: User | None = None,
    expected_revision: int | None = None,
) -> DataComponent:
    """Make or change a component. `***` for a secret keeps the stored value; other properties not given are removed.

    1. Check name, plugin and properties; nothing is written when one has a fault.
    2. Refuse a change that would leave a pipeline without something it needs.
    3. Write it, and carry a new name over to the properties of the pipelines that use it.
    4. Have those of them that had failed their check checked again.
    """
    workspace = lock_workspace(workspace)
    row = lock_row(component, expected_revision=expected_revision) if component else DataComponent(workspace=workspace)
    if component_id is not None and component is None:
        if DataComponent.objects.filter(pk=component_id).exists():
            raise Conflict(f"There is a component with the id {component_id} already. Use another id.")
        row.id = component_id
    before = part_of(row) if component else None
    errors = _check_name(row, name.strip())
    row_plugin = plugin if isinstance(plugin, DataPlugin) else find_plugin(workspace, plugin)
    if before and row_plugin.pk != row.plugin_id and row.uses.exists():
        errors.append(
            FieldError(
                "plugin",
                f"{row.name} is used by a pipeline, so its plugin stays {row.plugin.name}. Make another component instead.",
            )
        )
    definition = definition_of(row_plugin)
    given = canonical(definition, properties)
    texts, masked = unmask(definition, given, row.properties if before else {}, noted=row.secrets_set)
    errors += masked or check_properties(definition, texts, surroundings_of(workspace))
    if errors:
        raise Invalid(summary(errors), errors=errors)
    old_name, row.name, row.plugin = row.name, name.strip(), row_plugin
    note_secrets(row, changed_secrets(definition, texts, before.properties if before else {}), texts, user)
    row.properties = {key: text for key, text in texts.items() if text != ""}  # type: ignore[assignment]
    row.revision += 1 if before else 0
    if before:
        _refuse_to_break_pipelines(row, before)
    row.save(force_insert=before is None)
    if before:
        _tell_pipelines(row, old_name, user)
    return row


def note_secrets(
    row: DataComponent | Pipeline, changed: Iterable[str], texts: Mapping[str, str], user: User | None
) -> None:
    """Remember who set which secret when; forget those that are gone."""
    stamp = {"at": timezone.now().isoformat(timespec="seconds"), "by": user.display_name if user else ""}
    kept = {name: row.secrets_set[name] for name in row.secrets_set if texts.get(name)}
    row.secrets_set = kept | dict.fromkeys(sorted(changed), stamp)


@transaction.atomic
def delete_component(component: DataComponent, *, user: User | None = None) -> None:
    """Delete a component that no pipeline uses, with the tests of it. Raises Conflict where one is active."""
    lock_workspace(component.workspace)
    row = lock_row(component)
    if row.is_default:
        raise Conflict(f"{row.name} is the workspace's default store. Make another one the default first.")
    users = list(Pipeline.objects.filter(components=row).order_by("label"))
    if users:
        names = ", ".join(pipeline.label for pipeline in users[:5])
        waiting = (
            " It is still being deleted: try again in a moment." if all(each.deleting_at for each in users) else ""
        )
        raise Conflict(f"{row.name} is used by {names}. Take it out there first.{waiting}")
    component_deleting.send(DataComponent, component=row, user=user)
    row.delete()


@transaction.atomic
def make_default_store(component: DataComponent, *, user: User | None = None) -> DataComponent:
    """Make a loader's component the workspace's default store."""
    lock_workspace(component.workspace)
    row = lock_row(component)
    if not definition_of(row.plugin).is_loader:
        raise Conflict(f"{row.name} is no store: only a component of a loader can be the default store.")
    row.workspace.components.filter(is_default=True).update(is_default=False)
    row.is_default = True
    row.save(update_fields=["is_default", "modified_at"])
    return row


# ---------- plugins and references by name ----------


def find_plugin(workspace: Workspace, full_name: str) -> DataPlugin:
    """The plugin that `extractors/tap-files--eltsite` or, its variant left off, `extractors/tap-files` names.

    Without a variant the native one is meant, else the only one there is. Of two with one name and variant the
    workspace's own is meant: it was there before eltsite shipped the other.
    """
    plugins = list(DataPlugin.objects.usable_in(workspace).order_by("name", "variant"))
    wanted = full_name.strip()
    exact = [plugin for plugin in plugins if plugin.full_name == wanted]
    short = [plugin for plugin in plugins if wanted in (_without_variant(plugin), plugin.name)]
    shown = [plugin for plugin in short if not plugin.is_hidden]
    native = [plugin for plugin in short if plugin.variant == NATIVE and plugin.workspace_id is None]
    found = exact or native or shown or short
    found = [plugin for plugin in found if plugin.workspace_id] if exact and len(found) > 1 else found
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(plugin.full_name for plugin in found)
        raise Invalid.field("plugin", f"{wanted} has several variants. Write {names}.", value=wanted, code="ambiguous")
    known = [name for plugin in plugins if not plugin.is_hidden for name in (_without_variant(plugin), plugin.name)]
    meant = nearest(wanted.partition("--")[0], known)
    there = list(dict.fromkeys(known[::2]))
    more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    remedy = f"Did you mean {meant}?" if meant else f"There are {', '.join(there[:MOST_NAMED])}{more}."
    raise Invalid.field("plugin", f"There is no plugin {wanted}. {remedy}", value=wanted, code="unknown")


def _without_variant(plugin: DataPlugin) -> str:
    return plugin.full_name.partition("--")[0]


def component_for_reference(workspace: Workspace, reference: str) -> DataComponent:
    """The component of that name; for a fully qualified plugin name its plain component, made when it is missing."""
    found = workspace.components.select_related("plugin").filter(name=reference).first()
    if found is not None:
        return found
    if "/" not in reference:
        names = list(workspace.components.values_list("name", flat=True))
        meant = nearest(reference, names)
        remedy = f"Did you mean {meant}?" if meant else f"There are {', '.join(names)}." if names else "Make it first."
        raise Invalid.field(
            "components", f"There is no component {reference}. {remedy}", value=reference, code="unknown"
        )
    try:
        plugin = find_plugin(workspace, reference)
    except Invalid as fault:
        raise Invalid.field("components", fault.message, value=reference, code=fault.errors[0].code) from None
    name, number = plugin.name, 1
    while True:
        found = workspace.components.select_related("plugin").filter(name=name).first()
        if found is None:
            return DataComponent.objects.create(workspace=workspace, plugin=plugin, name=name)
        if found.plugin_id == plugin.pk:
            return found
        number += 1
        name = f"{plugin.name}-{number}"


# ---------- inside save_component ----------


def _check_name(row: DataComponent, name: str) -> list[FieldError]:
    if not name:
        return [FieldError("name", "The component has no name. Give it one, such as Shop files.", code="required")]
    if len(name) > LONGEST_NAME or not name.isprintable():
        message = f"The name of a component is one line of at most {LONGEST_NAME} characters. Shorten it."
        return [FieldError("name", message, value=name)]
    if row.workspace.components.filter(name=name).exclude(pk=row.pk).exists():
        return [
            FieldError(
                "name", f"There is a component {name} in this workspace already. Choose another name.", "taken", name
            )
        ]
    return []


def _refuse_to_break_pipelines(row: DataComponent, before: Part) -> None:
    """Raise Invalid where a pipeline that was complete no longer would be."""
    around = surroundings_of(row.workspace)
    for pipeline in row.pipelines.alive().exclude(status=PipelineStatus.DRAFT):
        overrides = split_properties(pipeline.properties, _names_in(pipeline))[0][before.name]
        old = Part(before.name, before.plugin, before.properties, overrides)
        new = part_of(row, overrides)
        faults_before = {error.field.partition(f"{before.name}.")[2] for error in check_part(old, around)}
        broken = [
            error for error in check_part(new, around) if error.field.partition(f"{row.name}.")[2] not in faults_before
        ]
        if broken:
            name = broken[0].field.partition(f"{row.name}.")[2]
            message = f"The pipeline {pipeline.label} uses {before.name} and would be left without {name}. {broken[0].message}"
            raise Invalid.field(f"properties.{name}", message, code=broken[0].code)


def _names_in(pipeline: Pipeline) -> list[str]:
    return list(pipeline.components.values_list("name", flat=True))


def _tell_pipelines(row: DataComponent, old_name: str, user: User | None) -> None:
    """Carry a new name over to the properties of pipelines, and have failed ones checked again."""
    for pipeline in row.pipelines.alive().select_for_update(no_key=True, of=("self",)):
        fields = ["modified_at"]
        if row.name != old_name:
            names = [old_name if name == row.name else name for name in _names_in(pipeline)]
            by_component = split_properties(pipeline.properties, names)[0]
            by_component[row.name] = by_component.pop(old_name)
            pipeline.properties = {
                f"{name}.{key}": text for name, texts in by_component.items() for key, text in texts.items()
            }
            stamps = split_properties(pipeline.secrets_set, names)[0]
            stamps[row.name] = stamps.pop(old_name)
            pipeline.secrets_set = {
                f"{name}.{key}": stamp for name, each in stamps.items() for key, stamp in each.items()
            }
            fields += ["properties", "secrets_set"]
        needs_check = pipeline.status == PipelineStatus.FAILED
        if needs_check:
            pipeline.status, pipeline.status_reason = PipelineStatus.PROVISIONING, ""
            fields += ["status", "status_reason"]
        if len(fields) > 1:
            pipeline.save(update_fields=fields)
        if needs_check:
            pipeline_changed.send(Pipeline, pipeline=pipeline, user=user, needs_check=True)
