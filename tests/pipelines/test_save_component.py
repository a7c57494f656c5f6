"""Making, changing and deleting components."""

from __future__ import annotations

import pytest
from django.db import connection

from eltsite.errors import Conflict, Invalid, NotFound
from pipelines.models import DataComponent, DataPlugin, PipelineStatus
from pipelines.plugins import MASK, shipped_plugins
from pipelines.services import (
    ChangedMeanwhile,
    component_warnings,
    delete_component,
    find_plugin,
    make_default_store,
    save_component,
    save_pipeline,
    sync_catalogue,
)
from tests.factories import make_user
from workspaces.services import create_workspace

POSTGRES = {"host": "db.example.com", "user": "loader", "password": "hunter22", "database": "shop"}
ORDERS = '[{"stream": "orders", "path": "orders.csv"}]'


@pytest.fixture
def room(owner):
    return create_workspace(name="Shop", owner=owner)


def faults_of(call, *args, **values) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        call(*args, **values)
    return {error.field: error.message for error in caught.value.errors}


def make_store(room, name="Reports", **more):
    return save_component(room, name=name, plugin="loaders/target-postgres", properties=POSTGRES | more)


def test_workspace_begins_with_a_default_warehouse(room):
    store = room.components.get()
    assert (store.name, store.plugin.name, store.properties, store.is_default) == (
        *("Warehouse", "target-duckdb"),
        {"path": "warehouse.duckdb"},
        True,
    )


def test_component_is_made_with_its_secrets_noted(room, owner):
    store = save_component(room, name=" Reports ", plugin="loaders/target-postgres", properties=POSTGRES, user=owner)
    store.refresh_from_db()
    assert store.name == "Reports"
    assert store.properties == POSTGRES
    assert list(store.secrets_set) == ["password"]
    assert store.secrets_set["password"]["by"] == "olga"
    assert store.revision == 1


def test_secrets_are_encrypted_in_the_database(room):
    store = make_store(room)
    with connection.cursor() as cursor:
        cursor.execute("SELECT properties FROM pipelines_datacomponent WHERE name = 'Reports'")
        raw = cursor.fetchone()[0]
    assert "hunter22" not in raw and "db.example.com" not in raw
    assert store.properties["password"] == "hunter22"


@pytest.mark.parametrize(
    "plugin", ["extractors/tap-files--eltsite", "extractors/tap-files", "tap-files", " extractors/tap-files "]
)
def test_plugin_may_be_named_short_or_in_full(room, plugin):
    assert save_component(room, name="Files", plugin=plugin, properties={}).plugin.name == "tap-files"


def test_unknown_plugin_suggests_the_nearest(room):
    assert (
        "Did you mean extractors/tap-files?"
        in faults_of(save_component, room, name="x", plugin="extractors/tap-fils", properties={})["plugin"]
    )


def own_plugin(room, name, variant):
    definition = {"name": name, "variant": variant, "pluginType": "EXTRACTOR"}
    return DataPlugin.objects.create(
        workspace=room, plugin_type="EXTRACTOR", name=name, variant=variant, definition=definition
    )


def test_several_variants_must_be_told_apart(room):
    own_plugin(room, "tap-orchard", "acme")
    assert find_plugin(room, "extractors/tap-orchard").variant == "acme"
    own_plugin(room, "tap-orchard", "ours")
    message = faults_of(save_component, room, name="x", plugin="extractors/tap-orchard", properties={})["plugin"]
    assert "extractors/tap-orchard--acme" in message and "extractors/tap-orchard--ours" in message


def test_native_plugin_is_meant_where_the_variant_is_left_off(room):
    own_plugin(room, "tap-files", "ours")
    assert find_plugin(room, "tap-files").variant == "eltsite"
    assert find_plugin(room, "extractors/tap-files--ours").variant == "ours"


def test_own_plugin_stays_meant_when_eltsite_comes_to_ship_one_of_its_name(room):
    own = own_plugin(room, "tap-orchard", "acme")
    DataPlugin.objects.create(plugin_type="EXTRACTOR", name="tap-orchard", variant="acme", definition=own.definition)
    assert find_plugin(room, "extractors/tap-orchard--acme") == own


def test_plugin_of_another_workspace_is_unknown(room, owner):
    other = create_workspace(name="Elsewhere", owner=owner)
    DataPlugin.objects.create(
        workspace=other, plugin_type="EXTRACTOR", name="tap-secret", variant="x", definition={"name": "tap-secret"}
    )
    assert (
        "There is no plugin" in faults_of(save_component, room, name="x", plugin="tap-secret", properties={})["plugin"]
    )


def test_all_faults_come_at_once_and_nothing_is_written(room):
    found = faults_of(
        save_component, room, name="", plugin="target-postgres", properties={"port": "x", "hots": "y", "password": MASK}
    )
    assert set(found) == {"name", "properties.password"}
    found = faults_of(save_component, room, name="", plugin="target-postgres", properties={"port": "x", "hots": "y"})
    assert set(found) == {"name", "properties.port", "properties.hots"}
    assert room.components.count() == 1


def test_names_are_unique_in_a_workspace(room, owner):
    make_store(room)
    assert "already" in faults_of(make_store, room)["name"]
    make_store(create_workspace(name="Elsewhere", owner=owner))


def test_missing_required_settings_are_left_to_the_pipeline(room):
    assert save_component(room, name="Later", plugin="target-postgres", properties={}).properties == {}


def test_mask_keeps_a_secret_and_leaving_it_out_removes_it(room, owner):
    store = make_store(room)
    stamp = store.secrets_set
    store = save_component(
        room, component=store, name="Reports", plugin=store.plugin, properties=POSTGRES | {"password": MASK}, user=owner
    )
    assert store.properties["password"] == "hunter22"
    assert store.secrets_set == stamp
    without = {key: value for key, value in POSTGRES.items() if key != "password"}
    store = save_component(room, component=store, name="Reports", plugin=store.plugin, properties=without)
    assert "password" not in store.properties
    assert store.secrets_set == {}
    assert store.revision == 3


def test_second_save_of_the_same_revision_is_refused(room):
    store = make_store(room)
    values = {"component": store, "name": "Reports", "plugin": store.plugin, "expected_revision": 1}
    save_component(room, properties=POSTGRES | {"port": "5433"}, **values)
    with pytest.raises(ChangedMeanwhile):
        save_component(room, properties=POSTGRES, **values)
    store.refresh_from_db()
    assert store.properties["port"] == "5433"


def test_rename_carries_the_pipelines_properties_over(room, owner):
    pipeline = save_pipeline(
        room,
        label="Orders",
        components=["extractors/tap-files", make_store(room)],
        properties={"tap-files.files": ORDERS, "Reports.password": "other-secret", "Reports.schema": "s"},
        user=owner,
    )
    store = room.components.get(name="Reports")
    save_component(room, component=store, name="Reports.v2", plugin=store.plugin, properties=store.properties)
    pipeline.refresh_from_db()
    assert pipeline.properties == {
        "tap-files.files": ORDERS,
        "Reports.v2.password": "other-secret",
        "Reports.v2.schema": "s",
    }
    assert list(pipeline.secrets_set) == ["Reports.v2.password"]


def test_change_that_would_break_a_pipeline_is_refused_by_its_name(room):
    store = make_store(room)
    save_pipeline(
        room,
        label="Orders nightly",
        components=["extractors/tap-files", store],
        properties={"tap-files.files": ORDERS, "Reports.host": "its-own-host"},
    )
    rest = {key: value for key, value in POSTGRES.items() if key not in ("host", "user")}
    found = faults_of(save_component, room, component=store, name="Reports", plugin=store.plugin, properties=rest)
    assert "Orders nightly" in found["properties.user"]
    save_component(room, component=store, name="Reports", plugin=store.plugin, properties=rest | {"user": "u"})


def test_plugin_of_a_used_component_stays(room):
    store = make_store(room)
    save_pipeline(
        room, label="Orders", components=["extractors/tap-files", store], properties={"tap-files.files": ORDERS}
    )
    found = faults_of(save_component, room, component=store, name="Reports", plugin="target-files", properties={})
    assert "its plugin stays target-postgres" in found["plugin"]


def test_failed_pipelines_are_checked_again_after_a_change(room):
    store = make_store(room)
    pipeline = save_pipeline(
        room, label="Orders", components=["extractors/tap-files", store], properties={"tap-files.files": ORDERS}
    )
    jobs = pipeline.jobs.filter(type="PIPELINE_CONFIG")
    before = jobs.count()
    type(pipeline).objects.filter(pk=pipeline.pk).update(status=PipelineStatus.READY)
    save_component(room, component=store, name="Reports", plugin=store.plugin, properties=POSTGRES)
    pipeline.refresh_from_db()
    assert (pipeline.status, jobs.count()) == (PipelineStatus.READY, before)
    type(pipeline).objects.filter(pk=pipeline.pk).update(status=PipelineStatus.FAILED, status_reason="wrong password")
    save_component(room, component=store, name="Reports", plugin=store.plugin, properties=POSTGRES)
    pipeline.refresh_from_db()
    assert (pipeline.status, pipeline.status_reason) == (PipelineStatus.PROVISIONING, "")


def test_used_and_default_components_cannot_be_deleted(room):
    store = make_store(room)
    save_pipeline(
        room, label="Orders", components=["extractors/tap-files", store], properties={"tap-files.files": ORDERS}
    )
    with pytest.raises(Conflict, match="used by Orders"):
        delete_component(store)
    with pytest.raises(Conflict, match="default store"):
        delete_component(room.components.get(name="Warehouse"))
    make_default_store(store)
    delete_component(room.components.get(name="Warehouse"))
    assert DataComponent.objects.get(workspace=room, is_default=True) == store


def test_only_a_loader_can_be_the_default_store(room):
    files = save_component(room, name="Files", plugin="tap-files", properties={})
    with pytest.raises(Conflict, match="no store"):
        make_default_store(files)


def test_short_secret_warns(room):
    assert "shorter than 4" in component_warnings(make_store(room, password="abc"))[0]
    assert not component_warnings(make_store(room, name="Other"))


def test_folder_outside_is_refused_unless_allowed(room, settings):
    values = {"name": "Out", "plugin": "target-files", "properties": {"path": "/mnt/data/out"}}
    assert "outside the allowed folders" in faults_of(save_component, room, **values)["properties.path"]
    settings.ELTSITE_ALLOWED_FOLDERS = ["/mnt/data"]
    save_component(room, **values)


def test_save_of_a_component_that_is_gone_says_so(room):
    store = make_store(room)
    delete_component(DataComponent.objects.get(pk=store.pk))
    with pytest.raises(NotFound, match="deleted meanwhile"):
        save_component(room, component=store, name="Reports", plugin=store.plugin, properties=POSTGRES)


def test_catalogue_is_synchronised_and_what_is_no_longer_shipped_is_hidden(db):
    gone = DataPlugin.objects.create(plugin_type="EXTRACTOR", name="tap-old", variant="eltsite", definition={})
    DataPlugin.objects.filter(name="tap-files", variant="eltsite").update(label="Changed", definition={})
    sync_catalogue()
    sync_catalogue()
    gone.refresh_from_db()
    assert gone.is_hidden
    shown = DataPlugin.objects.filter(workspace=None, is_hidden=False)
    assert sorted(str(row.pk) for row in shown) == sorted(plugin.id for plugin in shipped_plugins())
    assert shown.get(name="tap-files", variant="eltsite").label == "Files"


def test_user_names_are_shown_by_full_name(room):
    person = make_user("ida", first_name="Ida", last_name="Rhodes")
    store = save_component(room, name="R", plugin="target-postgres", properties=POSTGRES, user=person)
    assert store.secrets_set["password"]["by"] == "Ida Rhodes"
