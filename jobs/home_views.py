"""A workspace's home: does anything need me?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, Value, When, Window
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import conditional_page, require_GET

from eltsite import words
from jobs import stories
from jobs.models import DayCount, Job, SkippedSlot, Worker
from jobs.pictures import Day
from jobs.pipeline_views import is_late, row_of, with_what_rows_need
from jobs.status import STALE_SECONDS, JobStatus, JobType, StopReason
from jobs.templatetags.words import status_name
from pipelines.cron import next_run_at
from pipelines.cron_fields import CronFault
from pipelines.models import Pipeline, PipelineStatus
from workspaces.context import is_part, workspace_page
from workspaces.models import Workspace, WorkspaceStatus
from workspaces.permissions import access_of

HOME_PIPELINES = 10
DAYS = 30
FIRE_HOURS = 6
FIRES_LISTED = 8
FIRES_DRAWN = 300
FIRES_OF_ONE = 25
NEEDS_DAYS = 7
NEEDS_LISTED = 12
RUNNING_LISTED = 6
ENDINGS = (JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED)


@dataclass(frozen=True)
class Need:
    """One thing a person should look at."""

    status: str
    word: str
    pipeline: Pipeline | None
    text: str
    when: datetime | None
    job: Job | None = None
    late: str = ""


@require_GET
@workspace_page()
@conditional_page
def show_home(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The home. A script may ask for one of its panels alone."""
    now = timezone.now()
    base = {"nav": "home", "here": workspace, "now": now, "may_run": access_of(request).can(workspace, "run")}
    part = request.GET.get("part", "") if is_part(request) else ""
    watch = watched(request, workspace, now) if part != "now" else []
    needs = _needs_context(request, workspace, now, watch) if part != "now" else {}
    active = _now_context(request, workspace, now) if part != "needs" else {}
    if part in ("needs", "now"):
        return render(request, f"workspaces/_home_{part}.html", base | needs | active)
    needing = [need.pipeline.pk for need in needs["needs"] if need.pipeline]
    working = [job.pipeline_id for job in active["active"] if job.pipeline_id]
    rest = _rest_context(request, workspace, now, watch, _first_pipelines(request, workspace, needing, working))
    template = "workspaces/_home_rest.html" if part == "rest" else "workspaces/home.html"
    return render(request, template, base | needs | active | rest)


def watched(request: HttpRequest, workspace: Workspace, now: datetime) -> list[Pipeline]:
    """Pipelines that failed their check, are due in the next hours, or should have run by now."""
    soon = Q(next_run_at__lte=now + timedelta(hours=FIRE_HOURS), is_paused=False)
    found = workspace.pipelines.visible_to(request.user).filter(Q(status=PipelineStatus.FAILED) | soon)  # type: ignore[attr-defined]
    fields = (
        "workspace",
        "number",
        "label",
        "status",
        "status_reason",
        "next_run_at",
        "is_paused",
        "schedule",
        "time_zone",
        "modified_at",
    )
    return list(found.only(*fields).order_by("next_run_at")[:500])


def _needs_context(request: HttpRequest, workspace: Workspace, now: datetime, watch: list[Pipeline]) -> dict[str, Any]:
    needs = [
        *_failed_runs(request, workspace, now),
        *_failed_checks(watch),
        *_late(watch, now),
        *_skipped(request, workspace, now),
    ]
    if workspace.status == WorkspaceStatus.FAILED:
        needs.insert(
            0,
            Need(
                "failed",
                "Failed",
                None,
                workspace.status_reason or "The workspace's set-up failed.",
                workspace.modified_at,
            ),
        )
    return {
        "needs": needs[:NEEDS_LISTED],
        "more_needs": max(0, len(needs) - NEEDS_LISTED),
        "headline": needs_headline(needs),
        "today_words": _today_words(workspace, now),
    }


def _today_words(workspace: Workspace, now: datetime) -> str:
    """How the runs of this day (in UTC, as the counters are kept) ended."""
    today = DayCount.objects.filter(workspace=workspace, day=now.astimezone(UTC).date())
    counts = dict(today.values_list("status", "count"))
    if not counts:
        return "No run has ended today."
    parts = [
        f"{words.grouped(counts[status])} {status_name(status).lower()}" for status in ENDINGS if counts.get(status)
    ]
    return f"{words.counted(sum(counts.values()), 'run')} ended today: {', '.join(parts)}."


def needs_headline(needs: list[Need]) -> str:
    """ "One failure and two warnings need you"."""
    failures = sum(1 for need in needs if need.status in ("error", "failed", "stopped"))
    warnings = len(needs) - failures
    said = [
        f"{words.number_word(count)} {noun}{'s' if count != 1 else ''}"
        for count, noun in ((failures, "failure"), (warnings, "warning"))
        if count
    ]
    if not said:
        return "Nothing needs you"
    text = words.listed(said)
    return f"{text[0].upper()}{text[1:]} need{'s' if len(needs) == 1 else ''} you"


def _failed_runs(request: HttpRequest, workspace: Workspace, now: datetime) -> list[Need]:
    """Pipelines whose newest run failed or timed out and has no newer one, not even an active one."""
    newer = Job.objects.visible().filter(
        pipeline=OuterRef("pipeline"), type=JobType.PIPELINE_RUN, created_at__gt=OuterRef("created_at")
    )
    bad = Q(status=JobStatus.ERROR) | Q(status=JobStatus.STOPPED, stop_reason=StopReason.TIMEOUT)
    found = Job.objects.visible_to(request.user).filter(
        bad,
        workspace=workspace,
        type=JobType.PIPELINE_RUN,
        created_at__gte=now - timedelta(days=NEEDS_DAYS),
        pipeline__deleting_at__isnull=True,
    )
    jobs = found.filter(~Exists(newer)).select_related("pipeline").order_by("-created_at")
    fields = (
        "number",
        "status",
        "stop_reason",
        "headline",
        "error",
        "ended_at",
        "created_at",
        "type",
        "pipeline__number",
        "pipeline__label",
    )
    return [
        Need(
            "error" if job.status == JobStatus.ERROR else "stopped",
            "Error" if job.status == JobStatus.ERROR else "Timed out",
            job.pipeline,
            words.sentence(job.headline or "The run failed"),
            job.ended_at or job.created_at,
            job,
        )
        for job in jobs.only(*fields)[:NEEDS_LISTED]
    ]


def _failed_checks(watch: list[Pipeline]) -> list[Need]:
    return [
        Need(
            "failed",
            "Failed",
            pipeline,
            words.sentence(pipeline.status_reason or "Its check failed"),
            pipeline.modified_at,
        )
        for pipeline in watch
        if pipeline.status == PipelineStatus.FAILED
    ]


def _late(watch: list[Pipeline], now: datetime) -> list[Need]:
    found = []
    for pipeline in watch:
        if is_late(pipeline, now) and pipeline.next_run_at is not None:
            late = words.rough_duration((now - pipeline.next_run_at).total_seconds())
            clock = words.clock(pipeline.next_run_at, now, timezone.get_current_timezone())
            text = f"Due at {clock} and not started. No scheduler has made its job: is one running?"
            found.append(Need("late", "Late", pipeline, text, pipeline.next_run_at, late=f"{late} late"))
    return found


def _skipped(request: HttpRequest, workspace: Workspace, now: datetime) -> list[Need]:
    """The newest skipped slot of each pipeline, of the last 24 hours."""
    slots = SkippedSlot.objects.filter(
        pipeline__in=Pipeline.objects.visible_to(request.user).filter(workspace=workspace)
    )
    newest: dict[Any, SkippedSlot] = {}
    fields = ("slot_at", "reason", "pipeline__number", "pipeline__label")
    for slot in (
        slots.filter(slot_at__gte=now - timedelta(hours=24))
        .select_related("pipeline")
        .only(*fields)
        .order_by("-slot_at")[:50]
    ):
        newest.setdefault(slot.pipeline_id, slot)
    return [
        Need("skipped", "Skipped", slot.pipeline, words.sentence(slot.reason), slot.slot_at) for slot in newest.values()
    ]


def _now_context(request: HttpRequest, workspace: Workspace, now: datetime) -> dict[str, Any]:
    found = Job.objects.active().visible_to(request.user).filter(workspace=workspace).select_related("pipeline")
    unread = ("pipeline__properties", "pipeline__script", "state_before", "state_after", "models_built", "checks")
    # Sorted here: they are few, and asked for their order a database may walk all jobs by age to find them.
    jobs = sorted(
        found.defer(*unread).order_by(), key=lambda job: (job.status != JobStatus.RUNNING, job.created_at, job.number)
    )
    alive = Worker.objects.filter(heartbeat_at__gt=now - timedelta(seconds=STALE_SECONDS))
    workers = list(alive.values_list("slots", flat=True))
    return {
        "active": jobs,
        "running": [_running_row(job, now) for job in jobs[:RUNNING_LISTED]],
        "more_running": max(0, len(jobs) - RUNNING_LISTED),
        "running_count": sum(1 for job in jobs if job.status == JobStatus.RUNNING),
        "slots": sum(workers),
        "has_workers": bool(workers),
    }


def _running_row(job: Job, now: datetime) -> dict[str, Any]:
    usual = (
        stories.usual_of(job.pipeline.recent_runs).seconds
        if job.pipeline and job.type == JobType.PIPELINE_RUN
        else None
    )
    seconds = stories.ran_for(job, now)
    return {
        "job": job,
        "name": job.pipeline.label if job.pipeline else status_name(job.type),
        "seconds": seconds,
        "usual": usual,
        "rate": stories.rows_per_second(job, now),
        "waited": words.rough_duration((now - job.created_at).total_seconds()),
        "waits": job.queued_reason or "Waits for a free slot",
    }


def _rest_context(
    request: HttpRequest, workspace: Workspace, now: datetime, watch: list[Pipeline], pipelines: list[Pipeline]
) -> dict[str, Any]:
    fires = [pipeline for pipeline in watch if pipeline.next_run_at and pipeline.next_run_at >= now]
    return {
        "days": (days := day_rows(workspace, now)),
        "today": now.astimezone(UTC).date(),
        "day_totals": {kind: sum(getattr(day, kind) for day in days) for kind in ("complete", "error", "stopped")},
        "fires": fires[:FIRES_LISTED],
        "fire_times": fire_times(fires, now),
        "fire_hours": FIRE_HOURS,
        "zone": timezone.get_current_timezone(),
        "rows": [row_of(pipeline, workspace, now) for pipeline in pipelines],
        "pipeline_total": pipelines[0].total if pipelines else 0,  # type: ignore[attr-defined]
    }


def _first_pipelines(
    request: HttpRequest, workspace: Workspace, needing: list[Any], working: list[Any]
) -> list[Pipeline]:
    """The pipelines that need a person, those at work, then the others by name; the total comes along."""
    found = workspace.pipelines.visible_to(request.user)  # type: ignore[attr-defined]
    ranks = [When(pk__in=needing, then=Value(0)), When(pk__in=working, then=Value(1))]
    order = Case(*ranks, default=Value(2), output_field=IntegerField())
    found = found.annotate(total=Window(Count("pk")), urgency=order).order_by("urgency", "label", "pk")
    return list(with_what_rows_need(found)[:HOME_PIPELINES])


def fire_times(fires: list[Pipeline], now: datetime) -> list[datetime]:
    """When they fire within the hours shown; of a schedule that fires all the time only the first ones."""
    end = now + timedelta(hours=FIRE_HOURS)
    found: list[datetime] = []
    for pipeline in fires:
        if len(found) >= FIRES_DRAWN:
            break
        at, drawn = pipeline.next_run_at, 0
        while at is not None and at <= end and drawn < FIRES_OF_ONE:
            found.append(at)
            drawn += 1
            at = _fire_after(pipeline, at)
    return found[:FIRES_DRAWN]


def _fire_after(pipeline: Pipeline, at: datetime) -> datetime | None:
    try:
        return next_run_at(pipeline.schedule, time_zone=pipeline.time_zone, after=at)
    except CronFault:  # written by an older version; its page says what is wrong
        return None


def day_rows(workspace: Workspace, now: datetime) -> list[Day]:
    """The last 30 days, oldest first, from the counters kept per day."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    counts: dict[tuple[date, str], int] = {}
    for day, status, count in DayCount.objects.filter(workspace=workspace, day__gte=first).values_list(
        "day", "status", "count"
    ):
        counts[day, status] = count
    base = reverse("job-pages", args=[workspace.alias])
    days = [first + timedelta(days=index) for index in range(DAYS)]
    return [
        Day(
            day,
            complete=counts.get((day, JobStatus.COMPLETE), 0),
            error=counts.get((day, JobStatus.ERROR), 0),
            stopped=counts.get((day, JobStatus.STOPPED), 0),
            href=f"{base}?created_after={day}T00:00:00Z&created_before={day + timedelta(days=1)}T00:00:00Z",
        )
        for day in days
    ]


def go_home(request: HttpRequest) -> HttpResponse:
    """To the home of the person's own workspace."""
    if not request.user.is_authenticated:
        return redirect("login")
    found = Workspace.objects.visible_to(request.user)
    chosen = found.filter(pk=request.user.default_workspace_id).first() or found.first()
    if chosen is None:
        return render(request, "workspaces/no_workspace.html")
    return redirect("workspace-home", chosen.alias)
