"""The page of where a pipeline's next run begins, with what changed it: people and jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs import stories
from jobs.models import Job
from jobs.pipeline_views import find_pipeline, head_context
from pipelines.models import Pipeline, PipelineStateChange
from pipelines.state import ViewedState, changes_of, view_state
from pipelines.state_values import FORMS, bookmarks_of, brief, others_of
from workspaces.context import workspace_page
from workspaces.models import Workspace

PAGE_CHANGES = 10
SHOWN_BOOKMARKS = 200
SHOWN_VALUES = 12
SHOWN_DIFFERENCES = 20
FORM_NAMES = ("For Meltano, with its parts", "For meltano state set", "For a Singer tap")


@dataclass(frozen=True)
class ShownBookmark:
    """One row of a state: a stream's, or a key of the tap's own."""

    name: str
    values: Sequence[tuple[str, str]]
    more: int
    is_stream: bool
    is_partial: bool  # it comes from an unfinished run


@dataclass(frozen=True)
class ShownState:
    """A pair's state as its page shows it."""

    viewed: ViewedState
    bookmarks: Sequence[ShownBookmark]
    more: int
    job_number: int | None

    @property
    def has_partial(self) -> bool:
        return bool(self.viewed.row.partial)


@dataclass(frozen=True)
class ShownChange:
    """One entry of the history."""

    change: PipelineStateChange
    rows: Sequence[stories.Change]
    more: int


@require_GET
@workspace_page()
def show_state(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Where the next run begins, and who or what changed that. `?before=<change>` pages on."""
    pipeline = find_pipeline(request, workspace, number)
    context = head_context(request, workspace, pipeline, "state")
    states = shown_states(pipeline)
    history, older = shown_changes(pipeline, request.GET.get("before", ""))
    context |= {
        "states": [state for state in states if state.viewed.is_current or state.bookmarks],
        "has_state": any(state.bookmarks for state in states),
        "history": history,
        "older": older,
        "forms": list(zip(FORMS, FORM_NAMES, strict=True)),
        "busy": pipeline.active_runs[0] if pipeline.active_runs else None,  # type: ignore[attr-defined]
    }
    return render(request, "pipelines/pipeline_state.html", context)


def shown_states(pipeline: Pipeline) -> list[ShownState]:
    """The present pair's state first, then those of earlier pairs."""
    viewed = view_state(pipeline)
    ids = [each.row.job_id for each in viewed if each.row.job_id]
    numbers = dict(Job.objects.visible().filter(pipeline=pipeline, pk__in=ids).values_list("pk", "number"))
    found = []
    for each in viewed:
        rows = _bookmarks(each)
        shown, job_number = rows[:SHOWN_BOOKMARKS], numbers.get(each.row.job_id)
        found.append(ShownState(each, shown, len(rows) - len(shown), job_number))
    return found


def _bookmarks(viewed: ViewedState) -> list[ShownBookmark]:
    state, effective = viewed.row.state, viewed.effective
    complete = {True: bookmarks_of(state), False: others_of(state)}
    streams = [(name, value, True) for name, value in sorted(bookmarks_of(effective).items())]
    others = [(name, value, False) for name, value in sorted(others_of(effective).items())]
    rows = []
    for name, value, is_stream in [*streams, *others]:
        is_partial = bool(viewed.row.partial) and complete[is_stream].get(name, _NOTHING) != value
        values = _values(value)
        more = len(values) - SHOWN_VALUES
        rows.append(ShownBookmark(name, values[:SHOWN_VALUES], max(0, more), is_stream, is_partial))
    return rows


_NOTHING = object()


def _values(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [(str(key), brief(part)) for key, part in value.items()]
    return [("", brief(value))]


def shown_changes(pipeline: Pipeline, before: str) -> tuple[list[ShownChange], int | None]:
    """A page of the history, and the last of it where older ones follow."""
    found = changes_of(pipeline)
    if before.isascii() and before.isdigit():
        found = found.filter(pk__lt=int(before[:18]))
    changes = list(found[: PAGE_CHANGES + 1])
    page = changes[:PAGE_CHANGES]
    shown = []
    for change in page:
        rows = stories.state_changes(change.before, change.after, with_same=False)
        cut = rows[:SHOWN_DIFFERENCES]
        shown.append(ShownChange(change, cut, len(rows) - len(cut)))
    return shown, page[-1].pk if len(changes) > PAGE_CHANGES else None
