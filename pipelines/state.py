"""Resetting where a pipeline's next run begins. Called through services.py."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from eltsite.errors import Conflict, Invalid
from pipelines.models import Pipeline, PipelineState, PipelineStateChange
from pipelines.values import nearest
from workspaces.models import User


@transaction.atomic
def reset_state(pipeline: Pipeline, *, user: User | None, streams: Sequence[str] | None = None) -> list[PipelineState]:
    """Forget the bookmarks of the streams (all when None), so that the next run reads them in full.

    1. Lock the pipeline against new jobs, then refuse while one is active: it would write its state afterwards.
    2. Raise the epoch, so that this wins over what the store remembers.
    3. Keep what was, and who changed it.
    """
    row = Pipeline.objects.select_for_update(of=("self",)).get(pk=pipeline.pk)
    job = row.jobs.active().filter(type="PIPELINE_RUN").first()
    if job is not None:
        raise Conflict(f"{row.label} is busy with job {job.number}. Stop it or wait for its end, then reset the state.")
    states = _states_of(row)
    if streams is not None:
        _check_streams(states, streams)
    for state in states:
        before = state.state
        bookmarks = before.get("bookmarks", {}) if streams is not None else {}
        state.state = {"bookmarks": {name: mark for name, mark in bookmarks.items() if name not in (streams or ())}}
        state.epoch, state.sequence, state.job_id = state.epoch + 1, 0, None
        state.save()
        reason = "Reset" if streams is None else f"Reset of {', '.join(streams)}"
        PipelineStateChange.objects.create(
            state=state, before=before, after=state.state, user=user, reason=_shortened(reason)
        )
    return states


def _states_of(pipeline: Pipeline) -> list[PipelineState]:
    """The pipeline's states; that of its present pair is made when it is missing, for its store may know one."""
    by_type = {
        step.component.plugin.plugin_type: step.component for step in pipeline.steps.select_related("component__plugin")
    }
    if "EXTRACTOR" in by_type and "LOADER" in by_type:
        PipelineState.objects.get_or_create(pipeline=pipeline, extractor=by_type["EXTRACTOR"], loader=by_type["LOADER"])
    return list(PipelineState.objects.select_for_update().filter(pipeline=pipeline))


def _check_streams(states: Sequence[PipelineState], streams: Sequence[str]) -> None:
    known = sorted({name for state in states for name in state.state.get("bookmarks", {})})
    for stream in streams:
        if stream not in known:
            meant = nearest(stream, known)
            remedy = f"Did you mean {meant}?" if meant else f"It has one for {', '.join(known) or 'no stream'}."
            raise Invalid.field("streams", f"The state has no bookmark for the stream {stream}. {remedy}", value=stream)


def _shortened(text: str) -> str:
    longest = PipelineStateChange._meta.get_field("reason").max_length or 200
    return text if len(text) <= longest else text[: longest - 1] + "…"
