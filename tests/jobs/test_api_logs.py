"""GET /api/jobs/{id}/logs"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections, connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import log_streams
from jobs.log_lines import LogLine, pack
from jobs.log_streams import FollowedLog, as_text
from jobs.models import Job, LogChunk
from tests.api_client import api_as
from tests.factories import make_job

AT = datetime(2031, 3, 4, 5, 6, 7, 120_000, tzinfo=UTC)


@pytest.fixture
def api(owner):
    return api_as(owner)


@pytest.fixture
def job(pipeline):
    return make_job(pipeline, status="RUNNING")


@pytest.fixture
def path(job):
    return reverse("api-job-logs", args=[job.pk])


def write(job, first, count, text="line {}"):
    lines = [
        LogLine(AT + timedelta(seconds=number), "tap-files", "error" if number == 3 else "info", text.format(number))
        for number in range(first, first + count)
    ]
    LogChunk.objects.create(job=job, first_line=first, line_count=count, text=pack(lines))


def body_of(response):
    return b"".join(response.streaming_content).decode()


def ndjson(response):
    return [json.loads(line) for line in body_of(response).splitlines()]


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "application/json, text/plain, */*", "text/html"])
def test_text_is_what_most_callers_get(api, job, path, accept):
    write(job, 0, 2)
    response = api.get(path, headers={"Accept": accept} if accept else {})
    assert (response.status_code, response["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert body_of(response) == (
        "2031-03-04T05:06:07.120Z info tap-files: line 0\n2031-03-04T05:06:08.120Z info tap-files: line 1\n"
    )


@pytest.mark.parametrize("accept", ["application/x-ndjson", "application/stream+json"])
def test_ndjson_has_one_object_per_line(api, job, path, accept):
    write(job, 0, 4, text='tab\tquote" é \u2028 {}')
    response = api.get(path, headers={"Accept": accept})
    assert response["Content-Type"] == accept
    lines = ndjson_split(response)
    assert list(lines[0]) == ["sequence", "time", "source", "level", "message"]
    assert lines[3] == {
        "sequence": 3,
        "time": "2031-03-04T05:06:10.12Z",
        "source": "tap-files",
        "level": "error",
        "message": 'tab\tquote" é \u2028 3',
    }


def ndjson_split(response):
    """Only a line feed ends a line of NDJSON."""
    return [json.loads(line) for line in body_of(response).split("\n") if line]


def test_reading_goes_on_from_any_line(api, job, path):
    for first in (0, 5, 10):
        write(job, first, 5)
    for start in (0, 1, 4, 5, 7, 14):
        lines = ndjson(api.get(path, {"sequence": start}, headers={"Accept": "application/x-ndjson"}))
        assert [line["sequence"] for line in lines] == list(range(start, 15))
        assert [line["message"] for line in lines] == [f"line {number}" for number in range(start, 15)]


def test_nothing_to_give_is_a_204(api, job, path):
    assert api.get(path).status_code == 204
    write(job, 0, 5)
    for start in (5, 6, 10**30):
        response = api.get(path, {"sequence": start})
        assert (response.status_code, response.content) == (204, b"")


def test_asking_for_the_head_alone_reads_no_line(api, job, path):
    write(job, 0, 2)
    with CaptureQueriesContext(connection) as queries:
        response = api.head(path, {"follow": "true"}, headers={"Accept": "application/x-ndjson"})
        assert (response.status_code, response["Content-Type"]) == (200, "application/x-ndjson")
        assert body_of(response) == ""
    assert not any("logchunk" in query["sql"] for query in queries)


@pytest.mark.parametrize("sequence", ["-1", "x", "1.5"])
def test_a_sequence_that_is_no_number_is_a_json_error_whatever_was_accepted(api, path, sequence):
    response = api.get(path, {"sequence": sequence}, headers={"Accept": "text/plain"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/json")
    assert response.json()["errors"][0]["field"] == "sequence"


def test_an_unknown_jobs_log_is_a_json_404(api, path, job):
    Job.objects.all().delete()
    response = api.get(path, headers={"Accept": "text/plain"})
    assert response.status_code == 404
    assert str(job.pk) in response.json()["message"]


def test_a_long_log_is_read_by_pages_and_holds_no_cursor(api, job, path):
    for first in range(0, 20_000, 500):
        write(job, first, 500)
    with CaptureQueriesContext(connection) as queries:
        stream = iter(api.get(path).streaming_content)
        before = len(queries)
        piece = next(stream)
        after_one = len(queries)
        rest = b"".join(stream)
    assert piece.count(b"\n") == log_streams.LINES_AT_ONCE
    assert after_one - before <= 2 < len(queries) - before
    assert (piece + rest).count(b"\n") == 20_000


def test_lines_written_while_reading_are_left_for_the_next_request(api, job, path):
    write(job, 0, 3)
    response = api.get(path)
    write(job, 3, 3)
    assert body_of(response).count("\n") == 3


def test_following_gives_lines_as_they_come_and_ends_with_the_job(job):
    write(job, 0, 2)
    turns = []

    def pause(seconds):
        turns.append(seconds)
        if len(turns) == 1:
            write(job, 2, 2)
        elif len(turns) == 2:
            write(job, 4, 1)
            Job.objects.filter(pk=job.pk).update(status="COMPLETE")

    assert log_streams.places.acquire(blocking=False)
    followed = FollowedLog(job, as_text, sequence=1, pause=pause)
    pieces = [piece.decode().count("\n") for piece in followed]
    followed.close()
    assert (pieces, len(turns)) == ([1, 2, 1], 2)


def test_a_place_is_given_back_once_also_when_half_read(job):
    write(job, 0, 1)
    held = [FollowedLog.acquire(job, as_text, sequence=0) for _ in range(log_streams.FOLLOWERS)]
    assert FollowedLog.acquire(job, as_text, sequence=0) is None
    next(held[0])
    held[0].close()
    held[0].close()
    again = FollowedLog.acquire(job, as_text, sequence=0)
    assert again is not None
    assert FollowedLog.acquire(job, as_text, sequence=0) is None
    for followed in (*held, again):
        followed.close()


def test_following_a_deleted_or_silent_job_comes_to_an_end(job, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(log_streams.time, "monotonic", lambda: float(next(clock)))
    assert log_streams.places.acquire(blocking=False)
    silent = FollowedLog(job, as_text, sequence=0, pause=lambda seconds: None)
    assert list(silent) == []
    silent.close()
    Job.objects.all().delete()
    assert log_streams.places.acquire(blocking=False)
    gone = FollowedLog(job, as_text, sequence=0, pause=lambda seconds: pytest.fail("waited for a deleted job"))
    assert list(gone) == []
    gone.close()


def test_an_ended_jobs_log_is_followed_to_its_end(api, job, path):
    write(job, 0, 3)
    Job.objects.update(status="COMPLETE")
    response = api.get(path, {"follow": "true", "sequence": "1"}, headers={"Accept": "application/x-ndjson"})
    assert [line["sequence"] for line in ndjson(response)] == [1, 2]


def close(response):
    """Close a response as the server does; it would close the test's own connection with it."""
    request_finished.disconnect(close_old_connections)
    response.close()
    request_finished.connect(close_old_connections)


def test_a_ninth_follower_is_asked_to_come_again_and_places_are_given_back(api, job, path):
    write(job, 0, 1)
    held = [api.get(path, {"follow": "true"}) for _ in range(log_streams.FOLLOWERS)]
    refused = api.get(path, {"follow": "true"})
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert "without follow" in refused.json()["message"]
    assert body_of(api.get(path)).count("\n") == 1
    for response in held:  # unread: a client that went away at once
        close(response)
    again = [api.get(path, {"follow": "true"}) for _ in range(log_streams.FOLLOWERS)]
    assert {response.status_code for response in again} == {200}
    for response in again:
        close(response)
    assert api.get(path, {"follow": "perhaps"}).status_code == 400
