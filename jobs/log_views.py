"""A job's log on pages: ranges of lines for the viewer, matches, a page to read without scripts, and the whole as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import conditional_page, require_GET

from jobs.log_lines import LEVELS
from jobs.logs import Numbered, iterate_log, read_log
from jobs.models import Job
from jobs.templatetags.words import level_name, log_time
from jobs.views import find_job
from workspaces.context import workspace_page
from workspaces.models import Workspace

PAGE_LINES = 500  # of the page without scripts
MOST_LINES = 1000  # of one answer to the viewer
MOST_MATCHES = 2000


def _number(request: HttpRequest, name: str, default: int, most: int) -> int:
    """A whole number from the address, held within its bounds; nonsense counts as absent."""
    text = request.GET.get(name, "")
    return min(int(text), most) if text.isdecimal() and len(text) < 17 else default


def _wanted(request: HttpRequest) -> dict[str, str]:
    """The level and the text to look for."""
    level = request.GET.get("level", "")
    return {"level": level if level in LEVELS else "", "query": request.GET.get("q", "").strip()[:200]}


@require_GET
@workspace_page()
@conditional_page
def log_lines(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """For the viewer: lines `from` a number on, or, with `matches`, only the numbers of the lines that match."""
    job = find_job(request, workspace, number)
    start = _number(request, "from", 0, 2**53)
    wanted = _wanted(request)
    answer: dict[str, Any] = {
        "total": job.log_lines,
        "errors": job.log_errors,
        "firstError": job.first_error_line,
        "isFinal": not job.is_active,
    }
    if "matches" in request.GET:
        found = read_log(job, sequence=start, limit=MOST_MATCHES + 1, **wanted)
        answer["numbers"] = [line_number for line_number, _ in found[:MOST_MATCHES]]
        answer["more"] = len(found) > MOST_MATCHES
    else:
        limit = _number(request, "limit", PAGE_LINES, MOST_LINES)
        answer["lines"] = [_packed(numbered) for numbered in read_log(job, sequence=start, limit=limit, **wanted)]
    return JsonResponse(answer, json_dumps_params={"separators": (",", ":"), "ensure_ascii": False})


def _packed(numbered: Numbered) -> list[Any]:
    number, line = numbered
    return [number, log_time(line.at), line.source, line.level, level_name(line.level), line.text]


@require_GET
@workspace_page()
def show_log(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """The log as pages to read and search without scripts."""
    job = find_job(request, workspace, number, "pipeline")
    start = _number(request, "from", 0, 2**53)
    wanted = _wanted(request)
    found = read_log(job, sequence=start, limit=PAGE_LINES + 1, **wanted)
    context = {
        "nav": "jobs",
        "nav_is": "true",
        "here": workspace,
        "job": job,
        "lines": found[:PAGE_LINES],
        "next": found[PAGE_LINES][0] if len(found) > PAGE_LINES else None,
        "start": start,
        "levels": [(level, level_name(level)) for level in reversed(LEVELS)],
        **wanted,
    }
    return render(request, "jobs/job_log.html", context)


@require_GET
@workspace_page()
def log_as_text(
    request: HttpRequest, workspace: Workspace, number: int, download: bool = False
) -> StreamingHttpResponse:
    """The whole log as text, streamed: times in UTC, one line each."""
    job = find_job(request, workspace, number)
    response = StreamingHttpResponse(_text(job), content_type="text/plain; charset=utf-8")
    response["X-Content-Type-Options"] = "nosniff"
    if download:
        response["Content-Disposition"] = f'attachment; filename="job-{job.number}.log"'
    return response


def _text(job: Job) -> Iterator[str]:
    """Lines in blocks: one small write per line would cost more than reading it."""
    block: list[str] = []
    for _, line in iterate_log(job):
        block.append(f"{line.at:%Y-%m-%dT%H:%M:%S.%fZ} {line.source} {line.level.upper()} {line.text}\n")
        if len(block) == MOST_LINES:
            yield "".join(block)
            block = []
    yield "".join(block)
