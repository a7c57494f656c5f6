"""/api/pipelines/{id}/state: read, replaced, imported, reset, undone, exported, with its history."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from pipelines.models import PipelineState, PipelineStateChange
from tests.api_client import api_as, send
from tests.factories import make_component, make_job, make_pipeline

BOOKMARKS = {"bookmarks": {"orders": {"value": 7}, "customers": {"value": 3}}}
OTHER = {"bookmarks": {"orders": {"value": 1}}}
EFFECTIVE = {"bookmarks": {"orders": {"value": 9}, "customers": {"value": 3}}}


@pytest.fixture
def loaded(workspace):
    """A pipeline whose pair has a state, with what an unfinished run added."""
    pair = [make_component(workspace, "tap-sql", "Shop"), make_component(workspace, "target-duckdb", "Warehouse")]
    pipeline = make_pipeline(workspace, "Orders", components=pair)
    job = make_job(pipeline, status="ERROR")
    partial = {"bookmarks": {"orders": {"value": 9}}}
    values = {"state": BOOKMARKS, "partial": partial, "job_id": job.pk, "epoch": 2, "sequence": 9}
    PipelineState.objects.create(pipeline=pipeline, extractor=pair[0], loader=pair[1], **values)
    return pipeline


@pytest.fixture
def path(loaded):
    return reverse("api-pipeline-state", args=[loaded.pk])


def changes(client, path, **query):
    return client.get(f"{path}/changes", query).json()["_embedded"]["changes"]


def test_a_state_has_its_parts_its_pair_and_its_version(owner, loaded, path):
    response = api_as(owner).get(path)
    body = response.json()
    links = body.pop("_links")
    row = loaded.states.get()
    assert body.pop("modified").endswith("Z")
    assert body == {
        "extractor": "Shop",
        "loader": "Warehouse",
        "state": BOOKMARKS,
        "partial": {"bookmarks": {"orders": {"value": 9}}},
        "effective": EFFECTIVE,
        "epoch": 2,
        "sequence": 9,
        "job": str(row.job_id),
    }
    assert response["ETag"] == f'"{row.pk}.2.9"'
    names = ["self", "update state", "reset state", "state changes", "export state", "job", "pipeline"]
    assert list(links) == names
    assert (links["update state"]["type"], links["reset state"]["type"]) == ("PUT", "DELETE")
    for name in ("self", "state changes", "export state", "job", "pipeline"):
        assert api_as(owner).get(links[name]["href"]).status_code == 200


def test_links_offer_what_the_caller_may_do_now(viewer, operator, owner, loaded, path):
    def offered(person):
        return [
            name for name in api_as(person).get(path).json()["_links"] if name.endswith("e state") or "reset" in name
        ]

    assert offered(viewer) == []
    assert offered(operator) == ["reset state"]
    assert offered(owner) == ["update state", "reset state"]
    make_job(loaded, status="RUNNING")
    assert offered(owner) == []


def test_the_states_of_earlier_pairs_are_embedded(owner, loaded, path, workspace):
    step = loaded.steps.get(component__name="Shop")
    step.component = make_component(workspace, "tap-files", "Files")
    step.save()
    body = api_as(owner).get(path).json()
    assert (body["extractor"], body["state"], body["epoch"]) == ("Files", {}, 0)
    (earlier,) = body["_embedded"]["earlier"]
    assert (earlier["extractor"], earlier["effective"]) == ("Shop", EFFECTIVE) and "_links" not in earlier


def test_a_pipeline_without_a_pair_shows_an_empty_state_and_takes_none(owner, pipeline):
    path = reverse("api-pipeline-state", args=[pipeline.pk])
    body = api_as(owner).get(path).json()
    assert (body["state"], body["effective"], body["epoch"]) == ({}, {}, 0) and "extractor" not in body
    refused = send(api_as(owner), "PUT", path, {"state": {}})
    assert refused.status_code == 409 and "no pair" in refused.json()["message"]


def test_a_state_that_was_read_is_changed_and_sent_back(owner, loaded, path):
    client = api_as(owner)
    read = client.get(path)
    body = {**read.json(), "state": OTHER, "reason": "March came late"}
    response = send(client, "PUT", path, body, headers={"If-Match": read["ETag"]})
    assert response.status_code == 200 and response["ETag"] == f'"{loaded.states.get().pk}.3.0"'
    assert (response.json()["state"], response.json()["partial"]) == (OTHER, {})
    change = changes(client, path)[0]
    assert (change["reason"], change["_embedded"]["profile"]["id"]) == ("March came late", owner.profile_id)


@pytest.mark.parametrize("tag", ['"1.1.1"', "2.9", 'W/"x", "0.0.0"'])
def test_a_stale_version_is_a_412_and_changes_nothing(owner, loaded, path, tag):
    for method in ("PUT", "DELETE"):
        response = send(api_as(owner), method, path, {"state": OTHER}, headers={"If-Match": tag})
        assert response.status_code == 412 and "ETag" in response.json()["message"]
    assert loaded.states.get().epoch == 2


def test_a_change_between_the_look_and_the_lock_is_a_412_too(owner, loaded, path, monkeypatch):
    from pipelines import state_viewsets

    client = api_as(owner)
    tag = client.get(path)["ETag"]
    look = state_viewsets.view_state

    def look_then_change(pipeline):
        seen = look(pipeline)
        PipelineState.objects.filter(sequence=9).update(sequence=10)
        return seen

    monkeypatch.setattr(state_viewsets, "view_state", look_then_change)
    response = send(client, "PUT", path, {"state": OTHER}, headers={"If-Match": tag})
    assert response.status_code == 412 and loaded.states.get().epoch == 2


@pytest.mark.parametrize("tag", [None, "*"])
def test_without_a_version_the_last_one_wins(owner, loaded, path, tag):
    headers = {"If-Match": tag} if tag else {}
    assert send(api_as(owner), "PUT", path, {"state": OTHER}, headers=headers).status_code == 200
    assert loaded.states.get().state == OTHER


@pytest.mark.parametrize(
    "body",
    [
        OTHER,
        {"singer_state": OTHER},
        {"type": "STATE", "value": OTHER},
        {"completed": {"singer_state": OTHER}, "partial": {}},
        {"completed_state": json.dumps({"singer_state": OTHER}), "partial_state": None},
    ],
)
def test_what_meltano_keeps_is_imported(owner, loaded, path, body):
    response = send(api_as(owner), "PUT", f"{path}?reason=From+Meltano", body)
    assert response.status_code == 200 and response.json()["effective"] == OTHER
    assert PipelineStateChange.objects.get().reason == "From Meltano"


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "state", "holds no state"),
        ({"state": 5}, "state", "5 is not a JSON object"),
        ({"state": {"bookmarks": {"orders": 7}}}, "state", "bookmark of orders is 7"),
        ({"state": {}, "bookmarks": {}}, "bookmarks", "no field 'bookmarks' beside state"),
        ({"state": {}, "reason": 5}, "reason", "reason is to be a text"),
        ({"singer_state": 5}, "state", "singer_state is 5"),
    ],
)
def test_a_faulty_body_is_a_400_that_names_its_field(owner, loaded, path, body, field, message):
    response = send(api_as(owner), "PUT", path, body)
    assert response.status_code == 400
    assert [fault["field"] for fault in response.json()["errors"]] == [field]
    assert message in response.json()["message"]
    assert loaded.states.get().epoch == 2


def test_an_operator_resets_and_does_not_edit(operator, loaded, path):
    assert send(api_as(operator), "PUT", path, {"state": {}}).status_code == 403
    response = send(api_as(operator), "DELETE", f"{path}?stream=orders")
    assert response.status_code == 200
    assert response.json()["state"] == {"bookmarks": {"customers": {"value": 3}}}
    response = send(api_as(operator), "DELETE", path)
    assert response.json()["state"] == {"bookmarks": {}}
    assert loaded.states.get().epoch == 4


@pytest.mark.parametrize("query", ["stream=order", "stream=", "stream=orders&stream=nothing"])
def test_a_stream_that_is_not_there_is_a_400_and_resets_nothing(operator, loaded, path, query):
    response = send(api_as(operator), "DELETE", f"{path}?{query}")
    assert response.status_code == 400 and "no bookmark for the stream" in response.json()["message"]
    assert loaded.states.get().epoch == 2


def test_while_a_run_is_active_every_change_is_a_409_that_names_it(owner, loaded, path):
    client = api_as(owner)
    send(client, "PUT", path, {"state": OTHER})
    change = PipelineStateChange.objects.get()
    job = make_job(loaded, status="RUNNING", created_by=owner)
    for method, address, body in (
        ("PUT", path, {"state": {}}),
        ("PUT", path, BOOKMARKS),
        ("DELETE", path, None),
        ("PUT", f"{path}/changes/{change.pk}/undone", None),
    ):
        response = send(client, method, address, body)
        assert response.status_code == 409
        assert f"job {job.number} (running, started by olga)" in response.json()["message"]
    assert loaded.states.get().state == OTHER


def test_the_history_says_who_when_which_job_and_what(owner, loaded, path):
    client = api_as(owner)
    row = loaded.states.get()
    values = {"before": {}, "after": BOOKMARKS, "job_id": row.job_id, "reason": "Job 3"}
    by_job = PipelineStateChange.objects.create(state=row, **values)
    send(client, "PUT", path, {"state": OTHER, "reason": "Try"})
    newest, oldest = changes(client, path)
    assert (newest["reason"], newest["before"], newest["after"]) == ("Try", EFFECTIVE, OTHER)
    assert newest["diff"] == [
        {"op": "remove", "path": "/bookmarks/customers/value", "before": 3},
        {"op": "replace", "path": "/bookmarks/orders/value", "before": 9, "after": 1},
    ]
    assert list(newest["_links"]) == ["self", "undo change", "state"] and "job" not in newest
    assert (oldest["id"], oldest["job"], oldest["loader"]) == (str(by_job.pk), str(row.job_id), "Warehouse")
    assert list(oldest["_links"]) == ["self", "job", "state"] and "_embedded" not in oldest
    assert client.get(oldest["_links"]["job"]["href"]).status_code == 200
    assert client.get(oldest["_links"]["self"]["href"]).json() == oldest


def test_the_newest_change_is_undone_and_only_that(owner, viewer, loaded, path):
    client = api_as(owner)
    for state in (OTHER, {}):
        send(client, "PUT", path, {"state": state})
    newest, older = changes(client, path)
    assert "undo change" not in changes(api_as(viewer), path)[0]["_links"]
    refused = send(client, "PUT", f"{path}/changes/{older['id']}/undone")
    assert refused.status_code == 409 and "Only the newest change" in refused.json()["message"]
    response = send(client, "PUT", newest["_links"]["undo change"]["href"])
    assert response.status_code == 200 and response.json()["state"] == OTHER
    assert send(client, "PUT", newest["_links"]["undo change"]["href"]).status_code == 409
    assert [change["reason"] for change in changes(client, path)] == ["Undo: Edited", "Edited", "Edited"]


def test_a_change_of_another_pipeline_is_not_there(owner, loaded, path, workspace):
    send(api_as(owner), "PUT", path, {"state": OTHER})
    change = PipelineStateChange.objects.get()
    other = reverse("api-pipeline-state", args=[make_pipeline(workspace, "Other").pk])
    for address in (f"{other}/changes/{change.pk}", f"{path}/changes/{2**70}"):
        assert api_as(owner).get(address).status_code == 404
        assert send(api_as(owner), "PUT", f"{address}/undone").status_code == 404


def test_pages_of_the_history_are_small_and_cost_the_same(owner, loaded, path):
    client, row = api_as(owner), loaded.states.get()

    def cost(count):
        PipelineStateChange.objects.bulk_create(
            PipelineStateChange(state=row, job_id=uuid.uuid4(), user=owner, after=OTHER) for _ in range(count)
        )
        changes(client, path)
        with CaptureQueriesContext(connection) as queries:
            changes(client, path, size=1000)
        return len(queries)

    few = cost(2)
    assert cost(150) == few <= 8
    body = client.get(f"{path}/changes", {"size": 1000}).json()
    assert (body["page"]["size"], body["page"]["totalElements"], body["page"]["totalPages"]) == (100, 152, 2)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            "",
            {
                "completed": {"singer_state": BOOKMARKS},
                "partial": {"singer_state": {"bookmarks": {"orders": {"value": 9}}}},
            },
        ),
        ("singer_state", {"singer_state": EFFECTIVE}),
        ("singer", EFFECTIVE),
    ],
)
def test_a_state_is_exported_as_a_file(viewer, loaded, path, form, expected):
    response = api_as(viewer).get(f"{path}/export", {"form": form} if form else {})
    assert response["Content-Disposition"] == 'attachment; filename="orders-state.json"'
    assert response["Content-Type"] == "application/json" and response.json() == expected


def test_an_unknown_form_is_a_400_that_names_those_there_are(viewer, loaded, path):
    response = api_as(viewer).get(f"{path}/export", {"form": "yaml"})
    assert response.status_code == 400 and "meltano, singer_state, singer" in response.json()["message"]


def test_an_export_is_taken_by_an_import_of_another_pipeline(owner, loaded, path, workspace):
    pair = [make_component(workspace, "tap-sql"), make_component(workspace, "target-duckdb")]
    other = reverse("api-pipeline-state", args=[make_pipeline(workspace, "Copy", components=pair).pk])
    client = api_as(owner)
    response = send(client, "PUT", other, client.get(f"{path}/export").json())
    assert response.status_code == 200 and response.json()["state"] == EFFECTIVE
