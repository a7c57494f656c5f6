"""Every route of the API: what nobody, and what a stranger, gets. A new route without a row fails."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from pipelines.models import Pipeline, PipelineState, PipelineStateChange
from tests.api_client import api_as, make_token, send
from tests.factories import make_component, make_job, make_plugin

METHODS = ("get", "post", "put", "patch", "delete")
NOT_FOUND, OWN = 404, 200
# (route, method, argument, what a stranger gets). OWN: the stranger's own things, never the owner's.
ROUTES = [
    ("api-root", "GET", "", OWN),
    ("api-profiles", "GET", "", OWN),
    ("api-profile", "GET", "profile", NOT_FOUND),
    ("api-workspaces", "GET", "", OWN),
    ("api-workspace", "GET", "workspace", NOT_FOUND),
    ("api-workspace-jobs", "GET", "workspace", NOT_FOUND),
    ("api-workspace-pipelines", "GET", "workspace", NOT_FOUND),
    ("api-pipeline", "GET", "pipeline", NOT_FOUND),
    ("api-pipeline-jobs", "GET", "pipeline", NOT_FOUND),
    ("api-pipeline-jobs", "POST", "pipeline", NOT_FOUND),
    ("api-pipeline-verification", "POST", "pipeline", NOT_FOUND),
    ("api-datacomponent-verification", "POST", "component", NOT_FOUND),
    ("api-pipeline-state", "GET", "pipeline", NOT_FOUND),
    ("api-pipeline-state", "PUT", "pipeline", NOT_FOUND),
    ("api-pipeline-state", "DELETE", "pipeline", NOT_FOUND),
    ("api-pipeline-state-export", "GET", "pipeline", NOT_FOUND),
    ("api-pipeline-state-changes", "GET", "pipeline", NOT_FOUND),
    ("api-pipeline-state-change", "GET", "change", NOT_FOUND),
    ("api-pipeline-state-change-undone", "PUT", "change", NOT_FOUND),
    ("api-dataplugins", "GET", "", OWN),
    ("api-dataplugin", "GET", "plugin", NOT_FOUND),
    ("api-dataplugin", "DELETE", "plugin", NOT_FOUND),
    ("api-discovery", "GET", "", OWN),
    ("api-workspace-dataplugins", "GET", "workspace", NOT_FOUND),
    ("api-workspace-dataplugins", "POST", "workspace", NOT_FOUND),
    ("api-workspace-dataplugin", "PUT", "workspace plugin", NOT_FOUND),
    ("api-workspace-discovery", "GET", "workspace", NOT_FOUND),
    ("api-workspace-discovery", "POST", "workspace", NOT_FOUND),
    ("api-workspace-publication", "POST", "workspace", NOT_FOUND),
    ("api-workspace-datacomponents", "GET", "workspace", NOT_FOUND),
    ("api-workspace-datacomponents", "POST", "workspace", NOT_FOUND),
    ("api-workspace-datacomponent", "PUT", "workspace component", NOT_FOUND),
    ("api-datacomponent", "GET", "component", NOT_FOUND),
    ("api-datacomponent", "PUT", "component", NOT_FOUND),
    ("api-datacomponent", "DELETE", "component", NOT_FOUND),
    ("api-job", "GET", "job", NOT_FOUND),
    ("api-job", "DELETE", "job", NOT_FOUND),
    ("api-job-stopped", "PUT", "job", NOT_FOUND),
    ("api-job-logs", "GET", "job", NOT_FOUND),
]
IDS = [f"{method} {name}" for name, method, *_ in ROUTES]


def api_patterns(patterns: Any = None, prefix: str = "") -> list[tuple[str, URLPattern]]:
    """All patterns below /api with their whole path."""
    found = []
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = f"{prefix}{entry.pattern}"
        if isinstance(entry, URLPattern):
            found.append((path, entry))
        elif path.startswith("api"):
            found += api_patterns(entry.url_patterns, path)
    return [(path, entry) for path, entry in found if path == "api" or path.startswith("api/")]


def methods_of(entry: URLPattern) -> list[str]:
    return [method.upper() for method in METHODS if hasattr(entry.callback.view_class, method)]


def make_change(pipeline: Pipeline) -> PipelineStateChange:
    """A change of the state of some pair."""
    pair = [make_component(pipeline.workspace, plugin) for plugin in ("tap-files", "target-duckdb")]
    state = PipelineState.objects.create(pipeline=pipeline, extractor=pair[0], loader=pair[1])
    return PipelineStateChange.objects.create(state=state)


@pytest.fixture
def arguments(owner, workspace, pipeline):
    job = make_job(pipeline)
    plugin, component = make_plugin(workspace), make_component(workspace, "tap-sql")
    return {
        "": [],
        "workspace": [workspace.pk],
        "pipeline": [pipeline.pk],
        "job": [job.pk],
        "change": [pipeline.pk, make_change(pipeline).pk],
        "profile": [owner.profile_id],
        "plugin": [plugin.pk],
        "component": [component.pk],
        "workspace plugin": [workspace.pk, plugin.pk],
        "workspace component": [workspace.pk, component.pk],
    }


def test_every_route_and_method_has_a_row():
    found = {(entry.name, method) for _, entry in api_patterns() if entry.name for method in methods_of(entry)}
    assert found == {(name, method) for name, method, *_ in ROUTES}


def test_every_address_answers_with_and_without_a_slash():
    named = {path: entry.callback for path, entry in api_patterns() if entry.name}
    unnamed = {path: entry.callback for path, entry in api_patterns() if not entry.name}
    assert {f"{path}/": callback for path, callback in named.items()} == unnamed


@pytest.mark.parametrize(("name", "method", "argument", "expected"), ROUTES, ids=IDS)
def test_without_a_token_the_answer_is_401(name, method, argument, expected, arguments):
    response = send(Client(), method, reverse(name, args=arguments[argument]))
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert "Authorization: Bearer" in response.json()["message"]


@pytest.mark.parametrize(("name", "method", "argument", "expected"), ROUTES, ids=IDS)
def test_a_stranger_does_not_learn_that_it_exists(name, method, argument, expected, arguments, stranger, workspace):
    response = send(api_as(stranger), method, reverse(name, args=arguments[argument]))
    assert response.status_code == expected
    if expected == NOT_FOUND:
        assert isinstance(response.json()["message"], str)
        other = uuid.uuid4() if argument != "profile" else f"eltsite|{uuid.uuid4()}"
        missing = [other, *arguments[argument][1:]]
        same = send(api_as(stranger), method, reverse(name, args=missing))
        assert same.status_code == NOT_FOUND
    else:
        assert str(workspace.pk) not in response.content.decode()


@pytest.mark.parametrize(("name", "method", "argument", "expected"), ROUTES, ids=IDS)
def test_a_token_of_another_workspace_of_mine_does_not_reach_it(
    name, method, argument, expected, arguments, owner, stranger
):
    elsewhere = stranger.memberships.get().workspace
    elsewhere.memberships.create(user=owner, role="owner")
    client = Client(headers={"Authorization": f"Bearer {make_token(owner, workspace=elsewhere)}"})
    response = send(client, method, reverse(name, args=arguments[argument]))
    assert response.status_code == (OWN if argument == "profile" else expected)


@pytest.mark.parametrize(("name", "method", "argument", "expected"), ROUTES, ids=IDS)
def test_a_read_token_reads_and_changes_nothing(name, method, argument, expected, arguments, owner):
    response = send(api_as(owner, scope="read"), method, reverse(name, args=arguments[argument]))
    if method == "GET":
        assert response.status_code in (200, 204)
    else:
        assert response.status_code == 403
        assert "scope is read" in response.json()["message"]


@pytest.mark.parametrize(("name", "method", "argument", "expected"), ROUTES, ids=IDS)
def test_a_viewer_reads_and_changes_nothing(name, method, argument, expected, arguments, viewer):
    response = send(api_as(viewer), method, reverse(name, args=arguments[argument]))
    if method == "GET":
        assert response.status_code in (200, 204) or argument == "profile"
    else:
        assert response.status_code == 403
        assert "Your role in this workspace is viewer" in response.json()["message"]
