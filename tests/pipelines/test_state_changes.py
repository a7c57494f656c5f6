"""Looking at, editing, importing, exporting and undoing where the next run begins."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from eltsite.errors import Conflict, Invalid, NotFound
from pipelines.locks import ChangedMeanwhile
from pipelines.models import DataPlugin, PipelineState, PipelineStateChange
from pipelines.services import edit_state, import_state, reset_state, undo_state_change
from pipelines.state import NotTheLatest, StateBusy, export_state, view_state
from tests.factories import make_component, make_job, make_pipeline

BOOKMARKS = {"bookmarks": {"orders": {"value": 7}, "customers": {"value": 3}}}
OTHER = {"bookmarks": {"orders": {"value": 1}}}


def singer_tap(workspace):
    """A component of a tap that is not ours, whose state may have any form."""
    values = {"name": "tap-github", "variant": "meltanolabs"}
    definition = {"id": str(uuid.uuid4()), "pluginType": "EXTRACTOR", "pipUrl": "tap-github==1", **values}
    plugin = DataPlugin.objects.create(workspace=workspace, plugin_type="EXTRACTOR", definition=definition, **values)
    return workspace.components.create(plugin=plugin, name="GitHub")


@pytest.fixture
def loaded(workspace):
    """A pipeline whose pair has a state, with what an unfinished run added."""
    pair = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Warehouse")]
    pipeline = make_pipeline(workspace, "Orders", components=pair)
    PipelineState.objects.create(
        pipeline=pipeline,
        extractor=pair[0],
        loader=pair[1],
        state=BOOKMARKS,
        partial={"bookmarks": {"orders": {"value": 9}}},
        job_id=uuid.uuid4(),
        epoch=2,
        sequence=9,
    )
    return pipeline


@pytest.fixture
def github(workspace):
    """A pipeline from a Singer tap, without a state so far."""
    return make_pipeline(
        workspace, "Issues", components=[singer_tap(workspace), make_component(workspace, "target-duckdb", "Store")]
    )


def test_what_an_unfinished_run_came_to_counts(loaded):
    (viewed,) = view_state(loaded)
    assert viewed.is_current and viewed.row.state == BOOKMARKS
    assert viewed.effective == {"bookmarks": {"orders": {"value": 9}, "customers": {"value": 3}}}


def test_a_pair_that_never_ran_is_shown_empty_and_nothing_is_stored(github):
    (viewed,) = view_state(github)
    assert (viewed.row.extractor.name, viewed.effective, viewed.version) == ("GitHub", {}, "0.0.0")
    assert not PipelineState.objects.exists()


def test_states_of_earlier_pairs_stay_and_come_after(loaded, workspace):
    step = loaded.steps.get(component__name="Shop")
    step.component = make_component(workspace, "tap-files", "Files")
    step.save()
    viewed = view_state(loaded)
    assert [(each.row.extractor.name, each.is_current) for each in viewed] == [("Files", True), ("Shop", False)]


def test_a_pipeline_without_a_pair_has_no_state_and_takes_none(pipeline, owner):
    assert view_state(pipeline) == []
    assert export_state(pipeline) == {"completed": {}, "partial": {}}
    with pytest.raises(Conflict, match="no pair of extractor and loader"):
        edit_state(pipeline, state={}, user=owner)


def test_an_edit_replaces_all_and_wins_over_the_store(loaded, owner):
    edit_state(loaded, state=OTHER, user=owner, reason="Rows of March came late")
    row = loaded.states.get()
    assert (row.state, row.partial, row.epoch, row.sequence, row.job_id) == (OTHER, {}, 3, 0, None)
    change = PipelineStateChange.objects.get()
    assert (change.user, change.job_id, change.reason) == (owner, None, "Rows of March came late")
    assert change.before == {"bookmarks": {"orders": {"value": 9}, "customers": {"value": 3}}}
    assert change.after == OTHER


def test_an_edit_may_come_before_the_first_run(github, owner):
    state = {"issues": "2026-01-01", "currently_syncing": None}
    edit_state(github, state=state, user=owner)
    row = github.states.get()
    assert (row.state, row.epoch) == (state, 1)
    assert PipelineStateChange.objects.get().reason == "Edited"


def test_a_stale_edit_is_refused_and_a_fresh_one_taken(loaded, owner):
    with pytest.raises(ChangedMeanwhile):
        edit_state(loaded, state=OTHER, user=owner, expected=(2, 8))
    assert loaded.states.get().epoch == 2
    edit_state(loaded, state=OTHER, user=owner, expected=(2, 9))
    assert loaded.states.get().epoch == 3


@pytest.mark.parametrize("state", [[], "x", None, {"a": "\0"}, {"bookmarks": {"orders": 7}}, {"other": 1}])
def test_what_is_no_state_of_the_pair_is_refused_and_nothing_changes(loaded, owner, state):
    with pytest.raises(Invalid) as refused:
        edit_state(loaded, state=state, user=owner)
    assert [fault.field for fault in refused.value.errors] == ["state"]
    assert loaded.states.get().epoch == 2 and not PipelineStateChange.objects.exists()


def test_a_reason_becomes_one_line_of_its_length(loaded, owner):
    edit_state(loaded, state=OTHER, user=owner, reason="a\nb\0 " + "x" * 500)
    reason = PipelineStateChange.objects.get().reason
    assert reason.startswith("a b x") and len(reason) == 200


def test_meltanos_form_is_imported_and_exported(loaded, owner):
    exported = export_state(loaded)
    assert exported["completed"] == {"singer_state": BOOKMARKS}
    assert exported["partial"] == {"singer_state": {"bookmarks": {"orders": {"value": 9}}}}
    effective = view_state(loaded)[0].effective
    assert export_state(loaded, form="singer") == effective
    assert export_state(loaded, form="singer_state") == {"singer_state": effective}
    edit_state(loaded, state={}, user=owner)
    import_state(loaded, value=exported, user=owner)
    row = loaded.states.get()
    assert (row.state, row.partial, row.epoch) == (effective, {}, 4)
    assert row.changes.first().reason == "Imported"


def test_an_import_of_nothing_is_taken_for_a_mistake(loaded, owner):
    with pytest.raises(Invalid, match="holds no state"):
        import_state(loaded, value={}, user=owner)
    assert loaded.states.get().epoch == 2


def test_an_import_is_checked_as_an_edit_is(loaded, owner):
    with pytest.raises(Invalid, match="bookmark of orders is 7"):
        import_state(loaded, value={"singer_state": {"bookmarks": {"orders": 7}}}, user=owner)
    with pytest.raises(Invalid, match="completed is 3"):
        import_state(loaded, value={"completed": 3}, user=owner)


def test_a_reset_of_one_stream_keeps_the_taps_own_keys(github, owner):
    edit_state(github, state={**BOOKMARKS, "tap_version": 2}, user=owner)
    reset_state(github, user=owner, streams=["orders"])
    assert github.states.get().state == {"bookmarks": {"customers": {"value": 3}}, "tap_version": 2}
    reset_state(github, user=owner)
    assert github.states.get().state == {"bookmarks": {}}


def test_a_reset_counts_what_an_unfinished_run_came_to(loaded, owner):
    reset_state(loaded, user=owner, streams=["customers"])
    row = loaded.states.get()
    assert (row.state, row.partial) == ({"bookmarks": {"orders": {"value": 9}}}, {})


def test_a_state_without_bookmarks_is_reset_by_its_keys(github, owner):
    edit_state(github, state={"issues": "2026-01-01", "commits": {"since": 4}}, user=owner)
    reset_state(github, user=owner, streams=["issues"])
    assert github.states.get().state == {"commits": {"since": 4}}
    reset_state(github, user=owner)
    assert github.states.get().state == {}


def test_undo_gives_back_what_was_and_can_be_undone_itself(loaded, owner):
    edit_state(loaded, state=OTHER, user=owner, reason="Try")
    edited = PipelineStateChange.objects.get()
    row = undo_state_change(edited, user=owner)
    assert (row.state, row.partial, row.epoch, row.sequence) == (edited.before, {}, 4, 0)
    undone = row.changes.first()
    assert (undone.reason, undone.user, undone.after) == ("Undo: Try", owner, edited.before)
    row = undo_state_change(undone, user=owner)
    assert (row.state, row.changes.first().reason) == (OTHER, "Redo: Try")
    assert undo_state_change(row.changes.first(), user=owner).changes.first().reason == "Undo: Try"


def test_what_a_job_wrote_can_be_undone(loaded, owner):
    row = loaded.states.get()
    change = PipelineStateChange.objects.create(
        state=row, before=OTHER, after=BOOKMARKS, job_id=uuid.uuid4(), reason="Job 4"
    )
    assert undo_state_change(change, user=owner).state == OTHER


def test_only_the_newest_change_is_undone(loaded, owner):
    edit_state(loaded, state=OTHER, user=owner)
    older = PipelineStateChange.objects.get()
    edit_state(loaded, state={}, user=owner)
    with pytest.raises(NotTheLatest, match="edit the state"):
        undo_state_change(older, user=owner)
    assert loaded.states.get().state == {}


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_every_change_is_refused_while_a_run_is_active_and_names_it(loaded, owner, operator, status):
    edit_state(loaded, state=OTHER, user=owner)
    change = PipelineStateChange.objects.get()
    job = make_job(loaded, status=status, created_by=operator)
    for act in (
        lambda: edit_state(loaded, state={}, user=owner),
        lambda: import_state(loaded, value=BOOKMARKS, user=owner),
        lambda: undo_state_change(change, user=owner),
        lambda: reset_state(loaded, user=owner),
    ):
        with pytest.raises(StateBusy, match=rf"job {job.number} \({status.lower()}, started by oscar\)") as refused:
            act()
        assert refused.value.job == job
    assert loaded.states.get().state == OTHER


def test_a_deleted_job_that_still_ends_stands_in_the_way(loaded, owner):
    make_job(loaded, status="RUNNING", deleted_at=timezone.now())
    with pytest.raises(StateBusy, match="being stopped"):
        edit_state(loaded, state={}, user=owner)


def test_a_pipeline_that_is_being_deleted_keeps_its_state(loaded, owner):
    type(loaded).objects.update(deleting_at=timezone.now())
    with pytest.raises(NotFound):
        edit_state(loaded, state={}, user=owner)
