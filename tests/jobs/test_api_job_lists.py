"""GET /api/workspaces/{id}/jobs and /api/pipelines/{id}/jobs: paging, order, filters, totals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.counters import count_job
from jobs.models import JobCount
from jobs.services import create_job, delete_job, request_stop
from tests.api_client import api_as, names_of
from tests.factories import make_component, make_job, make_pipeline, make_user, make_workspace

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_cache():
    cache.clear()


@pytest.fixture
def api(owner):
    return api_as(owner)


@pytest.fixture
def path(workspace):
    return reverse("api-workspace-jobs", args=[workspace.pk])


def counted_job(*args, **values):
    job = make_job(*args, **values)
    count_job(job, status=job.status, delta=1)
    return job


def make_jobs(pipeline, count, **values):
    """Ended jobs, a minute apart, oldest first."""
    values = {"status": "COMPLETE", **values}
    return [counted_job(pipeline, now=START + timedelta(minutes=index), **values) for index in range(count)]


def test_an_empty_collection_has_no_embedded(api, path):
    assert api.get(path).json() == {
        "_links": {"self": {"href": f"http://testserver{path}?page=0&size=20"}},
        "page": {"size": 20, "totalElements": 0, "totalPages": 0, "number": 0},
    }


def test_a_collection_embeds_its_jobs_newest_first(api, path, pipeline):
    jobs = make_jobs(pipeline, 3)
    body = api.get(path).json()
    assert list(body) == ["_embedded", "_links", "page"]
    assert list(body["_embedded"]) == ["jobs"]
    assert [item["id"] for item in body["_embedded"]["jobs"]] == [str(job.pk) for job in reversed(jobs)]
    assert list(body["page"]) == ["size", "totalElements", "totalPages", "number"]


def test_pages_follow_each_other_by_their_links_and_hold_each_job_once(api, path, pipeline):
    jobs = make_jobs(pipeline, 7)
    seen, address, steps = [], f"{path}?size=3", 0
    while address:
        response = api.get(address)
        seen += names_of(response, "id")
        address = response.json()["_links"].get("next", {}).get("href")
        steps += 1
    assert steps == 3
    assert seen == [str(job.pk) for job in reversed(jobs)]


def test_links_of_a_middle_page_keep_filters_and_order(api, path, pipeline):
    make_jobs(pipeline, 6)
    body = api.get(f"{path}?size=2&status=complete&page=1&sort=number,asc").json()
    base = f"http://testserver{path}?status=complete&sort=number,asc"
    assert body["_links"] == {
        "self": {"href": f"{base}&page=1&size=2"},
        "first": {"href": f"{base}&page=0&size=2"},
        "prev": {"href": f"{base}&page=0&size=2"},
        "next": {"href": f"{base}&page=2&size=2"},
        "last": {"href": f"{base}&page=2&size=2"},
    }
    assert body["page"] == {"size": 2, "totalElements": 6, "totalPages": 3, "number": 1}


def test_a_page_past_the_end_is_empty_and_leads_back(api, path, pipeline):
    make_jobs(pipeline, 3)
    body = api.get(f"{path}?size=2&page=99999999999999999999999").json()
    assert "_embedded" not in body
    assert body["_links"]["prev"]["href"].endswith("page=1&size=2")
    assert body["page"]["totalPages"] == 2


def test_a_size_above_the_maximum_becomes_the_maximum(api, path):
    body = api.get(f"{path}?size=5000").json()
    assert body["page"]["size"] == 1000
    assert body["_links"]["self"]["href"].endswith("page=0&size=1000")


@pytest.mark.parametrize(
    ("query", "field"), [("page=-1", "page"), ("size=0", "size"), ("size=ten", "size"), ("page=²", "page")]
)
def test_a_page_or_size_that_is_no_number_is_named(api, path, query, field):
    response = api.get(f"{path}?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == field
    assert response.json()["errors"][0]["rejectedValue"] == query.split("=")[1]


def test_jobs_are_sorted_by_several_properties(api, path, pipeline):
    first = counted_job(pipeline, status="ERROR", now=START, rows_read=5)
    second = counted_job(pipeline, status="COMPLETE", now=START, rows_read=5)
    third = counted_job(pipeline, status="COMPLETE", now=START, rows_read=9)
    response = api.get(f"{path}?sort=rowsRead,desc&sort=status")
    assert names_of(response, "number") == [third.number, second.number, first.number]
    assert names_of(api.get(f"{path}?sort=rowsRead,status,asc"), "number") == [
        second.number,
        first.number,
        third.number,
    ]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_jobs_without_a_value_come_last_in_both_directions(api, path, pipeline, direction):
    queued = counted_job(pipeline)
    make_jobs(pipeline, 2)
    assert names_of(api.get(f"{path}?sort=startTime,{direction}"), "number")[-1] == queued.number


@pytest.mark.parametrize("sort", ["password", "created,down", "created_at", "pipeline__label"])
def test_an_unknown_sort_property_is_refused_and_the_choices_are_named(api, path, sort):
    response = api.get(path, {"sort": sort})
    assert response.status_code == 400
    assert "created, startTime, endTime, status" in response.json()["message"]
    assert response.json()["errors"][0]["rejectedValue"] == sort


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=ERROR", ["error"]),
        ("status=error,STOPPED", ["error", "stopped"]),
        ("status=error&status=stopped", ["error", "stopped"]),
        ("type=pipeline_verify", ["env"]),
        ("type=PIPELINE_ENV", ["env"]),
        ("type=pipeline-run", ["error", "stopped", "complete"]),
        ("type=WORKSPACE_DEPLOY", []),
        ("trigger=schedule", ["complete"]),
        ("stop_reason=timeout", ["stopped"]),
        ("stopReason=TIMEOUT", ["stopped"]),
        ("q=COLUMN", ["error"]),
        ("q=100%25", ["stopped"]),
        ("created_after=2026-03-01T00:02:00&created_before=2026-03-01T00:03:00Z", ["stopped"]),
        ("createdAfter=2026-03-01T02:03:00%2B02:00", ["error", "env"]),
        ("created_before=2026-03-01", []),
        ("status=&q=&created_after=", ["complete", "stopped", "error", "env"]),
        ("status=ERROR&type=PIPELINE_ENV", []),
        ("unheard=of", ["complete", "stopped", "error", "env"]),
    ],
)
def test_jobs_are_filtered(api, path, pipeline, query, expected):
    made = {
        "complete": counted_job(pipeline, status="COMPLETE", now=START + timedelta(minutes=1), trigger="SCHEDULE"),
        "stopped": counted_job(
            pipeline, status="STOPPED", now=START + timedelta(minutes=2), stop_reason="TIMEOUT", headline="At 100%"
        ),
        "error": counted_job(pipeline, status="ERROR", now=START + timedelta(minutes=3), headline="No column id"),
        "env": counted_job(pipeline, status="COMPLETE", type="PIPELINE_ENV", now=START + timedelta(minutes=4)),
    }
    response = api.get(f"{path}?{query}")
    assert sorted(names_of(response, "number")) == sorted(made[name].number for name in expected)
    assert response.json()["page"]["totalElements"] == len(expected)


@pytest.mark.parametrize(
    ("query", "field", "remedy"),
    [
        ("status=DONE", "status", "COMPLETE"),
        ("type=PIPELINE_RNU", "type", "PIPELINE_RUN"),
        ("trigger=wind", "trigger", "SCHEDULE"),
        ("stop_reason=x", "stop_reason", "TIMEOUT"),
        ("pipeline=7", "pipeline", "/pipelines"),
        ("created_after=yesterday", "created_after", "2026-03-01"),
        ("created_before=2026-13-01", "created_before", "2026-03-01"),
        ("created_after=2026-03-02&created_before=2026-03-01", "created_before", "Exchange"),
        ("q=%00", "q", ""),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_and_says_what_can(api, path, query, field, remedy):
    response = api.get(f"{path}?{query}")
    assert response.status_code == 400
    fault = response.json()["errors"][0]
    assert fault["field"] == field
    assert remedy in fault["defaultMessage"]
    assert fault["rejectedValue"]


def test_a_workspaces_jobs_are_filtered_by_pipeline_but_not_by_a_foreign_one(api, path, pipeline, workspace, stranger):
    other = make_pipeline(workspace)
    wanted = counted_job(other, status="COMPLETE")
    make_jobs(pipeline, 2)
    response = api.get(path, {"pipeline": str(other.pk)})
    assert (names_of(response, "number"), response.json()["page"]["totalElements"]) == ([wanted.number], 1)
    foreign = make_pipeline(stranger.memberships.get().workspace)
    assert api.get(path, {"pipeline": str(foreign.pk)}).status_code == 400


def test_a_pipelines_jobs_are_its_own_and_counted_so(api, pipeline, workspace):
    wanted = make_jobs(pipeline, 2)
    make_jobs(make_pipeline(workspace), 3)
    response = api.get(reverse("api-pipeline-jobs", args=[pipeline.pk]))
    assert set(names_of(response, "number")) == {job.number for job in wanted}
    assert response.json()["page"]["totalElements"] == 2


def test_totals_follow_every_change_of_a_job(api, path, pipeline):
    def totals():
        return [
            api.get(f"{path}?{query}").json()["page"]["totalElements"]
            for query in ("", "status=QUEUED", "status=STOPPED")
        ]

    job = create_job(pipeline)
    assert totals() == [1, 1, 0]
    request_stop(job)
    assert totals() == [1, 0, 1]
    delete_job(job)
    assert totals() == [0, 0, 0]


def test_plain_totals_come_from_the_counters(api, path, pipeline):
    make_jobs(pipeline, 2)
    JobCount.objects.update(count=41)
    assert api.get(path).json()["page"]["totalElements"] == 41
    assert api.get(f"{path}?status=COMPLETE&type=PIPELINE_RUN").json()["page"]["totalElements"] == 41


def test_other_totals_are_counted_and_kept_for_a_while(api, path, pipeline):
    make_jobs(pipeline, 2, headline="Copied")
    assert api.get(f"{path}?q=copied").json()["page"]["totalElements"] == 2
    make_jobs(pipeline, 1, headline="Copied")
    assert api.get(f"{path}?q=copied").json()["page"]["totalElements"] == 2
    cache.clear()
    assert api.get(f"{path}?q=copied").json()["page"]["totalElements"] == 3


def test_deleted_jobs_are_not_listed(api, path, pipeline):
    job = create_job(pipeline)
    delete_job(job)
    assert names_of(api.get(path), "id") == []


def _queries(api, path):
    api.get(path)  # the token's last use is noted once a minute
    cache.clear()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert api.get(path).status_code == 200
    return [query["sql"] for query in queries]


@pytest.mark.parametrize("route", ["api-workspace-jobs", "api-pipeline-jobs"])
def test_a_list_costs_the_same_queries_whatever_its_length(api, workspace, route):
    def add(count):
        for _ in range(count):
            components = [make_component(workspace, "tap-files"), make_component(workspace, "target-duckdb")]
            pipeline = make_pipeline(workspace, components=components)
            pipeline.triggered_by.add(make_pipeline(workspace))
            counted_job(pipeline, status="COMPLETE", created_by=make_user())
        return pipeline

    first = add(1)
    path = reverse(route, args=[first.pk if "pipeline" in route else workspace.pk])
    few = _queries(api, path)
    add(6)
    for index in range(5):
        counted_job(first, status="ERROR", now=START + timedelta(minutes=index), created_by=make_user())
    many = _queries(api, path)
    assert len(many) == len(few) <= 12, "\n".join(many)


def test_ids_are_read_before_rows(api, path, pipeline):
    make_jobs(pipeline, 4)
    page = next(sql for sql in _queries(api, f"{path}?page=1&size=2") if "OFFSET 2" in sql)
    assert "headline" not in page and "JOIN" not in page


def test_a_superuser_sees_the_jobs_of_every_workspace(db):
    job = counted_job(make_pipeline(make_workspace()), status="COMPLETE")
    admin = make_user(is_superuser=True)
    response = api_as(admin).get(reverse("api-workspace-jobs", args=[job.workspace_id]))
    assert names_of(response, "number") == [job.number]
