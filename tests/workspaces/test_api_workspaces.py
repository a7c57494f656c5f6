"""GET /api/workspaces, /api/workspaces/{id} and /api/profiles"""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api_client import api_as, make_token
from tests.factories import make_workspace


@pytest.fixture
def api(owner):
    return api_as(owner)


def test_a_workspace_has_the_contracts_fields_in_its_order(api, owner, workspace):
    owner.default_workspace = workspace
    owner.save()
    body = api.get(f"/api/workspaces/{workspace.pk}").json()
    assert list(body) == [
        "id",
        "created",
        "lastModified",
        "alias",
        "name",
        "domains",
        "repositoryUrl",
        "defaultEnvironment",
        "status",
        "managed",
        "defaultWorkspace",
        "_links",
    ]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?$", body["created"])
    assert (body["name"], body["status"], body["defaultWorkspace"]) == ("Harbour Goods", "READY", True)
    for relation in body["_links"].values():
        assert api.get(relation["href"]).status_code == 200


def test_no_secret_of_a_workspace_is_in_its_body(api, workspace):
    assert workspace.deployment_secret not in api.get(f"/api/workspaces/{workspace.pk}").content.decode()


def test_a_failed_workspace_says_why(api, workspace):
    type(workspace).objects.update(status="FAILED", status_reason="The folder cannot be written.")
    assert api.get(f"/api/workspaces/{workspace.pk}").json()["statusReason"] == "The folder cannot be written."


def test_the_list_holds_the_callers_workspaces_alone(api, owner, workspace, stranger):
    make_workspace("Apple Store", owner=owner)
    body = api.get("/api/workspaces").json()
    assert [item["name"] for item in body["_embedded"]["workspaces"]] == ["Apple Store", "Harbour Goods"]
    assert body["page"]["totalElements"] == 2


def test_a_tokens_workspace_is_all_it_sees(owner, workspace):
    make_workspace("Apple Store", owner=owner)
    body = api_as(owner, workspace=workspace).get("/api/workspaces").json()
    assert [item["name"] for item in body["_embedded"]["workspaces"]] == ["Harbour Goods"]


def test_the_list_is_sorted_and_costs_the_same_whatever_its_length(api, owner, workspace):
    def names_and_cost():
        api.get("/api/workspaces")
        with CaptureQueriesContext(connection) as queries:
            body = api.get("/api/workspaces?sort=name,desc").json()
        return [item["name"] for item in body["_embedded"]["workspaces"]], len(queries)

    _, few = names_and_cost()
    for name in ("A", "Z"):
        make_workspace(name, owner=owner)
    names, many = names_and_cost()
    assert (names, many) == (["Z", "Harbour Goods", "A"], few)


def test_the_callers_profile_comes_first_and_alone(api, owner, workspace):
    owner.first_name, owner.last_name, owner.default_workspace = "Olga", "Ost", workspace
    owner.save()
    body = api.get("/api/profiles/").json()
    assert "page" not in body
    profile = body["_embedded"]["profiles"][0]
    assert profile == {
        "id": f"eltsite|{owner.pk}",
        "name": "Olga Ost",
        "handle": "@olga",
        "email": "olga@example.org",
        "defaultWorkspace": {"id": str(workspace.pk)},
        "_links": {
            "self": {"href": f"http://testserver/api/profiles/eltsite%7C{owner.pk}"},
            "workspaces": {"href": "http://testserver/api/workspaces"},
        },
    }
    assert api.get(profile["_links"]["self"]["href"]).json() == profile


def test_a_client_that_sends_a_type_and_no_accept_is_answered(owner):
    headers = {"Authorization": f"Bearer {make_token(owner)}", "Accept-Encoding": "identity"}
    response = api_as(owner).generic("GET", "/api/profiles", "", content_type="application/json", headers=headers)
    assert response.json()["_embedded"]["profiles"][0]["name"] == "olga"
