"""Pages of a pipeline's definition: its configuration to look at, and the switches of its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST

from eltsite import words
from eltsite.errors import Invalid, NotFound
from pipelines import services
from pipelines.components import definition_of
from pipelines.models import DataComponent, Pipeline
from pipelines.plugins import Setting
from workspaces.context import workspace_page
from workspaces.models import Workspace
from workspaces.toasts import toast


@dataclass(frozen=True)
class ShownSetting:
    """A setting as a page shows it. The value of a secret never leaves the database."""

    name: str
    label: str
    value: str
    note: str
    is_secret: bool = False
    set_at: datetime | None = None  # of a secret


@dataclass(frozen=True)
class ShownComponent:
    """A component with its settings."""

    component: DataComponent
    kind: str
    plugin: str
    settings: list[ShownSetting]


def shown_components(pipeline: Pipeline) -> list[ShownComponent]:
    """The components of a pipeline in order, with what is set on them and what the pipeline sets over it."""
    found = []
    for step in pipeline.steps.select_related("component__plugin"):  # type: ignore[attr-defined]
        component = step.component
        definition = definition_of(component.plugin)
        prefix = f"{component.name}."
        over = {key.removeprefix(prefix): value for key, value in pipeline.properties.items() if key.startswith(prefix)}
        secrets = {
            **component.secrets_set,
            **{name: pipeline.secrets_set[prefix + name] for name in over if prefix + name in pipeline.secrets_set},
        }
        settings = [
            _shown(setting, component.properties, over, secrets)
            for setting in definition.settings
            if not setting.hidden
            and (setting.name in over or setting.name in component.properties or setting.default is not None)
        ]
        found.append(
            ShownComponent(
                component,
                component.plugin.get_plugin_type_display(),
                definition.label or component.plugin.name,
                settings,
            )
        )
    return found


def _shown(
    setting: Setting, own: Mapping[str, Any], over: Mapping[str, Any], secrets: Mapping[str, Any]
) -> ShownSetting:
    is_set = setting.name in over or setting.name in own
    note = "set by this pipeline" if setting.name in over else "" if setting.name in own else "by default"
    if setting.is_secret:
        by, at = _set_by(secrets.get(setting.name))
        return ShownSetting(
            setting.name, setting.title, "Stored, never shown" if is_set else "Not set", by, is_secret=True, set_at=at
        )
    value = over.get(setting.name, own.get(setting.name, setting.default))
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return ShownSetting(setting.name, setting.title, text or "empty", note)


def _set_by(record: Any) -> tuple[str, datetime | None]:
    """Who stored a secret and when, as far as it is known."""
    if not isinstance(record, Mapping):
        return "", None
    by = f"set by {str(record['by'])[:40]}" if record.get("by") else "set"
    at = parse_datetime(str(record.get("at") or ""))
    return (by if at or record.get("by") else "", at)


def find(request: HttpRequest, workspace: Workspace, number: int) -> Pipeline:
    """A visible pipeline of the workspace."""
    pipeline = workspace.pipelines.visible_to(request.user).filter(number=number).first()  # type: ignore[attr-defined]
    if pipeline is None:
        raise NotFound(f"There is no pipeline {number} in {workspace}, or it was deleted.")
    return pipeline


@require_POST
@workspace_page("run")
def pause(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Stop the schedule from firing."""
    pipeline = find(request, workspace, number)
    next_run_at = pipeline.next_run_at
    services.pause_schedule(pipeline, now=timezone.now())
    said = f"{pipeline.label} is paused."
    if next_run_at:
        said += f" Its next fire was {words.clock(next_run_at, timezone.now(), timezone.get_current_timezone())}."
    toast(request, said, undo=reverse("pipeline-resume", args=[workspace.alias, number]))
    return _back(request, workspace, number)


@require_POST
@workspace_page("run")
def resume(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Let the schedule fire again."""
    pipeline = services.resume_schedule(find(request, workspace, number), now=timezone.now())
    said = f"{pipeline.label} fires again."
    if pipeline.next_run_at:
        said += f" Next: {words.clock(pipeline.next_run_at, timezone.now(), timezone.get_current_timezone())}."
    toast(request, said)
    return _back(request, workspace, number)


def _back(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    if request.GET.get("stay"):
        return redirect("pipeline-pages", workspace.alias)
    return redirect("pipeline-page", workspace.alias, number)


@require_http_methods(["GET", "POST"])
@workspace_page("write")
def delete(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Ask for the name, then delete: what goes and what stays is said first."""
    pipeline = find(request, workspace, number)
    fault = ""
    if request.method == "POST":
        typed = request.POST.get("label", "").strip()
        try:
            if typed != pipeline.label:
                raise Invalid.field(
                    "label", f"“{typed[:80]}” is not the pipeline's name. Type {pipeline.label} to delete it."
                )
            services.delete_pipeline(pipeline, user=request.user)
        except Invalid as error:
            fault = error.message
        else:
            toast(request, f"{pipeline.label} is deleted. The tables it loaded stay.")
            return redirect("pipeline-pages", workspace.alias)
    context = {
        "nav": "pipelines",
        "nav_is": "true",
        "here": workspace,
        "pipeline": pipeline,
        "fault": fault,
        "jobs": pipeline.jobs.visible_to(request.user).count(),  # type: ignore[attr-defined]
        "downstream": list(pipeline.triggers.visible_to(request.user).only("label")),  # type: ignore[attr-defined]
    }
    return render(request, "pipelines/pipeline_delete.html", context, status=400 if fault else 200)
