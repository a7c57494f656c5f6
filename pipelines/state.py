"""Where a pipeline's next run begins: looked at, edited, reset, taken back, moved in and out. Called through services.py.

A state belongs to a pair of extractor and loader; a pipeline that changed its components keeps those of earlier pairs.
People write under the workspace's lock, which each new job takes for its number: so none can begin in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from eltsite.errors import Conflict, Invalid
from pipelines.locks import ChangedMeanwhile, lock_row, lock_workspace
from pipelines.models import DataComponent, Pipeline, PipelineState, PipelineStateChange
from pipelines.plugins import parse
from pipelines.state_values import (
    check_state,
    emptied,
    export_form,
    import_form,
    merge,
    streams_of,
    without_streams,
)
from pipelines.values import ValueFault, nearest
from workspaces.models import User

UNDO, REDO = "Undo: ", "Redo: "


class StateBusy(Conflict):
    """A run of this pipeline is active, and would write its state afterwards."""

    code = "state-busy"

    def __init__(self, message: str | None = None, *, job: Any = None) -> None:
        super().__init__(message)
        self.job = job


class NotTheLatest(Conflict):
    """Only the newest change of a state can be undone. To go back further, edit the state."""

    code = "not-the-latest"


@dataclass(frozen=True)
class ViewedState:
    """A pair's state; `row` is not stored yet where no run and no person has written one."""

    row: PipelineState
    is_current: bool

    @property
    def effective(self) -> dict[str, Any]:
        """What the next run of the pair begins with."""
        return merge(self.row.state, self.row.partial)

    @property
    def version(self) -> str:
        """Tells this state from all others and from its own earlier values."""
        return f"{self.row.pk or 0}.{self.row.epoch}.{self.row.sequence}"


def view_state(pipeline: Pipeline) -> list[ViewedState]:
    """The state of the pipeline's present pair, then those of earlier pairs, the last used first.

    A pipeline without a pair of extractor and loader has earlier ones at most. No secret is opened.
    """
    pair = _pair_of(pipeline)
    rows = PipelineState.objects.filter(pipeline=pipeline).select_related("extractor__plugin", "loader__plugin")
    stored = list(rows.defer("extractor__properties", "loader__properties").order_by("-modified_at", "pk"))
    current = next((row for row in stored if (row.extractor, row.loader) == pair), None)
    if current is None and pair is not None:
        current = PipelineState(pipeline=pipeline, extractor=pair[0], loader=pair[1])
    found = [ViewedState(current, True)] if current is not None else []
    return found + [ViewedState(row, False) for row in stored if row is not current]


@transaction.atomic
def edit_state(
    pipeline: Pipeline,
    *,
    state: Any,
    user: User | None,
    reason: str = "",
    expected: tuple[int, int] | None = None,
) -> PipelineState:
    """Give the present pair this state; an unfinished run's part is dropped with what was.

    `expected` is the (epoch, sequence) it was read at: ChangedMeanwhile where it is another by now. Raises Invalid
    for what is no state, StateBusy while a run is active, Conflict for a pipeline without a pair.
    """
    row = _lock_current(pipeline, expected)
    _check(row, state)
    return _write(row, state, user=user, reason=reason.strip() or "Edited")


@transaction.atomic
def import_state(
    pipeline: Pipeline,
    *,
    value: Any,
    user: User | None,
    reason: str = "",
    expected: tuple[int, int] | None = None,
) -> PipelineState:
    """As edit_state, from any form that state_values.import_form reads; the two parts of Meltano's become one."""
    if value == {}:
        message = "It holds no state. To begin from the start, reset the state instead."
        raise Invalid.field("state", message, code="required")
    try:
        state = import_form(value)
    except ValueFault as fault:
        raise Invalid.field("state", str(fault)) from None
    return edit_state(pipeline, state=state, user=user, reason=reason.strip() or "Imported", expected=expected)


@transaction.atomic
def reset_state(pipeline: Pipeline, *, user: User | None, streams: Sequence[str] | None = None) -> list[PipelineState]:
    """Forget the bookmarks of the streams (all when None), so that the next run reads them in full.

    All pairs are reset; those that hold none of the streams stay as they are. Returns what was written.
    """
    row = _lock_idle(pipeline)
    states = _states_of(row)
    if streams is None:
        return [_write(state, emptied(_effective(state)), user=user, reason="Reset") for state in states]
    _check_streams(states, streams)
    reason = f"Reset of {', '.join(streams)}"
    held = [state for state in states if set(streams) & set(streams_of(_effective(state)))]
    return [_write(state, without_streams(_effective(state), streams), user=user, reason=reason) for state in held]


@transaction.atomic
def undo_state_change(change: PipelineStateChange, *, user: User | None) -> PipelineState:
    """Give a state back what it was before its newest change; this is a change of its own, which can be undone too.

    An older one is not undone, for what came after it would go unnamed: raises NotTheLatest. Edit the state instead.
    """
    _lock_idle(change.state.pipeline)
    row = (
        PipelineState.objects.select_for_update(no_key=True, of=("self",))
        .select_related("pipeline")
        .get(pk=change.state_id)
    )
    latest = row.changes.first()
    if latest is None or latest.pk != change.pk:
        raise NotTheLatest()
    return _write(row, change.before, user=user, reason=_undone(change.reason))


def changes_of(pipeline: Pipeline) -> QuerySet[PipelineStateChange]:
    """The history of a pipeline's states, newest first, with the rows that bodies and pages name; no secret is opened.

    Each has `is_latest` (of its pair: it can be undone) and `job_number` (None where no job of ours is left to look at).
    """
    jobs = Pipeline._meta.get_field("jobs").related_model.objects.visible()  # type: ignore[union-attr]
    numbers = jobs.filter(pk=OuterRef("job_id")).values("number")[:1]
    later = PipelineStateChange.objects.filter(state=OuterRef("state"), pk__gt=OuterRef("pk"))
    found = PipelineStateChange.objects.filter(state__pipeline=pipeline)
    found = found.select_related("state__pipeline", "state__extractor", "state__loader", "user")
    secret = ("state__pipeline__properties", "state__extractor__properties", "state__loader__properties")
    return found.defer(*secret).annotate(is_latest=~Exists(later), job_number=Subquery(numbers))


def export_state(pipeline: Pipeline, *, form: str = "meltano") -> dict[str, Any]:
    """The present pair's state for others: see state_values.export_form."""
    viewed = next((each.row for each in view_state(pipeline) if each.is_current), PipelineState())
    return export_form(viewed.state, viewed.partial, form)


# ---------- inside ----------


def _pair_of(pipeline: Pipeline) -> tuple[DataComponent, DataComponent] | None:
    steps = pipeline.steps.select_related("component__plugin").defer("component__properties")
    by_type = {step.component.plugin.plugin_type: step.component for step in steps}
    if "EXTRACTOR" not in by_type or "LOADER" not in by_type:
        return None
    return by_type["EXTRACTOR"], by_type["LOADER"]


def _lock_idle(pipeline: Pipeline) -> Pipeline:
    """The pipeline's row, locked after its workspace's. Raises StateBusy while a run is active, NotFound when it is gone."""
    lock_workspace(pipeline.workspace)
    row = lock_row(pipeline)
    job = row.jobs.active().filter(type="PIPELINE_RUN").select_related("created_by").first()
    if job is None:
        return row
    if job.deleted_at is not None:
        raise StateBusy(f"{row.label} is busy with a deleted job that is being stopped. Try again when that is done.")
    by = f", started by {job.created_by.display_name}" if job.created_by else ""
    raise StateBusy(
        f"{row.label} is busy with job {job.number} ({job.status.lower()}{by}). "
        "Stop it or wait for its end, then change the state.",
        job=job,
    )


def _lock_current(pipeline: Pipeline, expected: tuple[int, int] | None) -> PipelineState:
    """The state of the present pair, locked and made when it is missing, for its store may know one."""
    row = _lock_idle(pipeline)
    pair = _pair_of(row)
    if pair is None:
        raise Conflict(f"{row.label} has no pair of extractor and loader, and a state belongs to one. Add them first.")
    PipelineState.objects.get_or_create(pipeline=row, extractor=pair[0], loader=pair[1])
    states = PipelineState.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "pipeline", "extractor__plugin"
    )
    state = states.defer("extractor__properties").get(pipeline=row, extractor=pair[0], loader=pair[1])
    if expected is not None and (state.epoch, state.sequence) != expected:
        raise ChangedMeanwhile("A run or a person changed this state meanwhile. Load it again and repeat your change.")
    return state


def _states_of(pipeline: Pipeline) -> list[PipelineState]:
    """The pipeline's states, locked; that of its present pair is made when it is missing, for its store may know one."""
    pair = _pair_of(pipeline)
    if pair is not None:
        PipelineState.objects.get_or_create(pipeline=pipeline, extractor=pair[0], loader=pair[1])
    return list(
        PipelineState.objects.select_for_update(no_key=True, of=("self",)).filter(pipeline=pipeline).order_by("pk")
    )


def _write(row: PipelineState, state: Mapping[str, Any], *, user: User | None, reason: str) -> PipelineState:
    """Store a person's state. The raised epoch makes it win over what the store remembers beside its rows."""
    before = _effective(row)
    row.state, row.partial = dict(state), {}
    row.epoch, row.sequence, row.job_id = row.epoch + 1, 0, None
    row.save()
    PipelineStateChange.objects.create(state=row, before=before, after=row.state, user=user, reason=_shortened(reason))
    return row


def _effective(row: PipelineState) -> dict[str, Any]:
    return merge(row.state, row.partial)


def _check(row: PipelineState, state: Any) -> None:
    try:
        check_state(state, is_native=parse(row.extractor.plugin.definition).is_native)
    except ValueFault as fault:
        raise Invalid.field("state", str(fault)) from None


def _check_streams(states: Sequence[PipelineState], streams: Sequence[str]) -> None:
    known = sorted({name for state in states for name in streams_of(_effective(state))})
    for stream in streams:
        if stream not in known:
            meant = nearest(stream, known)
            remedy = f"Did you mean {meant}?" if meant else f"It has one for {', '.join(known) or 'no stream'}."
            raise Invalid.field("streams", f"The state has no bookmark for the stream {stream}. {remedy}", value=stream)


def _undone(reason: str) -> str:
    """What taking a change back is called; taking that back is doing it again."""
    if reason.startswith(UNDO):
        return REDO + reason.removeprefix(UNDO)
    return UNDO + reason.removeprefix(REDO)


def _shortened(text: str) -> str:
    """One printable line that fits its column."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    longest = PipelineStateChange._meta.get_field("reason").max_length or 200
    return text if len(text) <= longest else text[: longest - 1] + "…"
