"""POST /api/pipelines/{id}/jobs"""

from __future__ import annotations

import threading
from collections import Counter
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.test import Client
from django.urls import reverse

from jobs.models import Job
from jobs.services import create_job, delete_job
from tests.api_client import api_as, make_token, send
from tests.factories import make_job, make_pipeline


@pytest.fixture
def path(pipeline):
    return reverse("api-pipeline-jobs", args=[pipeline.pk])


def test_a_new_job_is_answered_with_its_body_and_links(operator, pipeline, path, workspace):
    response = send(api_as(operator), "POST", path)
    assert response.status_code == 201
    job = Job.objects.get()
    body = response.json()
    assert list(body)[:6] == ["id", "created", "type", "triggeredBy", "maxAttempts", "attempt"]
    assert list(body)[-2:] == ["_embedded", "_links"]
    assert (body["id"], body["type"], body["status"]) == (str(job.pk), "PIPELINE_RUN", "QUEUED")
    assert (body["triggeredBy"], body["attempt"], body["maxAttempts"]) == ("API", 0, 0)
    assert not {"exitCode", "startTime", "endTime", "headline", "stopReason", "error"} & body.keys()
    address = f"http://testserver/api/jobs/{job.pk}"
    assert response["Location"] == address
    assert body["_links"] == {
        "self": {"href": address},
        "logs": {"href": f"{address}/logs?sequence=0", "type": "GET"},
        "withdraw job": {"href": f"{address}/stopped", "type": "PUT"},
        "pipeline": {"href": f"http://testserver/api/pipelines/{pipeline.pk}", "type": "GET"},
        "workspace": {"href": f"http://testserver/api/workspaces/{workspace.pk}", "type": "GET"},
    }
    assert body["_embedded"]["profile"] == {
        "id": operator.profile_id,
        "name": "oscar",
        "handle": "@oscar",
        "email": "oscar@example.org",
    }
    embedded = body["_embedded"]["pipeline"]
    assert (embedded["id"], embedded["status"], embedded["label"]) == (str(pipeline.pk), "READY", "Orders nightly")
    assert "_links" not in embedded


def test_only_an_owner_is_offered_to_delete_it(owner, path):
    links = send(api_as(owner), "POST", path).json()["_links"]
    assert list(links)[:4] == ["self", "delete job", "logs", "withdraw job"]
    assert links["delete job"] == {"href": links["self"]["href"], "type": "DELETE"}


def test_a_run_scope_is_enough_to_run(owner, path):
    assert send(api_as(owner, scope="run"), "POST", path).status_code == 201


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("", "application/json"),
        ("", "application/hal+json"),
        ("", "application/x-www-form-urlencoded"),
        ("", "text/plain"),
        (" \n", "application/json"),
        ("{}", "application/json; charset=utf-8"),
        ("{}", "application/hal+json"),
        ('{"id": "x", "_links": {}, "_embedded": {}, "status": "QUEUED"}', "application/json"),
    ],
)
def test_an_empty_body_of_any_type_and_a_job_sent_back_are_fine(owner, path, content, kind):
    assert api_as(owner).generic("POST", path, content, content_type=kind).status_code == 201


@pytest.mark.parametrize(("wanted", "expected"), [(True, True), (False, False)])
def test_a_full_refresh_can_be_asked_for(owner, path, wanted, expected):
    response = send(api_as(owner), "POST", path, {"fullRefresh": wanted})
    assert response.json()["fullRefresh"] is expected
    assert Job.objects.get().full_refresh is expected


def test_faulty_fields_are_all_named_and_nothing_is_made(owner, path):
    response = send(api_as(owner), "POST", path, {"fullRefresh": "yes", "fulRefresh": True})
    assert response.status_code == 400
    faults = {fault["field"]: fault["defaultMessage"] for fault in response.json()["errors"]}
    assert faults == {
        "fulRefresh": "There is no field 'fulRefresh' here. A new job takes fullRefresh.",
        "fullRefresh": "fullRefresh is to be true or false.",
    }
    assert not Job.objects.exists()


@pytest.mark.parametrize("status", ["QUEUED", "RUNNING"])
def test_a_busy_pipeline_is_a_conflict_that_names_the_job(owner, pipeline, path, status):
    job = make_job(pipeline, status=status)
    response = send(api_as(owner), "POST", path)
    assert response.status_code == 409
    assert response.json()["error"] == "Conflict"
    assert f"job {job.number} ({status.lower()})" in response.json()["message"]
    assert Job.objects.count() == 1


def test_a_job_that_is_being_stopped_is_in_the_way_too(owner, pipeline, path):
    job = make_job(pipeline, status="RUNNING")
    delete_job(job)
    response = send(api_as(owner), "POST", path)
    assert response.status_code == 409
    assert "being stopped" in response.json()["message"]


@pytest.mark.parametrize(("status", "word"), [("PROVISIONING", "checked"), ("FAILED", "failed"), ("DRAFT", "draft")])
def test_a_pipeline_that_is_not_ready_is_a_conflict_that_says_why(owner, workspace, status, word):
    pipeline = make_pipeline(workspace, status=status)
    response = send(api_as(owner), "POST", reverse("api-pipeline-jobs", args=[pipeline.pk]))
    assert response.status_code == 409
    assert word in response.json()["message"]


def test_a_signed_in_browser_needs_the_pages_token(owner, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    response = send(client, "POST", path)
    assert response.status_code == 403
    assert "X-CSRFToken" in response.json()["message"]
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_runs_asked_for_at_once_make_one_job(live_server, workspace, owner, pipeline, path):
    secret = make_token(owner)
    request = Request(live_server.url + path, method="POST", headers={"Authorization": f"Bearer {secret}"}, data=b"")
    start = threading.Barrier(50)
    answers: list[tuple[int, bytes]] = []

    def post():
        start.wait()
        try:
            with urlopen(request) as response:
                answers.append((response.status, response.read()))
        except HTTPError as error:
            answers.append((error.code, error.read()))

    threads = [threading.Thread(target=post) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert Counter(status for status, _ in answers) == {201: 1, 409: 49}, answers[:3]
    job = Job.objects.get()
    assert all(f"job {job.number}".encode() in body for status, body in answers if status == 409)


def test_the_next_run_may_begin_when_the_last_has_ended(owner, pipeline, path):
    make_job(pipeline, status="COMPLETE")
    create_job(pipeline, type="PIPELINE_ENV")
    assert send(api_as(owner), "POST", path).status_code == 201
