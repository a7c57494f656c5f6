"""GET /api/workspaces/{id}/pipelines and /api/pipelines/{id}"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.api_client import api_as
from tests.factories import make_component, make_job, make_pipeline


@pytest.fixture
def api(owner):
    return api_as(owner)


def path_of(pipeline):
    return reverse("api-pipeline", args=[pipeline.pk])


def test_a_pipeline_has_the_contracts_fields_in_its_order_and_then_ours(api, workspace):
    components = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Store")]
    pipeline = make_pipeline(
        workspace,
        "Orders",
        components=components,
        schedule="0 30 2 * * *",
        time_zone="Europe/Helsinki",
        next_run_at=datetime(2031, 3, 4, 0, 30, tzinfo=UTC),
        timeout_seconds=3600,
        properties={"Shop.password": "hunter2", "Shop.user": "reader"},
    )
    pipeline.triggered_by.add(make_pipeline(workspace, "Upstream"))
    body = api.get(path_of(pipeline)).json()
    assert list(body) == [
        "id",
        "status",
        "label",
        "name",
        "schedule",
        "timeout",
        "maxRetries",
        "created",
        "lastModified",
        "properties",
        "dataComponents",
        "actions",
        "triggeredBy",
        "number",
        "timeZone",
        "nextRun",
        "paused",
        "tags",
        "_links",
    ]
    assert body["properties"] == {"Shop.password": "***", "Shop.user": "reader"}
    assert (body["dataComponents"], body["triggeredBy"]) == (["Shop", "Store"], ["upstream"])
    assert (body["timeout"], body["maxRetries"], body["nextRun"]) == (3600, 0, "2031-03-04T00:30:00Z")


def test_a_setting_that_was_stored_as_a_secret_stays_masked(api, workspace):
    components = [make_component(workspace, "tap-sql", "Shop")]
    pipeline = make_pipeline(
        workspace, components=components, properties={"Shop.user": "x"}, secrets_set={"Shop.user": {}}
    )
    assert api.get(path_of(pipeline)).json()["properties"] == {"Shop.user": "***"}


def test_a_run_is_offered_only_where_it_would_be_taken(api, viewer, workspace, pipeline):
    jobs = f"http://testserver/api/pipelines/{pipeline.pk}/jobs"
    links = api.get(path_of(pipeline)).json()["_links"]
    assert list(links) == ["self", "new job", "jobs", "state", "workspace"]
    assert (links["new job"], links["jobs"]) == ({"href": jobs, "type": "POST"}, {"href": jobs, "type": "GET"})
    assert "new job" not in api_as(viewer).get(path_of(pipeline)).json()["_links"]
    assert "new job" not in api.get(path_of(make_pipeline(workspace, status="FAILED"))).json()["_links"]
    job = make_job(pipeline, status="RUNNING")
    links = api.get(path_of(pipeline)).json()["_links"]
    assert list(links) == ["self", "jobs", "latest job", "state", "workspace"]
    assert links["latest job"]["href"].endswith(str(job.pk))
    type(job).objects.update(deleted_at=timezone.now())  # hidden, yet still in the way
    assert list(api.get(path_of(pipeline)).json()["_links"]) == ["self", "jobs", "state", "workspace"]


def test_a_pipeline_that_is_being_deleted_is_gone(api, workspace, pipeline):
    type(pipeline).objects.update(deleting_at=timezone.now())
    assert api.get(path_of(pipeline)).status_code == 404
    assert api.get(reverse("api-pipeline-jobs", args=[pipeline.pk])).status_code == 404
    assert "_embedded" not in api.get(reverse("api-workspace-pipelines", args=[workspace.pk])).json()


def test_the_list_is_in_order_of_labels_and_costs_the_same_whatever_its_length(api, workspace):
    path = reverse("api-workspace-pipelines", args=[workspace.pk])

    def add(count):
        for index in range(count):
            components = [make_component(workspace, "tap-files"), make_component(workspace, "target-duckdb")]
            pipeline = make_pipeline(workspace, f"P{9 - index}{count}", components=components)
            make_job(pipeline, status="COMPLETE")
            pipeline.triggered_by.add(make_pipeline(workspace))

    def cost():
        api.get(path)
        with CaptureQueriesContext(connection) as queries:
            labels = [item["label"] for item in api.get(path).json()["_embedded"]["pipelines"]]
        assert labels == sorted(labels)
        return len(queries)

    add(1)
    few = cost()
    add(7)
    assert cost() == few <= 10


def test_the_list_is_sorted_by_what_is_asked_for(api, workspace):
    for label in ("A", "B"):
        make_pipeline(workspace, label)
    path = reverse("api-workspace-pipelines", args=[workspace.pk])
    labels = [item["label"] for item in api.get(f"{path}?sort=label,desc").json()["_embedded"]["pipelines"]]
    assert labels == ["B", "A"]
    assert api.get(f"{path}?sort=secret").status_code == 400
