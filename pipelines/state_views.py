"""Pages that change where a pipeline's next run begins. Looking at it is jobs/state_views.py, which knows the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from eltsite.errors import Conflict, Invalid, NotFound
from pipelines import services
from pipelines.models import Pipeline, PipelineState
from pipelines.state import changes_of, view_state
from pipelines.state_values import LARGEST_BYTES, as_text, read_text
from pipelines.values import ValueFault
from pipelines.views import find
from workspaces.context import workspace_page
from workspaces.models import Workspace
from workspaces.permissions import access_of
from workspaces.toasts import toast

LARGEST_FILE = 4 * LARGEST_BYTES  # a form around a state, and line ends within it


@dataclass
class StateForm:
    """What a person has typed so far, and what is wrong with it."""

    text: str = ""
    reason: str = ""
    version: str = ""
    fault: str = ""
    status: int = 200


@require_http_methods(["GET", "POST"])
@workspace_page("write")
def edit(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """The state as JSON in a box. `?from=<change>` begins with what it was after that change."""
    pipeline = find(request, workspace, number)
    form = StateForm()
    if request.method == "POST":
        typed = request.POST
        form = StateForm(typed.get("state", ""), typed.get("reason", ""), typed.get("version", ""))
        save: Callable[..., PipelineState] = services.edit_state
        done = _store(
            request, form, lambda value: save(pipeline, state=value, expected=_version(form), **_who(request, form))
        )
        if done is not None:
            return _after(request, pipeline, done, f"The state of {pipeline.label} is changed.")
    else:
        viewed = next((each for each in view_state(pipeline) if each.is_current), None)
        if viewed is None:
            raise Conflict(f"{pipeline.label} has no pair of extractor and loader, and a state belongs to one.")
        form.version = f"{viewed.row.epoch}.{viewed.row.sequence}"
        form.text = as_text(_earlier(request, pipeline) or viewed.effective)
    return _render(request, pipeline, form, is_import=False)


@require_http_methods(["GET", "POST"])
@workspace_page("write")
def import_(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """A state from elsewhere: a file, or text pasted into a box."""
    pipeline = find(request, workspace, number)
    form = StateForm()
    if request.method == "POST":
        form = StateForm(request.POST.get("state", ""), request.POST.get("reason", ""))
        try:
            text = _given(request.FILES.get("file"), form.text)
        except ValueFault as fault:
            form.fault, form.status = str(fault), 400
        else:
            shown, form.text = form.text, text
            done = _store(
                request, form, lambda value: services.import_state(pipeline, value=value, **_who(request, form))
            )
            if done is not None:
                return _after(request, pipeline, done, f"The state of {pipeline.label} is imported.")
            form.text = shown
    return _render(request, pipeline, form, is_import=True)


@require_POST
@workspace_page("run")
def reset(request: HttpRequest, workspace: Workspace, number: int) -> HttpResponse:
    """Forget the bookmarks: of one stream, or of all."""
    pipeline = find(request, workspace, number)
    stream = request.GET.get("stream", "")
    streams = [stream] if "stream" in request.GET else None
    states = services.reset_state(pipeline, user=request.user, streams=streams)  # type: ignore[arg-type]
    what = f"the stream {stream}" if streams else "all streams"
    said = f"The state of {pipeline.label} is reset: its next run reads {what} from the beginning."
    return _after(request, pipeline, states[0] if len(states) == 1 else None, said)


@require_POST
@workspace_page("write")
def undo(request: HttpRequest, workspace: Workspace, number: int, change_id: int) -> HttpResponse:
    """Give a state back what it was before its newest change."""
    pipeline = find(request, workspace, number)
    change = changes_of(pipeline).filter(pk=change_id).first()
    if change is None:
        raise NotFound(f"The state of {pipeline.label} has no change {change_id}.")
    state = services.undo_state_change(change, user=request.user)  # type: ignore[arg-type]
    return _after(request, pipeline, state, f"The state of {pipeline.label} is what it was before.")


# ---------- inside ----------


def _who(request: HttpRequest, form: StateForm) -> dict[str, Any]:
    return {"user": request.user, "reason": form.reason}


def _version(form: StateForm) -> tuple[int, int] | None:
    """The (epoch, sequence) the text was read at; one that nobody could have read is refused as stale."""
    epoch, _, sequence = form.version.partition(".")
    is_read = epoch.isascii() and epoch.isdigit() and sequence.isascii() and sequence.isdigit()
    return (int(epoch[:20]), int(sequence[:20])) if is_read else (-1, -1)


def _store(request: HttpRequest, form: StateForm, store: Callable[[Any], PipelineState]) -> PipelineState | None:
    """Store what was typed; None where it has a fault, which the form then shows with the text kept."""
    try:
        return store(read_text(form.text))
    except ValueFault as fault:
        form.fault, form.status = str(fault), 400
    except (Invalid, Conflict) as fault:
        form.fault, form.status = fault.message, 400 if isinstance(fault, Invalid) else 409
    return None


def _given(file: UploadedFile | None, text: str) -> str:
    """The text of the file, else what was pasted. Raises ValueFault."""
    if file is None:
        return text
    if text.strip():
        raise ValueFault("There is a file and text as well. Give one of them.")
    if (file.size or 0) > LARGEST_FILE:
        raise ValueFault(f"{file.name} has {file.size:,} bytes. A state has at most {LARGEST_BYTES:,}.")
    try:
        return file.read().decode()
    except UnicodeDecodeError as fault:
        raise ValueFault(f"{file.name} is not UTF-8: byte {fault.start} cannot be read. Save it as UTF-8.") from None


def _earlier(request: HttpRequest, pipeline: Pipeline) -> dict[str, Any] | None:
    """What the state was after the change that the address names."""
    text = request.GET.get("from", "")
    if not (text.isascii() and text.isdigit()):
        return None
    change = changes_of(pipeline).filter(pk=int(text[:20])).first()
    return change.after if change else None


def _after(request: HttpRequest, pipeline: Pipeline, state: PipelineState | None, said: str) -> HttpResponse:
    """Back to the state, saying what was done, with an undo where one change was made and the person may undo it."""
    alias = pipeline.workspace.alias
    undo_url = ""
    if state is not None and access_of(request).can(pipeline.workspace_id, "write"):
        change = state.changes.first()  # type: ignore[attr-defined]
        undo_url = reverse("pipeline-state-undo", args=[alias, pipeline.number, change.pk])
    toast(request, said, undo=undo_url)
    return redirect("pipeline-state", alias, pipeline.number)


def _render(request: HttpRequest, pipeline: Pipeline, form: StateForm, *, is_import: bool) -> HttpResponse:
    context = {
        "nav": "pipelines",
        "nav_is": "true",
        "here": request.workspace,  # type: ignore[attr-defined]
        "pipeline": pipeline,
        "form": form,
        "is_import": is_import,
        "rows": min(40, max(12, form.text.count("\n") + 2)),
    }
    return render(request, "pipelines/pipeline_state_form.html", context, status=form.status)
