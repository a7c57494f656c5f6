"""Making and changing pipelines."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from eltsite.errors import Conflict, Invalid, NotFound
from jobs.services import create_job
from pipelines.models import Pipeline, PipelineStatus
from pipelines.plugins import MASK
from pipelines.services import (
    ChangedMeanwhile,
    delete_component,
    delete_pipeline,
    pause_schedule,
    pipeline_warnings,
    resume_schedule,
    save_component,
    save_pipeline,
    save_variable,
)
from pipelines.signals import pipeline_changed, pipeline_deleting
from workspaces.services import create_workspace, delete_workspace

ORDERS = '[{"stream": "orders", "path": "orders.csv"}]'
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def room(owner):
    return create_workspace(name="Shop", owner=owner)


@pytest.fixture
def heard():
    """What `pipeline_changed` said, as (label, needs_check)."""
    said = []

    def listen(sender, *, pipeline, needs_check, **_):
        said.append((pipeline.label, needs_check))

    pipeline_changed.connect(listen)
    yield said
    pipeline_changed.disconnect(listen)


def save(room, label="Orders nightly", **values) -> Pipeline:
    values.setdefault("components", ["extractors/tap-files", "Warehouse"])
    values.setdefault("properties", {"tap-files.files": ORDERS})
    return save_pipeline(room, label=label, **{"now": NOW, **values})


def faults_of(room, **values) -> dict[str, str]:
    before = Pipeline.objects.count()
    with pytest.raises(Invalid) as caught:
        save(room, **values)
    assert Pipeline.objects.count() == before
    return {error.field: error.message for error in caught.value.errors}


# ---------- making ----------


def test_pipeline_is_made_with_number_name_and_check(room, owner, heard):
    first, second = save(room, user=owner), save(room, "Orders weekly")
    first.refresh_from_db()
    assert (first.number, first.name, first.label, first.status) == (
        1,
        "orders-nightly",
        "Orders nightly",
        "PROVISIONING",
    )
    assert second.number == 2
    assert first.created_by == owner
    assert heard == [("Orders nightly", True), ("Orders weekly", True)]
    assert first.jobs.get().type == "PIPELINE_CONFIG"


def test_component_given_as_plugin_is_made_once_and_used_again(room):
    first, second = save(room), save(room, "Other", components=["extractors/tap-files--eltsite", "Warehouse"])
    assert [step.component.name for step in first.steps.all()] == ["tap-files", "Warehouse"]
    assert [step.component for step in second.steps.all()] == [step.component for step in first.steps.all()]
    save(room, pipeline=first)
    assert room.components.count() == 2


def test_component_of_another_plugin_under_the_plugins_name_is_left_alone(room):
    save_component(room, name="tap-files", plugin="tap-sql", properties={})
    made = save(room)
    assert [step.component.name for step in made.steps.all()] == ["tap-files-2", "Warehouse"]
    assert made.properties == {"tap-files-2.files": ORDERS}


def test_properties_may_be_keyed_as_the_pipeline_named_the_component(room):
    made = save(room, properties={"extractors/tap-files.files": ORDERS, "target-duckdb.schema": "shop"})
    assert made.properties == {"tap-files.files": ORDERS, "Warehouse.schema": "shop"}


def test_id_may_be_chosen_once(room, owner):
    chosen = uuid.uuid4()
    assert save(room, pipeline_id=chosen).pk == chosen
    other = create_workspace(name="Elsewhere", owner=owner)
    with pytest.raises(Conflict, match="another id"):
        save(other, pipeline_id=chosen)


def test_names_come_from_labels_and_stay_unique(room):
    assert [save(room, label).name for label in ["Übergrößen!", "Orders", "orders", "日本", "Deploy"]] == [
        *("ubergroen", "orders", "orders-2", "pipeline", "deploy-2")
    ]
    assert save(room, "x", name="my_own").name == "my_own"
    assert "taken" in faults_of(room, label="y", name="my_own")["name"]
    assert "space" in faults_of(room, label="y", name="my own")["name"]


def test_rename_keeps_name_and_triggers(room):
    first = save(room, "First")
    second = save(room, "Second", triggered_by=["first"])
    renamed = save(room, "Other", pipeline=first)
    assert renamed.name == "first"
    save(room, "Other", pipeline=renamed, name="changed")
    assert [each.name for each in second.triggered_by.all()] == ["changed"]


def test_failure_of_a_receiver_undoes_everything(room):
    def fail(sender, **_):
        raise RuntimeError("no")

    pipeline_changed.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            save(room)
    finally:
        pipeline_changed.disconnect(fail)
    assert not Pipeline.objects.exists()
    assert room.components.count() == 1


# ---------- faults ----------


def test_all_faults_come_at_once_and_made_components_are_undone(room):
    found = faults_of(
        room,
        label=" ",
        schedule="0 0 25 * * *",
        properties={"tap-files.files": "[", "tap-fils.x": "1"},
        timeout_seconds=-1,
        max_retries=10**12,
        triggered_by=["nobody"],
    )
    assert set(found) == {
        *("label", "schedule", "properties.tap-files.files", "properties.tap-fils.x"),
        *("timeout_seconds", "max_retries", "triggered_by"),
    }
    assert room.components.count() == 1


def test_one_extractor_and_one_loader_are_wanted(room):
    assert "nothing to load into" in faults_of(room, components=["extractors/tap-files"])["components"]
    assert "nothing to extract from" in faults_of(room, components=["Warehouse"])["components"]
    two = ["extractors/tap-files", "extractors/tap-sql", "Warehouse"]
    assert "tap-files and tap-sql to extract from" in faults_of(room, components=two)["components"]
    assert "named twice" in faults_of(room, components=["extractors/tap-files", "Warehouse", "Warehouse"])["components"]


def test_unknown_component_suggests_the_nearest(room):
    assert "Did you mean Warehouse?" in faults_of(room, components=["extractors/tap-files", "Warehose"])["components"]
    assert "Did you mean extractors/tap-files?" in faults_of(room, components=["extractors/tap-fils"])["components"]


def test_component_of_another_workspace_is_unknown(room, owner):
    theirs = save_component(
        create_workspace(name="Elsewhere", owner=owner), name="Theirs", plugin="target-files", properties={}
    )
    assert "no component Theirs" in faults_of(room, components=["extractors/tap-files", theirs])["components"]


def test_missing_setting_of_a_component_is_asked_for(room):
    assert "tap-files.files is missing" in faults_of(room, properties={})["properties.tap-files.files"]


def test_script_and_actions_say_what_to_use_instead(room):
    found = faults_of(room, script="echo hi", actions=["dbt:run"])
    assert "SQL model" in found["script"]
    assert "dbt:run" in found["actions"]


def test_unknown_time_zone_is_its_own_fault(room):
    assert set(faults_of(room, schedule="0 0 0 * * *", time_zone="Mars")) == {"time_zone"}


@pytest.mark.parametrize("wrong", [-1, "5", 1.5, True, None, 2**31])
def test_numbers_are_whole_and_not_negative(room, wrong):
    assert "whole number" in faults_of(room, timeout_seconds=wrong)["timeout_seconds"]


# ---------- secrets ----------


def test_mask_keeps_a_pipelines_secret_and_variables_are_checked(room, owner):
    database = {"host": "db", "user": "u", "database": "d", "tables": '[{"table": "orders"}]'}
    save_component(room, name="Shop", plugin="tap-sql", properties=database)
    values = {"components": ["Shop", "Warehouse"]}
    made = save(room, properties={"Shop.password": "hunter22"}, user=owner, **values)
    assert list(made.secrets_set) == ["Shop.password"]
    kept = save(room, pipeline=made, properties={"Shop.password": MASK}, **values)
    assert kept.properties == {"Shop.password": "hunter22"}
    assert kept.secrets_set["Shop.password"]["by"] == "olga"
    assert (
        "none is stored"
        in faults_of(room, label="b", properties={"Shop.password": MASK}, **values)["properties.Shop.password"]
    )
    found = faults_of(room, label="b", properties={"Shop.port": "$PORT"}, **values)
    assert "no variable PORT" in found["properties.Shop.port"]
    save_variable(room, name="PORT", value="5433")
    save(room, "b", properties={"Shop.port": "$PORT"}, **values)


def test_empty_property_is_not_stored(room):
    assert save(room, properties={"tap-files.files": ORDERS, "Warehouse.schema": ""}).properties == {
        "tap-files.files": ORDERS
    }


# ---------- changing ----------


def test_second_save_of_the_same_revision_is_refused(room):
    made = save(room)
    changed = save(room, "Changed", pipeline=made, expected_revision=1)
    assert changed.revision == 2
    with pytest.raises(ChangedMeanwhile):
        save(room, "Mine", pipeline=made, expected_revision=1)


def test_save_leaves_what_the_runs_wrote(room):
    made = save(room)
    Pipeline.objects.filter(pk=made.pk).update(recent_runs=[{"id": "x"}], rerun_requested=True)
    changed = save(room, pipeline=made)  # `made` still holds what it read before
    changed.refresh_from_db()
    assert changed.recent_runs == [{"id": "x"}]
    assert changed.rerun_requested


def test_components_can_be_changed_in_order(room):
    made = save(room)
    changed = save(room, pipeline=made, components=["Warehouse", "tap-files"])
    assert [step.component.name for step in changed.steps.all()] == ["Warehouse", "tap-files"]


# ---------- schedule ----------


def test_next_run_is_computed_in_the_pipelines_zone(room):
    made = save(room, schedule=" 0  30 2 * * * ", time_zone="Europe/Berlin")
    assert made.schedule == "0 30 2 * * *"
    assert made.next_run_at == datetime(2026, 1, 2, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("never", ["", "-", " "])
def test_no_schedule_no_next_run(room, never):
    made = save(room, schedule=never)
    assert (made.schedule, made.next_run_at) == ("", None)


def test_save_without_a_new_schedule_keeps_a_slot_that_is_due(room):
    made = save(room, schedule="0 30 2 * * *")
    later = datetime(2026, 1, 2, 2, 30, 1, tzinfo=UTC)
    assert save(room, "New label", pipeline=made, schedule="0 30 2 * * *", now=later).next_run_at == made.next_run_at
    assert save(room, pipeline=made, schedule="0 40 2 * * *", now=later).next_run_at == datetime(
        2026, 1, 2, 2, 40, tzinfo=UTC
    )
    assert save(room, pipeline=made, now=later).next_run_at is None


def test_paused_schedule_has_no_next_run_until_resumed(room):
    made = save(room, schedule="0 30 2 * * *")
    assert pause_schedule(made, now=NOW).next_run_at is None
    assert save(room, pipeline=made, schedule="0 40 2 * * *").next_run_at is None
    resumed = resume_schedule(made, now=NOW)
    assert (resumed.is_paused, resumed.next_run_at) == (False, datetime(2026, 1, 2, 2, 40, tzinfo=UTC))


# ---------- triggers ----------


def test_triggers_by_name_or_label_or_row(room):
    first, second, third = save(room, "First one"), save(room, "Second"), save(room, "Third")
    made = save(room, "Last", triggered_by=["first-one", "Second", third])
    assert set(made.triggered_by.all()) == {first, second, third}


def test_circle_of_triggers_is_refused_by_its_names(room):
    a = save(room, "A")
    save(room, "B", triggered_by=["a"])
    save(room, "C", triggered_by=["b"])
    assert "A → B → C → A" in faults_of(room, label="A", pipeline=a, triggered_by=["c"])["triggered_by"]
    assert "A → A" in faults_of(room, label="A", pipeline=a, triggered_by=["a"])["triggered_by"]


def test_pipeline_cannot_wait_for_itself_under_its_future_name(room):
    assert "no pipeline new" in faults_of(room, label="New", triggered_by=["new"])["triggered_by"]


def test_unknown_trigger_and_deploy(room):
    save(room, "First")
    assert "Did you mean first?" in faults_of(room, label="x", triggered_by=["frist"])["triggered_by"].replace(
        "First", "first"
    )
    assert "no repository" in faults_of(room, label="x", triggered_by=["DEPLOY"])["triggered_by"]


def test_pipeline_of_another_workspace_is_no_trigger(room, owner):
    theirs = save(create_workspace(name="Elsewhere", owner=owner), "Theirs")
    assert "no pipeline Theirs" in faults_of(room, label="x", triggered_by=[theirs])["triggered_by"]


# ---------- deleting ----------


def test_delete_hides_at_once_frees_the_name_and_cuts_triggers(room):
    said = []

    def listen(sender, *, pipeline, **_):
        said.append(pipeline.label)

    made = save(room, schedule="0 30 2 * * *")
    follower = save(room, "Follower", triggered_by=[made])
    pipeline_deleting.connect(listen)
    try:
        delete_pipeline(made, now=NOW)
    finally:
        pipeline_deleting.disconnect(listen)
    assert said == ["Orders nightly"]
    assert not Pipeline.objects.alive().filter(pk=made.pk).exists()
    assert not follower.triggered_by.exists()
    assert save(room).name == "orders-nightly"
    with pytest.raises(NotFound):
        delete_pipeline(made)


def test_component_of_a_pipeline_that_is_going_says_so(room):
    made = save(room)
    Pipeline.objects.filter(pk=made.pk).update(deleting_at=NOW)
    with pytest.raises(Conflict, match="still being deleted"):
        delete_component(room.components.get(name="tap-files"))


def test_nothing_is_saved_in_a_workspace_that_is_being_deleted(room):
    made = save(room)
    delete_workspace(room)
    with pytest.raises(Conflict, match="is being deleted"):
        save(room, pipeline=made)


# ---------- warnings ----------


def test_warnings_of_a_pipeline(room):
    database = {"dialect": "sqlite", "path": "shop.db", "tables": '[{"table": "orders"}]'}
    save_component(room, name="Shop", plugin="tap-sql", properties=database)
    made = save(room, components=["Shop", "Warehouse"], properties={})
    assert "adds all its rows again" in pipeline_warnings(made)[0]
    assert pipeline_warnings(save(room, "Other")) == []


def test_busy_pipeline_may_be_changed(room):
    made = save(room)
    Pipeline.objects.filter(pk=made.pk).update(status=PipelineStatus.READY)
    made.refresh_from_db()
    create_job(made)
    assert save(room, "Changed", pipeline=made).label == "Changed"
