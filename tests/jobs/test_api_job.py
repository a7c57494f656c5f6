"""GET and DELETE /api/jobs/{id}, PUT /api/jobs/{id}/stopped"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.models import Job, LogChunk
from tests.api_client import api_as, send
from tests.factories import make_component, make_job, make_pipeline

AT = datetime(2031, 3, 4, 5, 6, 7, 891230, tzinfo=UTC)


@pytest.fixture
def api(owner):
    return api_as(owner)


def path_of(job, route="api-job"):
    return reverse(route, args=[job.pk])


def test_an_ended_job_has_the_contracts_fields_in_its_order(api, pipeline, owner):
    job = make_job(
        pipeline,
        status="ERROR",
        now=AT,
        started_at=AT + timedelta(seconds=1),
        ended_at=AT.replace(microsecond=500_000) + timedelta(seconds=5),
        exit_code=2,
        created_by=owner,
        headline="No file matches orders/*.jsonl",
        error={"reason": "No file matches orders/*.jsonl", "remedy": "Add one."},
        streams=[{"name": "orders", "rows": 3}],
        log_lines=12,
    )
    body = api.get(path_of(job)).json()
    contract = ["id", "created", "type", "triggeredBy", "maxAttempts", "attempt", "exitCode", "status"]
    assert list(body)[:11] == [*contract, "startTime", "endTime", "number"]
    assert list(body)[-2:] == ["_embedded", "_links"]
    assert body["created"] == "2031-03-04T05:06:07.89123"
    assert (body["startTime"], body["endTime"]) == ("2031-03-04T05:06:08.891", "2031-03-04T05:06:12.5")
    assert (body["exitCode"], body["headline"]) == (2, "No file matches orders/*.jsonl")
    assert body["error"]["remedy"] == "Add one."
    assert body["streams"] == [{"name": "orders", "rows": 3}]
    assert body["steps"] == []
    assert None not in body.values() and "" not in body.values()
    assert list(body["_links"]) == ["self", "delete job", "logs", "pipeline", "workspace"]


def test_times_of_our_own_end_in_z(api, pipeline):
    job = make_job(pipeline, slot_at=AT, not_before=AT, stop_requested_at=AT, status="RUNNING")
    body = api.get(path_of(job)).json()
    assert body["slot"] == body["notBefore"] == body["stopRequested"] == "2031-03-04T05:06:07.89123Z"


def test_a_workspaces_own_job_embeds_no_pipeline_and_no_person(api, workspace):
    body = api.get(path_of(make_job(workspace=workspace, type="WORKSPACE_INIT"))).json()
    assert "_embedded" not in body
    assert "pipeline" not in body["_links"]


def test_a_queued_job_says_what_it_waits_for(api, pipeline):
    assert "No worker is running" in api.get(path_of(make_job(pipeline))).json()["queuedReason"]


def test_an_id_is_found_in_upper_case(api, pipeline):
    job = make_job(pipeline)
    assert api.get(f"/api/jobs/{str(job.pk).upper()}").json()["id"] == str(job.pk)


def test_secrets_of_the_embedded_pipeline_are_masked(api, workspace):
    source, store = make_component(workspace, "tap-sql", "shop.db"), make_component(workspace, "target-duckdb", "Store")
    pipeline = make_pipeline(
        workspace,
        components=[source, store],
        properties={
            "shop.db.password": "hunter2",
            "shop.db.host": "db.example.org",
            "gone.setting": "x",
            "shop.db._select": '["*"]',
        },
    )
    embedded = api.get(path_of(make_job(pipeline))).json()["_embedded"]["pipeline"]
    assert embedded["properties"] == {
        "shop.db.password": "***",
        "shop.db.host": "db.example.org",
        "gone.setting": "***",
        "shop.db._select": '["*"]',
    }
    assert embedded["dataComponents"] == ["shop.db", "Store"]


def test_a_job_costs_few_queries(api, workspace, owner):
    components = [make_component(workspace, "tap-files"), make_component(workspace, "target-duckdb")]
    job = make_job(make_pipeline(workspace, components=components), status="COMPLETE", created_by=owner)
    api.get(path_of(job))
    with CaptureQueriesContext(connection) as queries:
        api.get(path_of(job))
    assert len(queries) <= 9


@pytest.mark.parametrize("status", ["COMPLETE", "ERROR", "STOPPED"])
def test_an_ended_job_is_deleted_with_its_log(api, pipeline, status):
    job = make_job(pipeline, status=status)
    LogChunk.objects.create(job=job, first_line=0, line_count=1, text="1\ta\tinfo\tx")
    response = api.delete(path_of(job))
    assert (response.status_code, response.content) == (204, b"")
    assert not Job.objects.exists() and not LogChunk.objects.exists()
    assert api.get(path_of(job)).status_code == api.delete(path_of(job)).status_code == 404


def test_a_running_job_is_hidden_at_once_and_asked_to_stop(api, pipeline):
    job = make_job(pipeline, status="RUNNING")
    assert api.delete(path_of(job)).status_code == 204
    assert api.get(path_of(job)).status_code == 404
    job.refresh_from_db()
    assert job.deleted_at and job.stop_requested_at and job.status == "RUNNING"


def test_an_operator_may_stop_but_not_delete(operator, pipeline):
    job = make_job(pipeline)
    api = api_as(operator)
    assert api.delete(path_of(job)).status_code == 403
    assert send(api, "PUT", path_of(job, "api-job-stopped")).status_code == 202


def test_stopping_a_queued_job_ends_it(api, pipeline, owner):
    job = make_job(pipeline)
    response = send(api, "PUT", path_of(job, "api-job-stopped"))
    assert (response.status_code, response.json()) == (202, {"message": f"Job {job.number} is stopped."})
    body = api.get(path_of(job)).json()
    assert (body["status"], body["stopReason"]) == ("STOPPED", "USER")
    assert "withdraw job" not in body["_links"]


def test_stopping_a_running_job_is_accepted_and_not_offered_again(api, pipeline):
    job = make_job(pipeline, status="RUNNING")
    address = api.get(path_of(job)).json()["_links"]["withdraw job"]
    assert address == {"href": f"http://testserver/api/jobs/{job.pk}/stopped", "type": "PUT"}
    for _ in range(2):  # asking twice does no harm
        response = send(api, "PUT", address["href"])
        assert (response.status_code, response.json()) == (202, {"message": f"Job {job.number} is being stopped."})
    body = api.get(path_of(job)).json()
    assert (body["status"], "withdraw job" in body["_links"]) == ("RUNNING", False)


def test_stopping_an_ended_job_is_a_conflict(api, pipeline):
    job = make_job(pipeline, status="COMPLETE")
    response = send(api, "PUT", path_of(job, "api-job-stopped"))
    assert response.status_code == 409
    assert f"Job {job.number} has already ended complete" in response.json()["message"]
