"""The job list: filters in the address, pages by key, and rows that stay fresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from eltsite import words
from jobs import stories
from jobs.filters import COUNTED_BY, JobFilter
from jobs.models import Job
from jobs.querysets import JobQuerySet
from jobs.status import JobStatus, JobType, StopReason, Trigger
from jobs.templatetags.words import TRIGGER_NAMES, TYPE_NAMES, status_name
from pipelines.models import Pipeline
from workspaces.context import is_part, workspace_page
from workspaces.models import Workspace

PAGE_ROWS = 50
PIPELINES_OFFERED = 100
COUNT_LIMIT = 10_000  # beyond it a total is "about"
SINCE = {
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
STATUS_ORDER = (JobStatus.ERROR, JobStatus.STOPPED, JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.COMPLETE)
ROW_FIELDS = (
    "number", "type", "status", "stop_reason", "headline", "queued_reason", "trigger", "created_by", "created_at",
    "started_at", "ended_at", "not_before", "rows_written", "steps", "streams", "stop_requested_at", "attempt",
    "pipeline__number", "pipeline__label", "component__name", "created_by__username", "created_by__first_name", "created_by__last_name",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of a job list."""

    job: Job
    headline: str
    seconds: float | None


def rows_of(jobs: Sequence[Job], now: datetime) -> list[Row]:
    """Jobs as lines, with a headline for those that have none yet."""
    return [Row(job, stories.headline(job, usual=stories.Usual(), now=now), stories.ran_for(job, now)) for job in jobs]


def listed(found: JobQuerySet) -> JobQuerySet:
    """Only what a line shows."""
    return found.select_related("pipeline", "component", "created_by").only(*ROW_FIELDS)


@dataclass(frozen=True)
class Slice:
    """One page of a list that is read by key, newest first."""

    jobs: list[Job]
    newer: int | None  # the number to go on from, upwards
    older: int | None


def slice_of(found: JobQuerySet, *, before: int | None, after: int | None, anchor: Job | None) -> Slice:
    """The jobs older than number `before`, or newer than `after`. A page deep in a million costs what the first does."""
    if anchor is not None and after is not None:
        newer = Q(created_at__gt=anchor.created_at) | Q(created_at=anchor.created_at, pk__gt=anchor.pk)
        found = found.filter(newer, created_at__gte=anchor.created_at)  # said twice: an index can seek by this
        jobs = list(listed(found).order_by("created_at", "pk")[: PAGE_ROWS + 1])
        more = len(jobs) > PAGE_ROWS
        jobs = jobs[:PAGE_ROWS][::-1]
        return Slice(jobs, jobs[0].number if more else None, jobs[-1].number if jobs else None)
    if anchor is not None:
        older = Q(created_at__lt=anchor.created_at) | Q(created_at=anchor.created_at, pk__lt=anchor.pk)
        found = found.filter(older, created_at__lte=anchor.created_at)
    jobs = list(listed(found).order_by("-created_at", "-pk")[: PAGE_ROWS + 1])
    more, jobs = len(jobs) > PAGE_ROWS, jobs[:PAGE_ROWS]
    newer_from = jobs[0].number if jobs and before is not None else None
    return Slice(jobs, newer_from, jobs[-1].number if more else None)


def chosen_filter(request: HttpRequest, workspace: Workspace, now: datetime) -> JobFilter:
    """The shared filter over this workspace's visible jobs; `since` is a page's short way to `created_after`."""
    data = request.GET.copy()
    if data.get("since") in SINCE:
        data["created_after"] = (now - SINCE[data["since"]][1]).isoformat()
    everything = Job.objects.visible_to(request.user).filter(workspace=workspace)
    zone = timezone.get_current_timezone()
    return JobFilter(data, everything, request=request, workspace=workspace, zone=zone)


def _key(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


@require_GET
@workspace_page()
def list_jobs(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The list. Faults in a filter are said beside it, and the list is then empty rather than wrong."""
    now = timezone.now()
    chosen = chosen_filter(request, workspace, now)
    is_good = chosen.form.is_valid()
    found = chosen.qs if is_good else Job.objects.none()
    before, after = _key(request, "before"), _key(request, "after")
    anchor = None
    if before is not None or after is not None:
        anchor = Job.objects.visible_to(request.user).filter(workspace=workspace, number=after or before).first()
    page = slice_of(found, before=before, after=after, anchor=anchor)
    filters = _without(request.GET, "before", "after")
    is_first = before is None and after is None
    context = {
        "nav": "jobs",
        "here": workspace,
        "now": now,
        "form": chosen.form,
        "faults": [text for texts in chosen.form.errors.values() for text in texts],
        "rows": rows_of(page.jobs, now),
        "page": page,
        "filters": filters,
        "total": _total(chosen, workspace, page, is_first=is_first),
        "counts": _counts(request, workspace, now),
        "is_first": is_first,
        "pipelines": _pipelines_offered(request, workspace, chosen),
        **_choices(request),
    }
    return render(request, "jobs/job_list.html", context)


def _choices(request: HttpRequest) -> dict[str, Any]:
    """What the filter form offers, and what is chosen."""
    chosen = {word.strip().upper() for text in request.GET.getlist("status") for word in text.split(",")}
    return {
        "statuses": [(status.value, status_name(status), status.value in chosen) for status in STATUS_ORDER],
        "types": [(kind.value, TYPE_NAMES[kind]) for kind in JobType],
        "triggers": [(kind.value, TRIGGER_NAMES[kind]) for kind in Trigger],
        "since_choices": [(key, label) for key, (label, _) in SINCE.items()],
        "chosen": {
            name: request.GET.get(name, "")
            for name in ("q", "type", "trigger", "pipeline", "since", "created_after", "created_before")
        },
        "has_filters": any(value for name, value in request.GET.items() if name not in ("before", "after")),
    }


def _total(chosen: JobFilter, workspace: Workspace, page: Slice, *, is_first: bool) -> str:
    """How many pass the filters, in words; empty where finding out would cost more than the page.

    Plain lists are summed from counters. Counting anything else stops at a limit, and a search for words, which
    reads every headline, is not done twice.
    """
    if not chosen.form.is_valid() or (is_first and page.older is None):
        return words.grouped(len(page.jobs))
    used = {name for name, value in chosen.form.cleaned_data.items() if value not in (None, "", [])}
    if used <= COUNTED_BY:
        return words.grouped(max(chosen.total(workspace=workspace), len(page.jobs)))
    if "q" in used:
        return ""
    total = chosen.qs.order_by().values("pk")[: COUNT_LIMIT + 1].count()
    return f"more than {words.grouped(COUNT_LIMIT)}" if total > COUNT_LIMIT else words.grouped(total)


def _counts(request: HttpRequest, workspace: Workspace, now: datetime) -> dict[str, int]:
    """What runs, what waits, and what ended badly in the last 24 hours."""
    seen = Job.objects.visible_to(request.user).filter(workspace=workspace).order_by()
    active = list(seen.active().values_list("status", flat=True))
    ended_badly = Q(status=JobStatus.ERROR) | Q(stop_reason=StopReason.TIMEOUT)
    recent = seen.filter(status__in=[JobStatus.ERROR, JobStatus.STOPPED], created_at__gte=now - timedelta(hours=24))
    return {
        "running": active.count(JobStatus.RUNNING),
        "queued": active.count(JobStatus.QUEUED),
        "bad": recent.filter(ended_badly).count(),
    }


def _pipelines_offered(request: HttpRequest, workspace: Workspace, chosen: JobFilter) -> list[Pipeline]:
    """The pipelines of the filter's list: the first by name, and the chosen one wherever it stands."""
    seen = workspace.pipelines.visible_to(request.user).only("workspace", "label", "number")  # type: ignore[attr-defined]
    offered = list(seen[:PIPELINES_OFFERED])
    current = chosen.form.cleaned_data.get("pipeline") if chosen.form.is_valid() else None
    return offered if current is None or current in offered else [current, *offered]


def _without(query: QueryDict, *names: str) -> str:
    """The query without these names, for links to other pages of the same list."""
    rest = query.copy()
    for name in names:
        rest.pop(name, None)
    return rest.urlencode()


@require_GET
@workspace_page()
def list_jobs_live(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """What changed since the list was shown: its active rows anew, and how many jobs came on top."""
    if not is_part(request):
        return redirect("job-pages", workspace.alias)
    now = timezone.now()
    chosen = chosen_filter(request, workspace, now)
    found = chosen.qs if chosen.form.is_valid() else Job.objects.none()
    top = _key(request, "top") or 0
    shown = [int(text) for text in request.GET.get("rows", "").split(",")[:PAGE_ROWS] if text.isdecimal()]
    seen = Job.objects.visible_to(request.user).filter(workspace=workspace, number__in=shown)
    rows = rows_of(list(listed(seen)) if shown else [], now)
    context = {
        "here": workspace,
        "now": now,
        "rows": rows,
        "new": found.filter(number__gt=top).count(),
        "top": top,
        "active": ",".join(str(row.job.number) for row in rows if row.job.is_active),
        "filters": _without(request.GET, "top", "rows", "before", "after"),
    }
    return render(request, "jobs/_jobs_live.html", context)
