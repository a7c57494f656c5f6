"""The API of plugin definitions: the catalogue, a workspace's own, and discovery documents."""

from __future__ import annotations

import uuid

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from pipelines.hub import definitions_from
from pipelines.models import DataPlugin
from tests.api_client import api_as, send
from tests.factories import make_component, make_plugin, make_workspace

ORCHARD = {
    "name": "tap-orchard",
    "variant": "acme",
    "pluginType": "EXTRACTOR",
    "label": "Orchard",
    "pipUrl": "tap-orchard==0.4",
    "capabilities": ["catalog", "stream-maps"],
    "settings": [{"name": "api_key", "kind": "password", "value": "default-key", "required": True, "protected": False}],
    "metaNode": "kept",
}
DISCOVERY = (
    "extractors:\n- {name: tap-orchard, variant: acme, pip_url: tap-orchard}\n- {name: tap-pear, pip_url: tap-pear}\n"
)


@pytest.fixture
def api(owner):
    return api_as(owner)


def place(workspace, plugin_id=None) -> str:
    if plugin_id is None:
        return reverse("api-workspace-dataplugins", args=[workspace.pk])
    return reverse("api-workspace-dataplugin", args=[workspace.pk, plugin_id])


def found(response, key="name") -> list[str]:
    assert response.status_code in (200, 201), response.content
    return [item[key] for item in response.json().get("_embedded", {}).get("dataplugins", [])]


def made(api, workspace, **changes) -> dict:
    response = send(api, "PUT", place(workspace, uuid.uuid4()), {**ORCHARD, **changes})
    assert response.status_code == 201, response.content
    return response.json()


# ---------- lists ----------


def test_catalogue_holds_what_every_workspace_may_use(api, workspace, stranger):
    make_plugin(workspace)
    names = found(api.get("/api/dataplugins?size=1000"))
    assert {"tap-files", "target-duckdb"} <= set(names) and "tap-orchard" not in names
    assert found(api_as(stranger).get("/api/dataplugins?size=1000")) == names


def test_workspace_lists_the_catalogue_and_its_own(api, workspace, stranger):
    make_plugin(workspace)
    make_plugin(stranger.memberships.get().workspace, "tap-theirs")
    DataPlugin.objects.filter(name="tap-sql").update(is_hidden=True)
    names = found(api.get(f"{place(workspace)}?size=1000"))
    assert "tap-orchard" in names and "tap-files" in names
    assert "tap-theirs" not in names and "tap-sql" not in names


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=TAP-orchard", ["tap-orchard"]),
        ("variant=acme", ["tap-orchard", "target-barn"]),
        ("variant=acme&pluginType=loader", ["target-barn"]),
        ("pluginType=EXTRACTORS&variant=acme", ["tap-orchard"]),
        ("namespace=orchards", ["tap-orchard"]),
        ("q=acme%20BARN", ["target-barn"]),
        ("q=nothing-of-the-kind", []),
        ("variant=acme&sort=name,desc", ["target-barn", "tap-orchard"]),
    ],
)
def test_list_is_filtered_by_example_and_words(query, names, api, workspace):
    make_plugin(workspace, namespace="orchards")
    make_plugin(workspace, "target-barn")
    assert found(api.get(f"{place(workspace)}?{query}")) == names


def test_type_that_is_none_is_refused_with_those_there_are(api):
    response = api.get("/api/dataplugins?pluginType=tap")
    assert response.status_code == 400
    assert "Choose from EXTRACTOR, LOADER" in response.json()["message"]


def test_list_costs_the_same_whatever_its_length(api, workspace):
    def cost() -> int:
        api.get(place(workspace))
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{place(workspace)}?size=1000").status_code == 200
        return len(queries)

    few = cost()
    for number in range(20):
        make_plugin(workspace, f"tap-{number}")
    assert cost() == few <= 8


# ---------- one ----------


def test_plugin_is_initialised_made_changed_and_deleted(api, workspace):
    fresh = send(api, "POST", place(workspace))
    assert fresh.status_code == 200
    body = fresh.json()
    assert (body["settings"], body["capabilities"]) == ([], [])
    assert not DataPlugin.objects.filter(pk=body["id"]).exists()
    link = body["_links"]["create dataplugin"]
    assert link == {"href": f"http://testserver{place(workspace, body['id'])}", "type": "PUT"}

    first = send(api, "PUT", link["href"], {**ORCHARD, "id": str(uuid.uuid4())})
    assert first.status_code == 201
    assert first.json()["id"] == body["id"]
    second = send(api, "PUT", link["href"], {**first.json(), "label": "Trees"})
    assert second.status_code == 200 and second.json()["label"] == "Trees"

    address = first.json()["_links"]["self"]["href"]
    assert api.get(address).json() == second.json()
    assert send(api, "DELETE", address).status_code == 204
    assert api.get(address).status_code == 404


def test_body_has_the_contracts_fields_in_its_order_and_values(api, workspace):
    body = made(api, workspace, namespace="tap_orchard", store=None)
    assert list(body) == [
        *("id", "pluginType", "name", "variant", "namespace", "label", "pipUrl", "capabilities", "settings"),
        *("metaNode", "fullName", "workspace", "_links"),
    ]
    assert body["fullName"] == "extractors/tap-orchard--acme"
    assert body["capabilities"] == ["CATALOG", "STREAM_MAPS"]
    assert body["settings"] == [
        {"name": "api_key", "kind": "PASSWORD", "value": "***", "required": "true", "protected": False}
    ]
    assert list(body["_links"]) == ["self", "update dataplugin", "delete dataplugin", "workspace"]


def test_secret_defaults_are_shown_nowhere_and_kept_when_the_body_comes_back(api, workspace):
    body = made(
        api,
        workspace,
        settings=[
            {"name": "api_key", "kind": "PASSWORD", "value": "hunter-two-2"},
            {
                "name": "rows",
                "kind": "ARRAY_OBJECT",
                "items": [{"name": "key", "sensitive": True, "value": "hunter-two-3"}],
            },
        ],
    )
    paths = [body["_links"]["self"]["href"], place(workspace), reverse("api-workspace-discovery", args=[workspace.pk])]
    for path in paths:
        assert "hunter-two" not in api.get(path).content.decode()
    assert send(api, "PUT", body["_links"]["update dataplugin"]["href"], body).status_code == 200
    stored = DataPlugin.objects.get(pk=body["id"]).definition["settings"]
    assert (stored[0]["value"], stored[1]["items"][0]["value"]) == ("hunter-two-2", "hunter-two-3")


def test_native_plugin_shows_required_as_a_text(api):
    body = api.get("/api/dataplugins?name=tap-sql&variant=eltsite").json()["_embedded"]["dataplugins"][0]
    required = {setting["name"]: setting.get("required") for setting in body["settings"]}
    assert required["host"] == "true" and required["password"] is None
    assert list(body["_links"]) == ["self"]
    assert api.get(body["_links"]["self"]["href"]).json() == body


def test_faults_come_with_their_fields(api, workspace):
    response = send(api, "PUT", place(workspace, uuid.uuid4()), {**ORCHARD, "name": "", "pipUrl": "-e ."})
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {"name", "pipUrl"}


def test_shipped_plugin_is_read_by_all_and_changed_by_none(api, workspace):
    row = DataPlugin.objects.get(name="tap-files", variant="eltsite")
    assert send(api, "PUT", place(workspace, row.pk), ORCHARD).status_code == 409
    assert send(api, "DELETE", reverse("api-dataplugin", args=[row.pk])).status_code == 409
    assert api.get(reverse("api-dataplugin", args=[row.pk])).status_code == 200


def test_token_of_one_workspace_reads_the_catalogue_and_its_own_alone(owner, workspace):
    elsewhere = make_workspace("Elsewhere", owner=owner)
    own, other = make_plugin(workspace), make_plugin(elsewhere, "tap-other")
    api = api_as(owner, workspace=workspace)
    shipped = DataPlugin.objects.get(name="tap-files", variant="eltsite")
    answers = {row.name: api.get(reverse("api-dataplugin", args=[row.pk])).status_code for row in (own, other, shipped)}
    assert answers == {"tap-orchard": 200, "tap-other": 404, "tap-files": 200}


def test_id_of_another_workspaces_plugin_is_not_there(api, workspace, stranger):
    theirs = make_plugin(stranger.memberships.get().workspace)
    assert send(api, "PUT", place(workspace, theirs.pk), ORCHARD).status_code == 404
    assert send(api, "DELETE", reverse("api-dataplugin", args=[theirs.pk])).status_code == 404


def test_members_read_and_owners_write(operator, workspace):
    row = make_plugin(workspace)
    api = api_as(operator)
    body = api.get(reverse("api-dataplugin", args=[row.pk])).json()
    assert list(body["_links"]) == ["self", "workspace"]
    for method, path in [
        ("PUT", place(workspace, row.pk)),
        ("POST", place(workspace)),
        ("DELETE", reverse("api-dataplugin", args=[row.pk])),
        ("POST", reverse("api-workspace-discovery", args=[workspace.pk])),
    ]:
        assert send(api, method, path, ORCHARD).status_code == 403
    assert (
        send(api_as(workspace.memberships.get(role="owner").user, scope="write"), "POST", place(workspace)).status_code
        == 403
    )


def test_used_plugin_is_not_deleted(api, workspace):
    row = make_plugin(workspace)
    workspace.components.create(name="Trees", plugin=row)
    response = send(api, "DELETE", reverse("api-dataplugin", args=[row.pk]))
    assert response.status_code == 409 and "used by Trees" in response.json()["message"]


# ---------- discovery documents ----------


@pytest.mark.parametrize("ending", ["discovery", "discovery.yml"])
@pytest.mark.parametrize("content_type", ["application/json", "text/yaml", "application/x-www-form-urlencoded", ""])
def test_document_is_published_under_any_content_type(ending, content_type, api, workspace):
    path = f"/api/workspaces/{workspace.pk}/{ending}"
    response = api.generic("POST", path, DISCOVERY, content_type=content_type)
    assert response.status_code == 201, response.content
    assert found(response, "fullName") == ["extractors/tap-orchard--acme", "extractors/tap-pear--original"]
    assert response.json()["_links"]["self"]["href"] == f"http://testserver{path}"
    assert workspace.plugins.count() == 2


def test_document_with_a_fault_publishes_nothing(api, workspace):
    path = f"/api/workspaces/{workspace.pk}/discovery"
    response = api.generic(
        "POST", path, DISCOVERY.replace("pip_url: tap-pear", "pip_url: -e ."), content_type="text/yaml"
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "extractors[1].pipUrl"
    assert not workspace.plugins.exists()
    assert "not UTF-8" in api.generic("POST", path, b"\xff", content_type="text/yaml").json()["message"]
    assert "document is null" in api.generic("POST", path, "", content_type="application/json").json()["message"]
    assert api.generic("POST", path, "x" * 6_000_000, content_type="text/yaml").status_code == 413


def test_catalogue_is_a_discovery_document(api):
    response = api.get("/api/discovery.yml")
    assert response["Content-Type"] == "application/yaml; charset=utf-8"
    document = yaml.safe_load(response.content)
    names = [plugin["name"] for plugin in document["extractors"]]
    assert names == sorted(set(names)) and {"tap-files", "tap-sql"} <= set(names)
    files = document["extractors"][names.index("tap-files")]
    variant = files["variants"][0]
    assert (variant["name"], variant["settings"][0]["kind"], variant["settings"][0]["required"]) == (
        "eltsite",
        "array_object",
        True,
    )


def test_what_a_workspace_exports_another_can_publish(api, workspace, owner):
    made(api, workspace, settings=[{"name": "a.b", "kind": "INTEGER", "value": 5, "required": "true"}], select=["*.*"])
    made(api, workspace, variant="other", commands={"x": {"args": "y"}}, settingsGroupValidation=[["api_key"]])
    document = yaml.safe_load(api.get(f"/api/workspaces/{workspace.pk}/discovery.yml").content)
    own = [plugin for plugin in document["extractors"] if plugin["name"] == "tap-orchard"]
    assert [variant["name"] for variant in own[0]["variants"]] == ["acme", "other"]
    text = yaml.safe_dump({"extractors": own})
    elsewhere = make_workspace("Elsewhere", owner=owner)
    path = f"/api/workspaces/{elsewhere.pk}/discovery.yml"
    assert api.generic("POST", path, text, content_type="text/yaml").status_code == 201
    for before, after in zip(workspace.plugins.order_by("variant"), elsewhere.plugins.order_by("variant"), strict=True):
        kept = {name: value for name, value in before.definition.items() if name not in ("id", "workspace", "fullName")}
        if before.variant == "other":
            del kept["settings"][0]["value"]  # the default of a secret does not leave the workspace
        found_again = {name: value for name, value in after.definition.items() if name in kept}
        assert found_again["settings"] == kept["settings"]
        assert {**found_again, "id": 0} == {**kept, "id": 0}


def test_component_type_of_a_published_plugin_can_be_used_at_once(api, workspace):
    api.generic("POST", f"/api/workspaces/{workspace.pk}/discovery", DISCOVERY, content_type="text/yaml")
    path = reverse("api-workspace-datacomponent", args=[workspace.pk, uuid.uuid4()])
    body = {"name": "Trees", "dataPlugin": "extractors/tap-orchard", "properties": {}}
    assert send(api, "PUT", path, body).json()["dataPlugin"] == "extractors/tap-orchard--acme"


def test_discovery_reads_what_it_writes(api):
    text = api.get("/api/discovery.yml").content.decode()
    shipped = [definition for definition in yaml.safe_load(text)["loaders"] if definition["name"] == "target-duckdb"]
    renamed = [{**plugin, "name": "target-own", "variants": plugin["variants"][:1]} for plugin in shipped]
    renamed[0]["variants"][0] |= {"name": "own", "pip_url": "target-own"}
    assert definitions_from(yaml.safe_dump({"loaders": renamed}))[0]["name"] == "target-own"


def test_factory_component_uses_the_native_plugin(workspace):
    assert make_component(workspace, "target-duckdb").plugin.variant == "eltsite"
