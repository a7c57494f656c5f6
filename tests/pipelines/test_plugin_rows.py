"""A workspace's own plugin definitions: made, changed, imported, deleted."""

from __future__ import annotations

import uuid

import pytest

from eltsite.errors import Conflict, Invalid, NotFound
from pipelines.models import DataPlugin
from pipelines.services import (
    delete_plugin,
    import_definitions,
    pipeline_warnings,
    save_component,
    save_pipeline,
    save_plugin,
)
from pipelines.signals import pipeline_changed
from tests.factories import make_plugin
from workspaces.services import create_workspace

ORCHARD = {
    "name": "tap-orchard",
    "variant": "acme",
    "pluginType": "EXTRACTOR",
    "pipUrl": "tap-orchard==1.2",
    "settings": [
        {"name": "api_key", "kind": "PASSWORD", "value": "default-key"},
        {"name": "region", "required": "true"},
        {"name": "user"},
        {"name": "token"},
    ],
}


@pytest.fixture
def room(owner):
    return create_workspace(name="Shop", owner=owner)


def faults_of(call, *args, **values) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        call(*args, **values)
    return {error.field: error.message for error in caught.value.errors}


def save(room, plugin=None, **changes) -> DataPlugin:
    return save_plugin(room, plugin=plugin, definition={**ORCHARD, **changes})


def test_definition_is_made_in_the_stored_form(room, owner):
    plugin_id = uuid.uuid4()
    row = save_plugin(
        room,
        plugin_id=plugin_id,
        definition={"name": "tap-x", "variant": "y", "pip_url": "tap-x", "label": "X", "capabilities": ["stream-maps"]},
        user=owner,
    )
    row.refresh_from_db()
    assert (row.pk, row.workspace, row.full_name, row.label) == (plugin_id, room, "extractors/tap-x--y", "X")
    assert row.definition == {
        "id": str(plugin_id),
        "name": "tap-x",
        "variant": "y",
        "pipUrl": "tap-x",
        "label": "X",
        "capabilities": ["STREAM_MAPS"],
        "pluginType": "EXTRACTOR",
    }


def test_definition_with_faults_is_not_written(room):
    found = faults_of(save, room, pipUrl="-e .", settings=[{"name": "a", "kind": "x"}])
    assert set(found) == {"pipUrl", "settings[0].kind"}
    assert not room.plugins.exists()


def test_local_packages_must_lie_in_an_allowed_folder(room, settings):
    assert "outside the allowed folders" in faults_of(save, room, pipUrl="/data/tap")["pipUrl"]
    settings.ELTSITE_ALLOWED_FOLDERS = ["/data"]
    assert save(room, pipUrl="/data/tap").pk


def test_what_eltsite_ships_is_neither_changed_nor_deleted_nor_doubled(room):
    shipped = make_plugin(None, "tap-pear")
    with pytest.raises(Conflict, match="comes with eltsite"):
        save(room, shipped)
    with pytest.raises(Conflict, match="comes with eltsite"):
        delete_plugin(shipped)
    assert "a variant of its own, such as acme-own" in faults_of(save, room, name="tap-pear")["variant"]
    assert save(room, name="tap-pear", variant="acme-own").pk


def test_name_and_variant_are_taken_once_in_a_workspace(room, owner):
    save(room)
    assert "has the variant acme already" in faults_of(save, room)["variant"]
    other = save(room, variant="other")
    assert "has the variant acme already" in faults_of(save, room, other)["variant"]
    assert save(create_workspace(name="Elsewhere", owner=owner)).pk


def test_own_definition_can_still_be_changed_when_eltsite_comes_to_ship_its_name(room):
    row = save(room)
    make_plugin(None)
    assert save(room, row, label="Mine").label == "Mine"


def test_plugin_of_another_workspace_is_not_there(room, owner):
    row = save(create_workspace(name="Elsewhere", owner=owner))
    with pytest.raises(NotFound):
        save(room, row)


def test_id_that_is_taken_is_a_conflict(room):
    with pytest.raises(Conflict, match="already"):
        save_plugin(room, plugin_id=save(room).pk, definition={**ORCHARD, "variant": "b"})


def test_masked_default_keeps_the_stored_one(room):
    row = save(room)
    settings = [{"name": "api_key", "kind": "PASSWORD", "value": "***"}]
    assert save(room, row, settings=settings).definition["settings"][0]["value"] == "default-key"
    assert "none is stored" in faults_of(save, room, variant="b", settings=settings)["settings[0].value"]
    # What was no secret is not known by the mask.
    row = save(room, row, settings=[{"name": "region", "value": "north"}])
    assert (
        "none is stored"
        in faults_of(save, room, row, settings=[{"name": "region", "value": "***"}])["settings[0].value"]
    )


def test_store_stays_where_a_change_does_not_name_it(room):
    row = save(room, name="target-barn", pluginType="LOADER", store={"kind": "jsonl", "path": "out/{stream}.jsonl"})
    row = save(room, row, name="target-barn", pluginType="LOADER")
    assert row.definition["store"]["kind"] == "jsonl"


def test_used_plugin_keeps_its_type_and_is_not_deleted(room):
    row = save(room)
    for number in range(7):
        save_component(room, name=f"Trees {number}", plugin=row, properties={"region": "north"})
    with pytest.raises(Conflict, match="tap-orchard is used by Trees 0, Trees 1, Trees 2, Trees 3, Trees 4 and 2 more"):
        delete_plugin(row)
    assert "stays of the type EXTRACTOR" in faults_of(save, room, row, pluginType="LOADER")["pluginType"]
    room.components.filter(plugin=row).delete()
    delete_plugin(row)
    assert not room.plugins.exists()


def test_changed_definition_has_its_pipelines_checked_again(room, owner):
    row = save(room)
    trees = save_component(room, name="Trees", plugin=row, properties={"region": "north"})
    pipeline = save_pipeline(room, label="Harvest", components=[trees, "Warehouse"], properties={})
    type(pipeline).objects.update(status="READY")
    told = []

    def listen(sender, **values):
        told.append(values)

    pipeline_changed.connect(listen)
    try:
        save(room, row)
        assert told == []
        save_plugin(room, plugin=row, definition={**ORCHARD, "pipUrl": "tap-orchard==1.3"}, user=owner)
    finally:
        pipeline_changed.disconnect(listen)
    pipeline.refresh_from_db()
    assert pipeline.status == "PROVISIONING"
    assert [(values["pipeline"], values["user"], values["needs_check"]) for values in told] == [(pipeline, owner, True)]


# ---------- import ----------

DOCUMENT = """
extractors:
- name: tap-orchard
  variants:
  - {name: acme, pip_url: tap-orchard==1.2, settings: [{name: region}]}
  - {name: other, pip_url: orchard-tap}
loaders:
- {name: target-barn, variant: acme, pip_url: target-barn}
"""


def test_document_makes_and_replaces_definitions(room, owner):
    before = save(room, label="Old")
    rows = import_definitions(room, DOCUMENT, owner)
    assert [row.full_name for row in rows] == [
        "extractors/tap-orchard--acme",
        "extractors/tap-orchard--other",
        "loaders/target-barn--acme",
    ]
    assert rows[0].pk == before.pk
    before.refresh_from_db()
    assert before.label == "tap-orchard" and before.definition["settings"] == [{"name": "region"}]
    assert room.plugins.count() == 3
    assert [row.pk for row in import_definitions(room, DOCUMENT, owner)] == [row.pk for row in rows]


def test_document_with_one_fault_changes_nothing(room):
    with pytest.raises(Invalid):
        import_definitions(room, DOCUMENT.replace("pip_url: target-barn", "pip_url: ../x"))
    make_plugin(None, "target-barn")
    assert "comes with eltsite" in faults_of(import_definitions, room, DOCUMENT)["variant"]
    assert not room.plugins.exists()


# ---------- what components and pipelines make of them ----------


def test_missing_group_of_settings_is_named_with_its_choices(room):
    row = save(room, settingsGroupValidation=[["token"], ["user", "api_key", "region"]])
    trees = save_component(room, name="Trees", plugin=row, properties={"region": "north"})
    pipeline = {"label": "Harvest", "components": [trees, "Warehouse"]}
    found = faults_of(save_pipeline, room, **pipeline, properties={})
    assert list(found.values()) == [
        "Trees.token is missing: tap-orchard needs token, or user and api_key and region. Give token here or on Trees."
    ]
    assert save_pipeline(room, **pipeline, properties={"Trees.user": "ida"}).pk


def test_nested_names_fulfil_a_group_that_names_what_they_lie_in(room):
    row = save(
        room, settings=[{"name": "spec.image"}, {"name": "host"}], settingsGroupValidation=[["spec", "host", "gone"]]
    )
    trees = save_component(room, name="Trees", plugin=row, properties={"spec.image": "x"})
    pipeline = {"label": "Harvest", "components": [trees, "Warehouse"]}
    assert set(faults_of(save_pipeline, room, **pipeline, properties={})) == {"properties.Trees.host"}
    assert save_pipeline(room, **pipeline, properties={"Trees.host": "h"}).pk


def test_files_of_a_connector_are_held_to_the_allowed_folders(room):
    row = save(room, settings=[{"name": "path", "kind": "FILE"}])
    for path in ("/etc/passwd", "../other/a.csv", "file:///etc/passwd"):
        found = faults_of(save_component, room, name="Trees", plugin=row, properties={"path": path})
        assert "outside the allowed folders" in found["properties.path"]
    assert save_component(room, name="Trees", plugin=row, properties={"path": "in/a.csv"}).pk


def test_selection_with_faults_is_refused_and_names_them(room):
    row = save(room, capabilities=["catalog"])
    properties = {"_select": '["!"]', "_metadata": '{"a": {"replication_key": "at"}}', "region": "x"}
    found = faults_of(save_component, room, name="Trees", plugin=row, properties=properties)
    assert "names no stream" in found["properties._select"]
    assert "Write replication-key" in found["properties._metadata"]


def test_warnings_read_the_tables_of_native_plugins_only(room):
    row = save(room, settings=[{"name": "tables", "kind": "ARRAY", "value": ["a", "b"]}])
    trees = save_component(room, name="Trees", plugin=row, properties={})
    pipeline = save_pipeline(room, label="Harvest", components=[trees, "Warehouse"], properties={})
    assert pipeline_warnings(pipeline) == []
