"""Resetting where the next run begins."""

from __future__ import annotations

import pytest

from eltsite.errors import Conflict, Invalid
from pipelines.models import PipelineState, PipelineStateChange
from pipelines.services import reset_state
from tests.factories import make_component, make_job, make_pipeline

BOOKMARKS = {"orders": {"value": 7}, "customers": {"value": 3}}


@pytest.fixture
def loaded(workspace):
    """A pipeline whose pair has a state."""
    pair = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Warehouse")]
    pipeline = make_pipeline(workspace, "Orders", components=pair)
    PipelineState.objects.create(
        pipeline=pipeline, extractor=pair[0], loader=pair[1], state={"bookmarks": BOOKMARKS}, epoch=2, sequence=9
    )
    return pipeline


def test_reset_raises_the_epoch_and_keeps_what_was(loaded, owner):
    reset_state(loaded, user=owner)
    state = loaded.states.get()
    assert (state.state, state.epoch, state.sequence) == ({"bookmarks": {}}, 3, 0)
    change = PipelineStateChange.objects.get()
    assert (change.before, change.after, change.user) == ({"bookmarks": BOOKMARKS}, {"bookmarks": {}}, owner)
    assert change.reason == "Reset"


def test_reset_of_one_stream_leaves_the_others(loaded, owner):
    reset_state(loaded, user=owner, streams=["orders"])
    state = loaded.states.get()
    assert (state.state, state.epoch) == ({"bookmarks": {"customers": {"value": 3}}}, 3)
    assert PipelineStateChange.objects.get().reason == "Reset of orders"


def test_unknown_stream_is_named_and_nothing_changes(loaded, owner):
    with pytest.raises(Invalid, match="Did you mean orders"):
        reset_state(loaded, user=owner, streams=["order"])
    assert loaded.states.get().epoch == 2


def test_reset_without_a_state_still_outdates_what_the_store_remembers(workspace, owner):
    pair = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Warehouse")]
    pipeline = make_pipeline(workspace, "Orders", components=pair)
    reset_state(pipeline, user=owner)
    assert pipeline.states.get().epoch == 1


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_reset_is_refused_while_a_run_is_active(loaded, owner, status):
    job = make_job(loaded, status=status)
    with pytest.raises(Conflict, match=f"busy with job {job.number}"):
        reset_state(loaded, user=owner)
    assert loaded.states.get().epoch == 2


def test_finished_runs_and_checks_do_not_stand_in_the_way(loaded, owner):
    make_job(loaded, status="COMPLETE")
    make_job(loaded, type="PIPELINE_CONFIG", status="RUNNING")
    reset_state(loaded, user=owner)
    assert loaded.states.get().epoch == 3
