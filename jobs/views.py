"""The job pages: the list, one job, its live part, and what a person may do to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import conditional_page, require_GET, require_POST

from eltsite import words
from eltsite.errors import NotFound
from jobs import services, step_rows, stories
from jobs.logs import error_lines, read_log
from jobs.models import Job, LogChunk
from jobs.querysets import JobQuerySet
from jobs.status import JobStatus, JobType
from jobs.templatetags.words import status_name
from jobs.versions import environments_used
from workspaces.context import is_part, workspace_page
from workspaces.models import Workspace
from workspaces.permissions import access_of
from workspaces.toasts import toast

FIRST_LINES = 20  # of the log, in the page itself; the log script fetches the rest
LINES_BEFORE_ERROR = 8
USUAL_STREAM_RUNS = 5
ATTEMPTS_SEEN = 100
SECRET_COLUMNS = ("pipeline__properties", "component__properties")  # no page of a job opens them


def find_job(request: HttpRequest, workspace: Workspace, number: int, *related: str) -> Job:
    """A visible job of the workspace, with the rows its page names."""
    found = Job.objects.visible_to(request.user).filter(workspace=workspace, number=number)
    if related:
        secret = [name for name in SECRET_COLUMNS if name.partition("__")[0] in related]
        found = found.select_related(*related).defer("pipeline__script", *secret)
    job = found.first()
    if job is None:
        raise NotFound(f"There is no job {number} in {workspace}, or it was deleted.")
    return job


def job_url(workspace: Workspace, job: Job, name: str = "job-page") -> str:
    """The address of a job's page, or of one of its parts."""
    return reverse(name, args=[workspace.alias, job.number])


@require_GET
@workspace_page()
def show_job(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """One job."""
    job = _with_story(request, workspace, number)
    return render(request, "jobs/job_detail.html", {**job_context(request, workspace, job), **log_context(job)})


@require_GET
@workspace_page()
@conditional_page
def show_job_live(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """The part of a job's page that moves; without scripts it leads to the page itself."""
    if not is_part(request):
        return redirect("job-page", workspace.alias, number)
    job = _with_story(request, workspace, number)
    return render(request, "jobs/_job_live.html", {**job_context(request, workspace, job), "is_swap": True})


def _with_story(request: HttpRequest, workspace: Workspace, number: int) -> Job:
    return find_job(
        request,
        workspace,
        number,
        "pipeline",
        "component",
        "created_by",
        "trigger_job__pipeline",
        "retry_of",
        "worker",
        "stop_requested_by",
    )


def job_context(request: HttpRequest, workspace: Workspace, job: Job) -> dict[str, Any]:
    """All that the moving part of a job's page shows."""
    now = timezone.now()
    pipeline = job.pipeline
    usual = stories.Usual()
    if pipeline is not None and job.type == JobType.PIPELINE_RUN:
        before = [run for run in pipeline.recent_runs if run["number"] < job.number]
        usual = stories.usual_of(before, good_streams(request, job) if job.is_active else ())
    waits = services.why_queued(job, now=now)
    title = stories.headline(job, usual=usual, now=now, waits=waits)
    cause = stories.cause_of(job)
    return {
        "nav": "jobs",
        "nav_is": "true",
        "job": job,
        "pipeline": pipeline,
        "now": now,
        "usual": usual,
        "headline": title,
        "title": f"{status_name(job.status)}: {subject_of(job)}, job {job.number}",
        "cause": cause,
        "evidence": error_lines(job, limit=3) if cause else [],
        "gantt": step_rows.gantt_of(job, usual=usual, now=now),
        "streams": stories.streams_of(job, usual=usual, now=now),
        "streams_done": sum(1 for stream in job.streams if stream.get("done")),
        "is_stored_unknown": stories.is_stored_unknown(job),
        "environments": environments_used(job.environments),
        "seconds": stories.ran_for(job, now),
        "rate": stories.rows_per_second(job, now),
        "attempts": attempts_of(request, job),
        "changes": stories.state_changes(job.state_before, job.state_after) if not job.is_active else [],
        "may_run": access_of(request).can(workspace, "run"),
        "may_write": access_of(request).can(workspace, "write"),
        "can_retry": job.type == JobType.PIPELINE_RUN and not job.is_active,
        "test_url": _test_url(workspace, job),
        "here": workspace,
    }


def subject_of(job: Job) -> str:
    """What a job is about: a pipeline, a component by itself, or the workspace."""
    return job.pipeline.label if job.pipeline else job.component.name if job.component else job.workspace.name


def _test_url(workspace: Workspace, job: Job) -> str:
    """Where a test that has ended is made again; empty for every other job."""
    if job.is_active:
        return ""
    if job.type == JobType.PIPELINE_ENV and job.pipeline is not None:
        return reverse("pipeline-test", args=[workspace.alias, job.pipeline.number])
    if job.type == JobType.COMPONENT_TEST:
        return reverse("component-test", args=[workspace.alias, job.component_id])
    return ""


def good_streams(request: HttpRequest, job: Job) -> list[list[dict[str, Any]]]:
    """The streams of the last good runs of this job's pipeline."""
    good = Job.objects.visible_to(request.user).filter(
        pipeline_id=job.pipeline_id, type=JobType.PIPELINE_RUN, status=JobStatus.COMPLETE
    )
    return list(good.order_by("-created_at", "-id").values_list("streams", flat=True)[:USUAL_STREAM_RUNS])


def attempts_of(request: HttpRequest, job: Job) -> list[Job]:
    """The attempts a job belongs to, first one first; empty where it is the only one."""
    if job.pipeline_id is None or job.type != JobType.PIPELINE_RUN:
        return []
    seen: JobQuerySet = Job.objects.visible_to(request.user).filter(pipeline_id=job.pipeline_id, type=job.type)
    linked = seen.filter(retry_of__isnull=False) | seen.filter(retries__isnull=False)
    fields = (
        "number",
        "status",
        "stop_reason",
        "headline",
        "started_at",
        "ended_at",
        "retry_of",
        "attempt",
        "created_at",
    )
    rows = {row.pk: row for row in linked.distinct().only(*fields).order_by("-created_at")[:ATTEMPTS_SEEN]}
    chain = [rows[job.pk]] if job.pk in rows else []
    while chain and chain[0].retry_of_id in rows and rows[chain[0].retry_of_id] not in chain:
        chain.insert(0, rows[chain[0].retry_of_id])
    after = {row.retry_of_id: row for row in rows.values()}
    while chain and chain[-1].pk in after and after[chain[-1].pk] not in chain:
        chain.append(after[chain[-1].pk])
    return chain if len(chain) > 1 else []


def log_context(job: Job) -> dict[str, Any]:
    """The first lines of the log that the page itself holds: those around the first error, else the last."""
    if job.first_error_line is not None and not job.is_active:
        first = max(0, job.first_error_line - LINES_BEFORE_ERROR)
    else:
        first = max(0, job.log_lines - FIRST_LINES)
    chunks = LogChunk.objects.filter(job_id=job.pk, error_count__gt=0).order_by("first_line")
    lines = read_log(job, sequence=first, limit=min(FIRST_LINES, job.log_lines - first))
    return {
        "lines": lines,
        "log_start": first,
        "log_end": first + len(lines) - 1,
        "error_places": list(chunks.values_list("first_line", "line_count")[:2000]) if job.log_errors else [],
    }


@require_POST
@workspace_page("run")
def run_pipeline(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Run now. From a list, stay there; else show the new job."""
    pipeline = workspace.pipelines.visible_to(request.user).filter(number=number).first()  # type: ignore[attr-defined]
    if pipeline is None:
        raise NotFound(f"There is no pipeline {number} in {workspace}.")
    job = services.create_job(pipeline, user=request.user, full_refresh=bool(request.GET.get("full")))
    said = f"{pipeline.label} is queued as job {job.number}."
    if request.GET.get("stay"):
        toast(request, said, link=("See it", job_url(workspace, job)))
        return redirect("pipeline-pages", workspace.alias)
    toast(request, said)
    return redirect(job_url(workspace, job))


@require_POST
@workspace_page("run")
def test_pipeline(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Test both ends of a pipeline and read sample rows; nothing is loaded."""
    pipeline = workspace.pipelines.visible_to(request.user).filter(number=number).first()  # type: ignore[attr-defined]
    if pipeline is None:
        raise NotFound(f"There is no pipeline {number} in {workspace}.")
    job = services.create_job(pipeline, type=JobType.PIPELINE_ENV, user=request.user)
    toast(request, f"The test of {pipeline.label} is queued as job {job.number}.")
    return redirect(job_url(workspace, job))


@require_POST
@workspace_page("run")
def test_component(request: HttpRequest, workspace: Workspace, component_id: UUID) -> HttpResponse:
    """The same of one component by itself."""
    component = workspace.components.visible_to(request.user).filter(pk=component_id).first()  # type: ignore[attr-defined]
    if component is None:
        raise NotFound(f"There is no such component in {workspace}, or it was deleted.")
    job = services.create_component_test(component, user=request.user)
    toast(request, f"The test of {component.name} is queued as job {job.number}.")
    return redirect(job_url(workspace, job))


@require_POST
@workspace_page("run")
def stop_job(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Ask a job to stop."""
    job = services.request_stop(find_job(request, workspace, number), user=request.user)
    ended = job.status == JobStatus.STOPPED
    toast(request, f"Job {job.number} is {'stopped' if ended else 'being stopped; it ends when its processes have'}.")
    return redirect(job_url(workspace, job))


@require_POST
@workspace_page("run")
def retry_job(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Run an ended job's pipeline again, from the kept state or from the beginning."""
    job = find_job(request, workspace, number, "pipeline")
    if request.GET.get("full") and job.pipeline is not None:
        again = services.create_job(job.pipeline, user=request.user, full_refresh=True)
    else:
        again = services.retry_job(job, user=request.user)
    toast(request, f"Retry of job {job.number} is queued as job {again.number}.")
    return redirect(job_url(workspace, again))


@require_POST
@workspace_page("write")
def delete_job(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Remove a job and its log."""
    job = find_job(request, workspace, number)
    services.delete_job(job, user=request.user)
    toast(request, f"Job {job.number} and its log of {words.counted(job.log_lines, 'line')} are deleted.")
    return redirect("job-pages", workspace.alias)


@require_GET
@workspace_page()
def find(request: HttpRequest, workspace: Workspace) -> HttpResponse:
    """The find box: a job by its number, a pipeline by its name, else jobs by their headline."""
    text = request.GET.get("q", "").strip()
    digits = text.lower().removeprefix("job").strip().lstrip("#")
    seen = Job.objects.visible_to(request.user).filter(workspace=workspace)
    if digits.isdecimal() and len(digits) < 19 and seen.filter(number=int(digits)).exists():
        return redirect("job-page", workspace.alias, int(digits))
    pipelines = workspace.pipelines.visible_to(request.user).filter(label__icontains=text)  # type: ignore[attr-defined]
    numbers = list(pipelines.values_list("number", flat=True)[:2])
    if len(numbers) == 1:
        return redirect("pipeline-page", workspace.alias, numbers[0])
    name = "pipeline-pages" if numbers or not text else "job-pages"
    return redirect(f"{reverse(name, args=[workspace.alias])}?{_query(request)}")


def _query(request: HttpRequest) -> str:
    return request.GET.urlencode()
