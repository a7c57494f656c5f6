"""What holds for every answer: the error body, HAL, media types, slashes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from eltsite.api import times
from eltsite.api.renderers import accepted_types
from jobs import viewsets as job_views
from tests.api_client import JSON, api_as, send

ZONELESS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?$")


@pytest.fixture
def api(owner):
    return api_as(owner)


@pytest.fixture
def jobs_path(workspace):
    return reverse("api-workspace-jobs", args=[workspace.pk])


@pytest.fixture
def run_path(pipeline):
    return reverse("api-pipeline-jobs", args=[pipeline.pk])


def assert_error(response, status, *, path, error, fields=False):
    body = response.json()
    expected = ["timestamp", "status", "error", *(["errors"] if fields else []), "message", "path"]
    assert response.status_code == status
    assert list(body) == expected
    assert (body["status"], body["error"], body["path"]) == (status, error, path)
    assert ZONELESS.match(body["timestamp"])
    assert isinstance(body["message"], str) and body["message"]
    assert response["Content-Type"] in (JSON, "application/hal+json")
    return body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/nothing", "/api/jobs/not-a-uuid", "/api//jobs", "/api/workspaces/1/jobs/"])
def test_an_unknown_address_is_a_404_with_a_message(method, path, db):
    response = Client(headers={"Accept": "text/html"}).generic(method, path, "x", content_type="text/plain")
    assert_error(response, 404, path=path, error="Not Found")


def test_a_method_that_is_not_there_names_those_that_are(api, run_path):
    body = assert_error(send(api, "PATCH", run_path), 405, path=run_path, error="Method Not Allowed")
    assert body["message"] == "PATCH is not possible here. Possible: GET, POST."
    options = send(api, "OPTIONS", run_path)
    assert (options.status_code, options["Allow"]) == (204, "GET, POST, HEAD, OPTIONS")


def test_a_body_of_another_type_is_refused(api, run_path):
    response = api.post(run_path, "<run/>", content_type="text/xml")
    body = assert_error(response, 415, path=run_path, error="Unsupported Media Type")
    assert "text/xml" in body["message"] and "application/json" in body["message"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"fullRefresh": tru', "line 1, column 17"),
        (b"[1]", "JSON object"),
        (b'"run"', "JSON object"),
        (b'{"fullRefresh": NaN}', "NaN"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[" * 100_000, "JSON"),
    ],
    ids=["cut off", "a list", "a text", "NaN", "not UTF-8", "deep"],
)
def test_a_malformed_body_is_a_400_that_says_where(api, run_path, content, reason):
    response = api.post(run_path, content, content_type=JSON)
    body = assert_error(response, 400, path=run_path, error="Bad Request")
    assert reason in body["message"]


def test_a_body_too_large_is_a_413(api, run_path, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = api.post(run_path, b'{"x": "' + b"x" * 200 + b'"}', content_type=JSON)
    assert_error(response, 413, path=run_path, error=response.json()["error"])


def test_a_body_without_length_is_refused_not_ignored(api, run_path):
    response = api.generic("POST", run_path, "", content_type=JSON, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="")
    assert_error(response, 411, path=run_path, error="Length Required")


def test_a_faulty_field_is_named_with_its_value(api, jobs_path):
    response = api.get(jobs_path, {"status": "RUNING"})
    body = assert_error(response, 400, path=jobs_path, error="Bad Request", fields=True)
    message = "'RUNING' is no status. Choose from QUEUED, RUNNING, COMPLETE, ERROR, STOPPED."
    assert body["errors"] == [
        {"field": "status", "rejectedValue": "RUNING", "defaultMessage": message, "code": "choice"}
    ]
    assert body["message"] == message


def test_a_failure_of_ours_is_a_500_that_tells_nothing_and_is_logged(api, jobs_path, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(job_views.JobCollectionView, "list", fail)
    with caplog.at_level("ERROR", logger="eltsite.api"):
        body = assert_error(api.get(jobs_path), 500, path=jobs_path, error="Internal Server Error")
    assert "secret" not in body["message"]
    assert "the secret reason" in caplog.text


def test_a_database_that_is_away_is_a_503(api, jobs_path, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise OperationalError("database is locked")

    monkeypatch.setattr(job_views.JobCollectionView, "list", fail)
    with caplog.at_level("CRITICAL", logger="eltsite.api"):
        response = api.get(jobs_path)
    assert_error(response, 503, path=jobs_path, error="Service Unavailable")
    assert response["Retry-After"] == "1"


def test_a_request_for_an_unknown_host_is_a_400_body(api, settings, jobs_path):
    settings.ALLOWED_HOSTS = ["known.example.org"]
    response = api.get(jobs_path, headers={"Host": "other.example.org"})
    assert_error(response, 400, path=jobs_path, error="Bad Request")


def test_the_root_leads_to_workspaces_and_profiles(api):
    body = api.get("/api").json()
    assert body == {
        "_links": {
            "self": {"href": "http://testserver/api"},
            "profiles": {"href": "http://testserver/api/profiles"},
            "workspaces": {"href": "http://testserver/api/workspaces"},
        }
    }
    for relation in body["_links"].values():
        assert api.get(relation["href"]).status_code == 200


def test_links_use_the_configured_address(api, settings):
    settings.ELTSITE_BASE_URL = "https://elt.example.org/"
    assert api.get("/api").json()["_links"]["self"]["href"] == "https://elt.example.org/api"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/hal+json"),
        ("*/*", "application/hal+json"),
        ("application/*", "application/hal+json"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/hal+json, application/json;q=0.5", "application/hal+json"),
        ("application/json;q=0.2, application/hal+json;q=0.9", "application/hal+json"),
        ("text/html", "application/hal+json"),
        ("nonsense", "application/hal+json"),
    ],
)
def test_no_accept_header_is_refused(api, accept, expected):
    response = api.get("/api", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response["Content-Type"]) == (200, expected)


def test_accepted_types_are_ranked_by_quality_then_by_precision():
    assert accepted_types("*/*, text/plain;q=0.5, application/x-ndjson") == [
        "application/x-ndjson",
        "*/*",
        "text/plain",
    ]
    assert accepted_types("text/plain;q=0, text/html;q=x") == []


def test_a_get_with_a_body_and_content_type_is_answered(api, jobs_path):
    for kind in ("text/plain", JSON, "application/x-www-form-urlencoded"):
        assert api.generic("GET", jobs_path, "{}", content_type=kind).status_code == 200


def test_answers_are_not_cached(api):
    assert api.get("/api")["Cache-Control"] == "no-store"


def test_contract_times_are_utc_without_zone_and_without_trailing_zeros():
    at = datetime(2031, 3, 4, 5, 6, 7, 891230, tzinfo=timezone(timedelta(hours=2)))
    assert times.write_instant(at) == "2031-03-04T03:06:07.89123"
    assert times.write_instant(at, digits=3) == "2031-03-04T03:06:07.891"
    assert times.write_instant(at.replace(microsecond=0)) == "2031-03-04T03:06:07"
    assert times.write_instant(at.replace(microsecond=9), digits=3) == "2031-03-04T03:06:07"
    assert times.write_extension_instant(at) == "2031-03-04T03:06:07.89123Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:30:00",
        "2026-03-01T12:30:00Z",
        "2026-03-01T14:30+02:00",
        "2026-03-01T14:30:00 02:00",
        " 2026-03-01 12:30 ",
    ],
)
def test_times_are_read_in_every_usual_form(text):
    assert times.read_instant(text) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def test_a_day_is_its_first_instant():
    assert times.read_instant("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-02-30T10:00:00", "0001-01-01T00:00:00+14:00", "12"])
def test_a_time_that_cannot_be_read_says_how_to_write_it(text):
    with pytest.raises(ValueError, match=r"2026-03-01|years"):
        times.read_instant(text)
