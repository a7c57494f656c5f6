"""Admin of definitions. What people define goes through the services; what runs wrote is read-only."""

from __future__ import annotations

from typing import Any

import yaml
from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from pipelines.cron import CronFault, describe
from pipelines.forms import (
    ComponentForm,
    FileForm,
    NewComponentForm,
    NewPipelineForm,
    PipelineForm,
    VariableForm,
    component_form,
    properties_from,
)
from pipelines.models import (
    ComponentCatalog,
    DataComponent,
    DataPlugin,
    Pipeline,
    PipelineState,
    PipelineStateChange,
    PluginEnvironment,
    WorkspaceFile,
    WorkspaceVariable,
)
from pipelines.plugin_serializers import shown_definition
from pipelines.plugins import parse
from pipelines.services import (
    component_warnings,
    delete_component,
    delete_file,
    delete_pipeline,
    delete_variable,
    make_default_store,
    pause_schedule,
    pipeline_warnings,
    rebuild_environment,
    reset_state,
    resume_schedule,
    roll_back_environment,
    save_component,
    save_file,
    save_pipeline,
    save_variable,
    upgrade_environment,
)
from workspaces.admin_base import ReadOnlyAdmin, ServiceAdmin, run_for_each

WORKSPACE_FILTER = ("workspace", admin.RelatedOnlyFieldListFilter)


@admin.register(DataPlugin)
class DataPluginAdmin(ReadOnlyAdmin):
    """Plugins, those shipped and those of workspaces."""

    list_display = ("name", "variant", "plugin_type", "label", "workspace", "is_hidden", "modified_at")
    list_filter = ("plugin_type", "is_hidden")
    list_select_related = ("workspace",)
    search_fields = ("name", "label")
    fields = (*list_display, "created_at", "shown_definition")

    @admin.display(description="Definition")
    def shown_definition(self, plugin: DataPlugin) -> str:
        """The whole of it; defaults of secret settings are masked."""
        return format_html(
            "<pre>{}</pre>", yaml.safe_dump(shown_definition(plugin), sort_keys=False, allow_unicode=True)
        )


@admin.register(PluginEnvironment)
class PluginEnvironmentAdmin(ReadOnlyAdmin):
    """What connectors are installed from. Versions change by a person's act alone, and can be taken one step back."""

    list_display = ("requirements", "python", "versions", "state", "resolved_at", "resolved_by", "built_at", "used_at")
    list_select_related = ("resolved_by",)
    search_fields = ("requirements", "fingerprint")
    actions = ("upgrade", "roll_back", "rebuild")
    fields = (
        *("requirements", "python", "fingerprint", "state", "error", "shown_packages", "size_bytes"),
        *("resolved_at", "resolved_by", "built_at", "used_at", "lock", "previous_lock"),
    )

    def has_upgrade_permission(self, request: HttpRequest) -> bool:
        """Who may decide on versions that all workspaces share."""
        return request.user.has_perm("pipelines.change_pluginenvironment")

    @admin.display(description="Packages")
    def versions(self, row: PluginEnvironment) -> str:
        """How many packages it is held to."""
        return str(len(row.packages)) if row.lock else "not resolved yet"

    @admin.display(description="Last build")
    def state(self, row: PluginEnvironment) -> str:
        """How its last build ended."""
        return "failed" if row.error else "built" if row.built_at else "not built yet"

    @admin.display(description="Packages")
    def shown_packages(self, row: PluginEnvironment) -> str:
        """Each package with its version, a line each."""
        return format_html(
            "<pre>{}</pre>", "\n".join(f"{name} {version}" for name, version in sorted(row.packages.items()))
        )

    @admin.action(description="Upgrade: the next job resolves the versions anew", permissions=["upgrade"])
    def upgrade(self, request: HttpRequest, rows: QuerySet) -> None:
        """The present versions are kept for one step back."""
        run_for_each(
            request, rows, lambda row: upgrade_environment(row, request.user), "to be upgraded by the next job"
        )  # type: ignore[arg-type]

    @admin.action(description="Step back to the versions before the last upgrade", permissions=["upgrade"])
    def roll_back(self, request: HttpRequest, rows: QuerySet) -> None:
        """Another step back returns to the present ones."""
        run_for_each(request, rows, lambda row: roll_back_environment(row, request.user), "taken a step back")  # type: ignore[arg-type]

    @admin.action(description="Rebuild from the same versions", permissions=["upgrade"])
    def rebuild(self, request: HttpRequest, rows: QuerySet) -> None:
        """On every host, by the next job that needs it there."""
        run_for_each(request, rows, lambda row: rebuild_environment(row, request.user), "to be rebuilt by the next job")  # type: ignore[arg-type]


@admin.register(ComponentCatalog)
class ComponentCatalogAdmin(ReadOnlyAdmin):
    """What sources hold, as last found."""

    list_display = ("component", "discovered_at", "job_id")


@admin.register(DataComponent)
class DataComponentAdmin(ServiceAdmin):
    """Components: made in two steps, for the settings depend on the plugin."""

    list_display = ("name", "workspace", "plugin", "is_default", "used_by", "modified_at")
    list_filter = ("plugin__plugin_type", "is_default", WORKSPACE_FILTER)
    list_select_related = ("workspace", "plugin")
    search_fields = ("name", "plugin__name", "workspace__name")
    actions = ("make_default",)
    readonly_fields = ("workspace", "plugin", "is_default", "warnings", "created_at", "modified_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        users = Count("uses", filter=Q(uses__pipeline__deleting_at__isnull=True))
        return super().get_queryset(request).annotate(user_count=users)

    @admin.display(ordering="user_count")
    def used_by(self, component: DataComponent) -> int:
        """How many pipelines use it."""
        return component.user_count  # type: ignore[attr-defined,no-any-return]

    def warnings(self, component: DataComponent) -> str:
        """What is probably not meant."""
        return " ".join(component_warnings(component)) or "None"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("workspace", "name", "plugin")})]
        settings = [name for name in component_form(obj).declared_fields if name not in ComponentForm.declared_fields]
        return [
            (None, {"fields": ("workspace", "plugin", "name", "is_default", "warnings", "expected_revision")}),
            ("Settings", {"fields": tuple(settings)}),
            ("Times", {"fields": ("created_at", "modified_at")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = component_form(obj) if obj else NewComponentForm
        return super().get_form(request, obj, change=change, form=form, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "plugin":
            kwargs["queryset"] = DataPlugin.objects.filter(is_hidden=False)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> DataComponent:
        data, user = form.cleaned_data, request.user
        if not change:
            return save_component(
                data["workspace"],
                name=data["name"],
                plugin=data["plugin"],
                properties={},
                user=user,  # type: ignore[arg-type]
            )
        return save_component(
            obj.workspace,
            component=obj,
            name=data["name"],
            plugin=obj.plugin,
            properties=properties_from(data, parse(obj.plugin.definition), obj.properties),
            user=user,  # type: ignore[arg-type]
            expected_revision=data["expected_revision"],
        )

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        delete_component(obj, user=request.user)  # type: ignore[arg-type]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """On to the settings."""
        self.message_user(request, f"{obj.name} is made. Now give it its settings.")
        return redirect(reverse("admin:pipelines_datacomponent_change", args=[obj.pk]))

    @admin.action(description="Make default store of its workspace", permissions=["change"])
    def make_default(self, request: HttpRequest, components: QuerySet) -> None:
        """Of several in one workspace, the last one stays."""
        run_for_each(request, components, make_default_store, "made default")


@admin.register(Pipeline)
class PipelineAdmin(ServiceAdmin):
    """Pipelines. Saving one has it checked."""

    list_display = (
        "label",
        "workspace",
        "number",
        "status",
        "schedule_words",
        "next_run_at",
        "is_paused",
        "modified_at",
    )
    list_filter = ("status", "is_paused", ("deleting_at", admin.EmptyFieldListFilter), WORKSPACE_FILTER)
    list_select_related = ("workspace",)
    search_fields = ("label", "name", "workspace__name")
    actions = ("pause", "resume", "reset")
    readonly_fields = (
        *("number", "status", "status_reason", "warnings", "is_paused", "next_run_at", "created_by"),
        *("created_at", "modified_at"),
    )
    definition_fields = (
        *("label", "name", "extractor", "loader", "properties", "schedule", "time_zone", "triggers"),
        *("timeout_seconds", "max_retries", "retry_delay_seconds", "tag_words"),
    )

    @admin.display(description="Schedule", ordering="schedule")
    def schedule_words(self, pipeline: Pipeline) -> str:
        """The schedule in plain words."""
        try:
            return describe(pipeline.schedule)
        except CronFault:
            return pipeline.schedule

    def warnings(self, pipeline: Pipeline) -> str:
        """What is probably not meant."""
        return " ".join(pipeline_warnings(pipeline)) or "None"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("workspace", *self.definition_fields)})]
        return [
            (None, {"fields": ("workspace", *self.definition_fields, "expected_revision")}),
            ("What became of it", {"fields": self.readonly_fields}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("workspace", *self.readonly_fields) if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, form=PipelineForm if obj else NewPipelineForm, **kwargs)

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> Pipeline:
        data = form.cleaned_data
        return save_pipeline(
            obj.workspace if change else data["workspace"],
            pipeline=obj if change else None,
            label=data["label"],
            name=data["name"],
            components=[part for part in (data["extractor"], data["loader"]) if part is not None],
            properties=data["properties"],
            schedule=data["schedule"],
            time_zone=data["time_zone"] or "UTC",
            timeout_seconds=data["timeout_seconds"],
            max_retries=data["max_retries"],
            retry_delay_seconds=data["retry_delay_seconds"],
            triggered_by=data["triggers"],
            script=obj.script if change else "",
            actions=obj.actions if change else (),
            tags=data["tag_words"].split(","),
            user=request.user,  # type: ignore[arg-type]
            expected_revision=data["expected_revision"] if change else None,
        )

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        delete_pipeline(obj, user=request.user)  # type: ignore[arg-type]

    @admin.action(description="Pause schedule", permissions=["change"])
    def pause(self, request: HttpRequest, pipelines: QuerySet) -> None:
        """No more fires until resumed."""
        run_for_each(request, pipelines, lambda row: pause_schedule(row, now=timezone.now()), "paused")

    @admin.action(description="Resume schedule", permissions=["change"])
    def resume(self, request: HttpRequest, pipelines: QuerySet) -> None:
        """Fires again, from its next slot."""
        run_for_each(request, pipelines, lambda row: resume_schedule(row, now=timezone.now()), "resumed")

    @admin.action(description="Reset state: the next run reads everything", permissions=["change"])
    def reset(self, request: HttpRequest, pipelines: QuerySet) -> None:
        """Forget all bookmarks."""
        run_for_each(request, pipelines, lambda row: reset_state(row, user=request.user), "reset")  # type: ignore[arg-type]


@admin.register(PipelineState)
class PipelineStateAdmin(ReadOnlyAdmin):
    """Where next runs begin."""

    list_display = ("pipeline", "extractor", "loader", "epoch", "sequence", "modified_at")
    list_select_related = ("pipeline", "extractor", "loader")
    search_fields = ("pipeline__label",)


@admin.register(PipelineStateChange)
class PipelineStateChangeAdmin(ReadOnlyAdmin):
    """What states were before."""

    list_display = ("state", "reason", "user", "job_id", "created_at")
    list_select_related = ("state__pipeline", "state__extractor", "state__loader", "user")
    search_fields = ("state__pipeline__label",)


@admin.register(WorkspaceFile)
class WorkspaceFileAdmin(ServiceAdmin):
    """Small files, such as SQL models."""

    form = FileForm
    list_display = ("path", "workspace", "size", "modified_at")
    list_filter = (WORKSPACE_FILTER,)
    list_select_related = ("workspace",)
    search_fields = ("path", "workspace__name")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("content")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        hidden = () if obj is None or "text" in FileForm(instance=obj).fields else ("text",)
        shown = ("workspace", "path", "text", "upload", *(("size", "digest", "modified_at") if obj else ()))
        return [(None, {"fields": tuple(name for name in shown if name not in hidden)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("workspace", "path", "size", "digest", "modified_at") if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "path":
            return forms.CharField(
                required=False, help_text=db_field.help_text, widget=forms.TextInput(attrs={"size": 60})
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> WorkspaceFile:
        place = (obj.workspace, obj.path) if change else (form.cleaned_data["workspace"], form.cleaned_data["path"])
        return save_file(place[0], path=place[1], content=form.content(), user=request.user)  # type: ignore[arg-type]

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        delete_file(obj, user=request.user)  # type: ignore[arg-type]


@admin.register(WorkspaceVariable)
class WorkspaceVariableAdmin(ServiceAdmin):
    """Variables; sensitive values are written and never shown."""

    form = VariableForm
    fields = ("workspace", "name", "value", "is_sensitive")
    list_display = ("name", "workspace", "is_sensitive", "modified_by", "modified_at")
    list_filter = ("is_sensitive", WORKSPACE_FILTER)
    list_select_related = ("workspace", "modified_by")
    search_fields = ("name", "workspace__name")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("workspace", "name") if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "name":
            return forms.CharField(required=False, help_text="Letters, digits and _, such as SHOP_PASSWORD.")
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> WorkspaceVariable:
        place = (obj.workspace, obj.name) if change else (form.cleaned_data["workspace"], form.cleaned_data["name"])
        return save_variable(
            place[0],
            name=place[1],
            value=form.written_value(),
            is_sensitive=form.cleaned_data["is_sensitive"],
            user=request.user,  # type: ignore[arg-type]
        )

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        delete_variable(obj, user=request.user)  # type: ignore[arg-type]
