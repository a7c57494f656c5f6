"""A pipeline's ends as values: settings with what belongs to the pair, stores as far as they can be counted."""

from __future__ import annotations

from jobs.connectors import connector_of
from jobs.definitions import ends_of
from tests.factories import make_pipeline, make_plugin

SCHEMA = {"name": "schema", "value": "$MELTANO_EXTRACT__LOAD_SCHEMA"}


def make_pair(workspace, **loader):
    tap = make_plugin(workspace, namespace="orchards")
    target = make_plugin(workspace, "target-barn", **loader)
    components = [
        workspace.components.create(name=name, plugin=plugin) for name, plugin in (("In", tap), ("Out", target))
    ]
    return make_pipeline(workspace, "Harvest", components=components)


def test_default_may_refer_to_the_other_end(workspace):
    pipeline = make_pair(workspace, settings=[SCHEMA])
    assert ends_of(pipeline).loader.settings == {"schema": "orchards"}


def test_variable_of_the_workspace_comes_before_the_pairs(workspace):
    workspace.variables.create(name="MELTANO_EXTRACT__LOAD_SCHEMA", value="own")
    assert ends_of(make_pair(workspace, settings=[SCHEMA])).loader.settings == {"schema": "own"}


def test_store_is_told_only_where_its_condition_holds(workspace):
    store = {"kind": "jsonl", "path": "out/{stream}.jsonl", "when": {"stamped": ["", "false"]}}
    pipeline = make_pair(workspace, settings=[{"name": "stamped", "kind": "BOOLEAN"}], store=store)
    assert connector_of(ends_of(pipeline).loader).store == {"kind": "jsonl", "path": "out/{stream}.jsonl"}
    type(pipeline).objects.filter(pk=pipeline.pk).update(properties={"Out.stamped": "true"})
    pipeline.refresh_from_db()
    assert connector_of(ends_of(pipeline).loader).store == {}
