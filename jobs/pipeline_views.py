"""Pipelines with their runs: the list, and one pipeline's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from eltsite import words
from eltsite.errors import NotFound
from jobs import stories
from jobs.list_views import listed, rows_of
from jobs.models import Job, SkippedSlot
from jobs.pictures import Bar
from jobs.shown_connectors import shown_connectors
from jobs.status import ACTIVE, JobStatus, JobType
from pipelines.cron_fields import CronFault
from pipelines.cron_words import describe
from pipelines.models import Pipeline, PipelineComponent, PluginType
from pipelines.plugins import Plugin, parse
from pipelines.views import shown_components
from workspaces.context import is_part, workspace_page
from workspaces.models import Workspace
from workspaces.permissions import access_of

PAGE_PIPELINES = 25
STRIP_RUNS = 60
TREND_RUNS = 30
TABLE_JOBS = 8
LATE_SECONDS = 60  # a slot this old without a job is late; the scheduler's own pass is each second


@dataclass
class PipelineRow:
    """One line of a list of pipelines."""

    pipeline: Pipeline
    status: str
    when: datetime | None
    ends: str
    bars: Sequence[Bar]
    usual: stories.Usual
    rows: int | None
    active: Job | None
    upstream: Sequence[Pipeline]

    @property
    def is_late(self) -> bool:
        return self.status == "late"


def with_what_rows_need(found: QuerySet) -> QuerySet:
    """Pipelines with everything a line shows: a constant number of queries, and no secret opened."""
    steps = PipelineComponent.objects.select_related("component__plugin").defer("component__properties")
    active = Job.objects.visible().active().filter(type=JobType.PIPELINE_RUN).order_by()
    return found.defer("properties", "script").prefetch_related(
        Prefetch("steps", queryset=steps),
        Prefetch("jobs", queryset=active.defer("state_before", "state_after"), to_attr="active_runs"),
        Prefetch("triggered_by", queryset=Pipeline.objects.alive().only("label", "number")),
    )


def row_of(pipeline: Pipeline, workspace: Workspace, now: datetime) -> PipelineRow:
    """A pipeline as a line: what its last run came to, or what it is doing now."""
    runs = pipeline.recent_runs
    active = next(iter(pipeline.active_runs), None)  # type: ignore[attr-defined]
    last = runs[-1] if runs else None
    if active is not None:
        status, when = active.status, active.started_at or active.created_at
    elif is_late(pipeline, now):
        status, when = "late", pipeline.next_run_at
    elif pipeline.status != "READY":
        status, when = pipeline.status, pipeline.modified_at
    elif last is not None:
        status, when = last["status"], parse_datetime(last.get("ended_at") or last["at"])
    else:
        status, when = "none", None
    return PipelineRow(
        pipeline=pipeline,
        status=status,
        when=when,
        ends=ends_of(pipeline),
        bars=bars_of(runs, active, workspace, now),
        usual=stories.usual_of(runs),
        rows=active.rows_written if active is not None and active.started_at else last["rows"] if last else None,
        active=active,
        upstream=list(pipeline.triggered_by.all()),
    )


def is_late(pipeline: Pipeline, now: datetime) -> bool:
    """Whether its slot has passed and nothing came of it."""
    due = pipeline.next_run_at
    return due is not None and not pipeline.is_paused and (now - due).total_seconds() > LATE_SECONDS


def ends_of(pipeline: Pipeline) -> str:
    """ "Shop files → Warehouse": where rows come from and where they go."""
    names = {step.component.plugin.plugin_type: step.component.name for step in pipeline.steps.all()}  # type: ignore[attr-defined]
    ends = [names[kind] for kind in (PluginType.EXTRACTOR, PluginType.LOADER) if kind in names]
    return " → ".join(ends) or "No source yet"


def loader_of(pipeline: Pipeline) -> Plugin | None:
    """The plugin that stores its rows."""
    plugins = [step.component.plugin for step in pipeline.steps.all()]  # type: ignore[attr-defined]
    return next((parse(plugin.definition) for plugin in plugins if plugin.plugin_type == PluginType.LOADER), None)


def bars_of(runs: Sequence[Mapping[str, Any]], active: Job | None, workspace: Workspace, now: datetime) -> list[Bar]:
    """The last runs as bars, the active one last."""
    base = f"/w/{workspace.alias}/jobs"
    bars = [Bar(run["number"], run["status"].lower(), run.get("seconds"), f"{base}/{run['number']}/") for run in runs]
    if active is not None:
        seconds = stories.ran_for(active, now)
        bars.append(Bar(active.number, active.status.lower(), seconds, f"{base}/{active.number}/"))
    return bars[-30:]


@require_GET
@workspace_page()
def list_pipelines(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """All pipelines, 25 a page, with search by name and tag."""
    now = timezone.now()
    query = request.GET.get("q", "").strip()[:100]
    found = workspace.pipelines.visible_to(request.user)  # type: ignore[attr-defined]
    if query:
        found = found.filter(Q(label__icontains=query) | Q(name__icontains=query))
    total = found.count()
    text = request.GET.get("page", "")
    number = max(1, min(int(text) if text.isdecimal() and len(text) < 6 else 1, -(-total // PAGE_PIPELINES) or 1))
    start = (number - 1) * PAGE_PIPELINES
    rows = [row_of(pipeline, workspace, now) for pipeline in with_what_rows_need(found)[start : start + PAGE_PIPELINES]]
    context = {
        "nav": "pipelines",
        "here": workspace,
        "now": now,
        "rows": rows,
        "query": query,
        "total": total,
        "page": number,
        "previous": number - 1 if number > 1 else None,
        "next": number + 1 if start + PAGE_PIPELINES < total else None,
        "may_run": access_of(request).can(workspace, "run"),
    }
    template = "pipelines/_pipeline_table.html" if is_part(request) else "pipelines/pipeline_list.html"
    return render(request, template, context)


def find_pipeline(request: HttpRequest, workspace: Workspace, number: int) -> Pipeline:
    """A visible pipeline with what its page's head shows."""
    found = with_what_rows_need(workspace.pipelines.visible_to(request.user).filter(number=number))  # type: ignore[attr-defined]
    pipeline = found.select_related("workspace", "created_by").first()
    if pipeline is None:
        raise NotFound(f"There is no pipeline {number} in {workspace}, or it was deleted.")
    return pipeline


def head_context(request: HttpRequest, workspace: Workspace, pipeline: Pipeline, tab: str) -> dict[str, Any]:
    """What the head of each of a pipeline's pages shows."""
    now = timezone.now()
    row = row_of(pipeline, workspace, now)
    last = pipeline.recent_runs[-1] if pipeline.recent_runs else None
    return {
        "nav": "pipelines",
        "nav_is": "true",
        "here": workspace,
        "now": now,
        "pipeline": pipeline,
        "row": row,
        "tab": tab,
        "last": last,
        "last_at": parse_datetime(last.get("ended_at") or last["at"]) if last else None,
        "schedule": schedule_words(pipeline),
        "loader": loader_of(pipeline),
        "may_run": access_of(request).can(workspace, "run"),
        "may_write": access_of(request).can(workspace, "write"),
    }


def schedule_words(pipeline: Pipeline) -> str:
    """The schedule in plain words; as it is written where it cannot be read."""
    if pipeline.schedule in ("", "-"):
        return ""
    try:
        return describe(pipeline.schedule)
    except CronFault:
        return pipeline.schedule


@require_GET
@workspace_page()
def show_pipeline(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """A pipeline's runs: strip, trends, table, rows by stream."""
    pipeline = find_pipeline(request, workspace, number)
    context = head_context(request, workspace, pipeline, "runs")
    now, row = context["now"], context["row"]
    jobs = Job.objects.visible_to(request.user).filter(pipeline=pipeline)
    runs = _last_runs(jobs)
    bars = [
        Bar(run["number"], run["status"].lower(), run["seconds"], f"/w/{workspace.alias}/jobs/{run['number']}/")
        for run in runs
    ]
    if row.active is not None:
        seconds = stories.ran_for(row.active, now)
        bars.append(
            Bar(
                row.active.number, row.active.status.lower(), seconds, f"/w/{workspace.alias}/jobs/{row.active.number}/"
            )
        )
    statuses = [bar.status for bar in bars]
    good = [run for run in runs if run["status"] == JobStatus.COMPLETE]
    context |= {
        "bars": bars[-STRIP_RUNS:],
        "legend": [
            (status, statuses.count(status))
            for status in ("complete", "error", "stopped", "running", "queued")
            if status in statuses
        ],
        "usual": stories.usual_of(runs),
        "longest": max((run["seconds"] or 0 for run in good), default=None),
        "good": len(good),
        "ended": len(runs),
        "fresh_at": good[-1]["ended_at"] if good else None,
        "trends": _trends(runs, now) if len(runs) > 1 else None,
        "streams": stream_trends(runs[-TREND_RUNS:]),
        "jobs": rows_of(list(listed(jobs).order_by("-created_at", "-pk")[:TABLE_JOBS]), now),
        "skipped": list(SkippedSlot.objects.filter(pipeline=pipeline).select_related("job")[:5]),
        "downstream": list(pipeline.triggers.visible_to(request.user).only("label", "number", "is_paused")),  # type: ignore[attr-defined]
    }
    if is_part(request):
        return render(request, "pipelines/_pipeline_live.html", context)
    return render(request, "pipelines/pipeline_detail.html", context)


def _last_runs(jobs: QuerySet) -> list[dict[str, Any]]:
    """The last ended runs, oldest first, in the shape of `recent_runs` with their streams."""
    fields = (
        "number",
        "status",
        "stop_reason",
        "started_at",
        "ended_at",
        "created_at",
        "rows_written",
        "streams",
        "headline",
    )
    ended = jobs.filter(type=JobType.PIPELINE_RUN).exclude(status__in=ACTIVE)
    found = list(ended.order_by("-created_at", "-pk").values(*fields)[:STRIP_RUNS])
    for run in found:
        begun, done = run["started_at"], run["ended_at"]
        run["seconds"] = (done - begun).total_seconds() if begun and done else None
        run["rows"] = run["rows_written"]
    return found[::-1]


def _trends(runs: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    zone = timezone.get_current_timezone()
    first = (runs[0]["started_at"] or runs[0]["created_at"]).astimezone(zone)
    last = (runs[-1]["started_at"] or runs[-1]["created_at"]).astimezone(zone)
    today = now.astimezone(zone).date()
    if first.date() == today:
        ends = (f"{first:%H:%M}", f"{last:%H:%M}")
    else:
        ends = (f"{first.day} {first:%b}", "Today" if last.date() == today else f"{last.day} {last:%b}")
    return {
        "seconds": [run["seconds"] or 0.0 for run in runs],
        "rows": [float(run["rows"]) for run in runs],
        "statuses": [run["status"].lower() for run in runs],
        "ends": ends,
    }


@dataclass(frozen=True)
class StreamTrend:
    """One stream over the last runs."""

    name: str
    status: str
    mode: str
    values: Sequence[float]
    last: float | None
    beside: str


def stream_trends(runs: Sequence[Mapping[str, Any]]) -> list[StreamTrend]:
    """Rows by stream, most rows first; a stream that the last run did not reach is said so."""
    series: dict[str, list[float]] = {}
    latest: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for stream in run["streams"]:
            name = str(stream.get("stream") or "")
            series.setdefault(name, []).append(float(stream.get("rows_written") or 0))
            latest[name] = stream
    last_names = {str(stream.get("stream")): stream for stream in runs[-1]["streams"]} if runs else {}
    failed = (runs[-1]["status"] == JobStatus.ERROR) if runs else False
    found = []
    for name, values in sorted(series.items(), key=lambda pair: -max(pair[1])):
        now = last_names.get(name)
        usual = median(values[:-1]) if len(values) > 1 else None
        status = "none" if now is None else "complete" if now.get("done") else "error" if failed else "stopped"
        beside = "not run" if now is None else _beside(values[-1], usual)
        found.append(
            StreamTrend(name, status, stories.mode_of(latest[name]), values, values[-1] if now else None, beside)
        )
    return found[:12]


def _beside(value: float, usual: float | None) -> str:
    if usual is None:
        return "first run"
    if not usual:
        return "usually 0"
    share = round((value - usual) / usual * 100)
    return f"usually {words.grouped(usual)}" if abs(share) > 50 else f"{'+' if share >= 0 else '−'}{abs(share)} %"


@require_GET
@workspace_page()
def show_configuration(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """What a pipeline is made of, to read. Secrets are said to be stored and never shown."""
    pipeline = find_pipeline(request, workspace, number)
    context = head_context(request, workspace, pipeline, "configuration")
    connectors = shown_connectors(pipeline, request.user)
    context["components"] = [
        {**vars(each), "connector": connectors[each.component.pk]} for each in shown_components(pipeline)
    ]
    context["models"] = list(
        workspace.files.filter(path__startswith="models/", path__endswith=".sql").values_list("path", flat=True)[:100]  # type: ignore[attr-defined]
    )
    context["downstream"] = list(pipeline.triggers.visible_to(request.user).only("label", "number"))  # type: ignore[attr-defined]
    return render(request, "pipelines/pipeline_configuration.html", context)
