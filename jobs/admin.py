"""Admin of jobs: to look at, to stop, to try again and to delete."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.models import DayCount, Job, JobCount, LogChunk, SkippedSlot, Worker
from jobs.services import delete_job, request_stop, retry_job
from jobs.status import JobStatus, JobType
from workspaces.admin_base import ReadOnlyAdmin, run_for_each

# The queue's own tables: a row edited there would be work that no job knows of. Its app comes before ours in
# INSTALLED_APPS, so they are registered by now.
for queue_table in apps.get_app_config("django_q").get_models():
    if admin.site.is_registered(queue_table):
        admin.site.unregister(queue_table)


class ValueFilter(admin.SimpleListFilter):
    """A filter over a fixed set of values: nothing is counted to offer it."""

    values: tuple[str, ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class StatusFilter(ValueFilter):
    """By status."""

    title = "status"
    parameter_name = "status"
    values = tuple(JobStatus)


class TypeFilter(ValueFilter):
    """By type."""

    title = "type"
    parameter_name = "type"
    values = tuple(JobType)


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs are written by the program alone; people stop them, try them again and delete them."""

    list_display = (
        "number",
        "workspace",
        "pipeline",
        "type",
        "status",
        "headline",
        "trigger",
        "created_at",
        "ended_at",
    )
    list_filter = (StatusFilter, TypeFilter, "stop_reason", "trigger")
    list_select_related = ("workspace", "pipeline")
    search_fields = ("=number", "pipeline__label", "workspace__name", "headline")
    actions = ("stop", "retry", "delete")

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the person may stop, retry and delete jobs."""
        return request.user.has_perm("jobs.change_job")  # type: ignore[union-attr]

    @admin.action(description="Stop", permissions=["operate"])
    def stop(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Queued ones end at once, running ones when their processes have."""
        run_for_each(request, jobs, lambda job: request_stop(job, user=request.user), "asked to stop")  # type: ignore[arg-type]

    @admin.action(description="Retry", permissions=["operate"])
    def retry(self, request: HttpRequest, jobs: QuerySet) -> None:
        """A new job for each."""
        run_for_each(request, jobs, lambda job: retry_job(job, user=request.user), "queued again")  # type: ignore[arg-type]

    @admin.action(description="Delete, with their logs", permissions=["operate"])
    def delete(self, request: HttpRequest, jobs: QuerySet) -> None:
        """Active ones are stopped first."""
        run_for_each(request, jobs, lambda job: delete_job(job, user=request.user), "deleted")  # type: ignore[arg-type]


@admin.register(LogChunk)
class LogChunkAdmin(ReadOnlyAdmin):
    """Pieces of logs, as stored."""

    list_display = ("job", "first_line", "line_count", "error_count")
    list_select_related = ("job",)
    search_fields = ("=job__number", "=job__id")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("text")


@admin.register(SkippedSlot)
class SkippedSlotAdmin(ReadOnlyAdmin):
    """Slots of schedules that made no job."""

    list_display = ("pipeline", "slot_at", "reason", "job", "created_at")
    list_select_related = ("pipeline", "job")
    search_fields = ("pipeline__label", "reason")


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Workers, and when they were last heard of."""

    list_display = ("host", "pid", "slots", "version", "started_at", "heartbeat_at", "is_draining", "restarts")
    list_filter = ("host", "is_draining")


@admin.register(JobCount)
class JobCountAdmin(ReadOnlyAdmin):
    """Counters behind the lists."""

    list_display = ("workspace", "pipeline", "type", "status", "count")
    list_select_related = ("workspace", "pipeline")


@admin.register(DayCount)
class DayCountAdmin(ReadOnlyAdmin):
    """Counters behind the charts."""

    list_display = ("workspace", "day", "status", "count")
    list_select_related = ("workspace",)
