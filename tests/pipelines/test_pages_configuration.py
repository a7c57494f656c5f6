"""The configuration of a pipeline with connectors: its streams, what is selected of them, its environments."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from pipelines.components import definition_of
from pipelines.environments import environment_for
from pipelines.models import ComponentCatalog, PluginEnvironment
from tests.factories import make_job, make_pipeline, make_plugin
from tests.pages import SIGNING_IN, page, queries_of, signed_in

pytestmark = pytest.mark.django_db
SECRET = "hunter2-never-shown"


def entry(name, *columns, key="id"):
    """A stream of a catalog; the key comes always."""
    properties = {column: {"type": ["string", "null"]} for column in (key, *columns)}
    metadata = [{"breadcrumb": [], "metadata": {"inclusion": "available", "table-key-properties": [key]}}]
    metadata += [{"breadcrumb": ["properties", each], "metadata": {"inclusion": "available"}} for each in columns]
    metadata += [{"breadcrumb": ["properties", key], "metadata": {"inclusion": "automatic"}}]
    shape = {"type": "object", "properties": properties}
    return {"tap_stream_id": name, "stream": name, "schema": shape, "key_properties": [key], "metadata": metadata}


@pytest.fixture
def orchard(workspace, owner):
    """A pair of connectors whose source was asked for its streams two hours ago."""
    tap = make_plugin(workspace, select=["trees.*"], metadata={"trees": {"replication-method": "FULL_TABLE"}})
    target = make_plugin(workspace, "target-barn")
    rules = {"trees": {"replication-method": "INCREMENTAL", "replication-key": "planted_at"}}
    properties = {"api_key": SECRET, "_select": '["trees.*", "!trees.note"]', "_metadata": json.dumps(rules)}
    noted = {"api_key": {"at": (timezone.now() - timedelta(days=3)).isoformat(), "by": "Olga Owner"}}
    source = workspace.components.create(name="Orchard", plugin=tap, properties=properties, secrets_set=noted)
    store = workspace.components.create(name="Barn", plugin=target)
    pipeline = make_pipeline(workspace, "Harvest", components=[source, store])
    job = make_job(pipeline, type="PIPELINE_ENV", status="COMPLETE")
    catalog = {"streams": [entry("fences", "height"), entry("trees", "planted_at", "note", "kind")]}
    at = timezone.now() - timedelta(hours=2)
    ComponentCatalog.objects.create(component=source, key="k", catalog=catalog, job_id=job.pk, discovered_at=at)
    return pipeline


def configuration(person, pipeline):
    return page(signed_in(person), reverse("pipeline-configuration", args=[pipeline.workspace.alias, pipeline.number]))


def test_streams_show_what_is_selected_and_how_it_is_read(orchard, viewer):
    markup = configuration(viewer, orchard)
    assert "Streams of Orchard 1 of 2 selected" in markup.text and "found 2 h ago by job" in markup.text
    assert "Selection trees.* !trees.note from the component" in markup.text
    assert "replication-method: INCREMENTAL, replication-key: planted_at" in markup.text
    assert (
        "trees Selected 3 of 4 id always planted_at always note left out kind Incremental by planted_at id"
        in markup.text
    )
    assert "fences Left out 2" in markup.text
    assert markup.text.index("trees Selected") < markup.text.index("fences Left out")
    assert SECRET not in markup.text and "set by Olga Owner 3 days ago" in markup.text


def test_a_pipelines_own_selection_wins(orchard, viewer):
    type(orchard).objects.filter(pk=orchard.pk).update(properties={"Orchard._select": '["fences.*"]'})
    text = configuration(viewer, orchard).text
    assert "Selection fences.* from this pipeline" in text
    assert "fences Selected 2 of 2" in text and "trees Left out" in text


def test_without_rules_of_its_own_the_definitions_count(orchard, viewer):
    orchard.workspace.components.filter(name="Orchard").update(properties={})
    text = configuration(viewer, orchard).text
    assert "Selection trees.* from the definition" in text and "trees Selected 4 of 4" in text
    assert "replication-method: FULL_TABLE" in text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("[trees.*]", "_select: [trees.*] is not JSON"),
        ("$TREES", "_select is the workspace's variable $TREES, which is not opened here."),
    ],
)
def test_rules_that_cannot_be_read_are_said_and_end_nothing(orchard, viewer, rule, said):
    orchard.workspace.components.filter(name="Orchard").update(properties={"_select": rule})
    assert said in configuration(viewer, orchard).text


def test_a_source_that_nobody_asked_yet_says_how_it_is_asked(orchard, operator):
    ComponentCatalog.objects.all().delete()
    assert "Nobody has asked the source yet what it holds" in configuration(operator, orchard).text


def test_many_streams_are_cut_and_counted(orchard, viewer):
    streams = [entry(f"tree_{number:03}", *[f"c{each}" for each in range(3)]) for number in range(130)]
    ComponentCatalog.objects.update(catalog={"streams": streams})
    orchard.workspace.components.filter(name="Orchard").update(properties={"_select": '["tree_12*.*"]'})
    markup = configuration(viewer, orchard)
    assert "10 of 130 selected" in markup.text and "And 80 more" in markup.text
    assert markup.text.index("tree_120 Selected") < markup.text.index("tree_000 Left out")


def test_the_environment_shows_its_versions_and_when_it_was_built(orchard, viewer):
    tap = definition_of(orchard.workspace.plugins.get(name="tap-orchard"))
    assert "Its environment is built when the pipeline is checked." in configuration(viewer, orchard).text
    row = environment_for(tap)
    now = timezone.now()
    built = {"lock": "tap-orchard==1.0", "packages": {"tap-orchard": "1.0", "idna": "3.10"}, "size_bytes": 4_100_000}
    PluginEnvironment.objects.filter(pk=row.pk).update(**built, built_at=now - timedelta(days=5), used_at=now)
    text = configuration(viewer, orchard).text
    assert "Version 1.0 tap-orchard==1.0" in text
    assert "Built 5 days ago , 4.1 MB, last used just now" in text and "idna 3.10" in text
    PluginEnvironment.objects.filter(pk=row.pk).update(error="There is no package tap-orchard.")
    assert "There is no package tap-orchard." in configuration(viewer, orchard).text


def test_who_may_run_may_test_the_pipeline_and_each_component(orchard, operator, viewer):
    alias = orchard.workspace.alias
    wanted = {reverse("pipeline-test", args=[alias, orchard.number])}
    wanted |= {reverse("component-test", args=[alias, each.pk]) for each in orchard.components.all()}
    assert wanted <= set(configuration(operator, orchard).actions)
    assert not wanted & set(configuration(viewer, orchard).actions)


def test_the_page_asks_the_database_a_constant_number_of_times(orchard, viewer):
    address = reverse("pipeline-configuration", args=[orchard.workspace.alias, orchard.number])
    assert queries_of(signed_in(viewer), address) - SIGNING_IN <= 18
