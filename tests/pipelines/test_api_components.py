"""The API of components."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from pipelines.models import DataComponent
from tests.api_client import api_as, send
from tests.factories import make_component, make_pipeline, make_plugin

SHOP = {
    "name": "Shop",
    "dataPlugin": "extractors/tap-sql",
    "properties": {"host": "db", "user": "reader", "password": "hunter-two-2", "port": 5433},
}


@pytest.fixture
def api(owner):
    return api_as(owner)


def place(workspace, component_id=None) -> str:
    if component_id is None:
        return reverse("api-workspace-datacomponents", args=[workspace.pk])
    return reverse("api-workspace-datacomponent", args=[workspace.pk, component_id])


def made(api, workspace, **changes) -> dict:
    response = send(api, "PUT", place(workspace, uuid.uuid4()), {**SHOP, **changes})
    assert response.status_code == 201, response.content
    return response.json()


def found(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [item["name"] for item in response.json().get("_embedded", {}).get("datacomponents", [])]


def test_component_is_initialised_made_changed_and_deleted(api, workspace):
    fresh = send(api, "POST", place(workspace)).json()
    assert fresh["properties"] == {} and not DataComponent.objects.filter(pk=fresh["id"]).exists()
    link = fresh["_links"]["create datacomponent"]
    assert link == {"href": f"http://testserver{place(workspace, fresh['id'])}", "type": "PUT"}

    first = send(api, "PUT", link["href"], SHOP)
    assert (first.status_code, first.json()["id"]) == (201, fresh["id"])
    address = first.json()["_links"]["self"]["href"]
    again = send(api, "PUT", link["href"], {**first.json(), "name": "Shop db"})
    assert (again.status_code, again.json()["name"], again.json()["revision"]) == (200, "Shop db", 2)
    changed = send(api, "PUT", address, {**SHOP, "properties": {"host": "other", "password": "***"}})
    assert (changed.status_code, changed.json()["properties"]) == (200, {"host": "other", "password": "***"})
    assert DataComponent.objects.get(pk=fresh["id"]).properties == {"host": "other", "password": "hunter-two-2"}
    assert api.get(address).json() == changed.json()
    assert send(api, "DELETE", address).status_code == 204
    assert api.get(address).status_code == 404


def test_body_has_the_contracts_fields_in_its_order_and_then_ours(api, workspace):
    plugin = make_plugin(workspace, commands={"about": {"args": "--about"}})
    streams = [{"name": "trees", "selected": "SELECTED", "fields": [{"name": "id", "selected": "AUTOMATIC"}]}]
    values = {"api_key": "hunter-two-2", "start_date": "2031-01-01", "_select": '["*.*"]', "gone": "x"}
    row = workspace.components.create(name="Trees", plugin=plugin, properties=values, streams=streams)
    body = api.get(reverse("api-datacomponent", args=[row.pk])).json()
    assert list(body) == [
        *("id", "created", "lastModified", "name", "dataPlugin", "dataPluginType", "properties", "commands", "streams"),
        *("draft", "managed", "defaultStore", "revision", "_embedded", "_links"),
    ]
    assert (body["dataPlugin"], body["dataPluginType"]) == ("extractors/tap-orchard--acme", "EXTRACTOR")
    assert body["properties"] == {"api_key": "***", "start_date": "2031-01-01", "_select": '["*.*"]', "gone": "***"}
    assert (body["commands"], body["streams"]) == ({"about": {"args": "--about"}}, streams)
    assert body["_embedded"]["dataplugin"]["settings"][0]["name"] == "api_key"
    assert "_links" not in body["_embedded"]["dataplugin"]
    assert list(body["_links"]) == ["self", "update datacomponent", "delete datacomponent", "dataplugin", "workspace"]


def test_loaders_have_no_streams_and_a_stored_secret_stays_masked(api, workspace):
    row = make_component(workspace, "target-duckdb", properties={"path": "w.duckdb"}, secrets_set={"path": {}})
    body = api.get(reverse("api-datacomponent", args=[row.pk])).json()
    assert "streams" not in body and body["properties"] == {"path": "***"}


def test_values_may_come_with_their_types_and_go_as_texts(api, workspace):
    body = made(api, workspace, properties={"port": 5433, "tables": [{"table": "orders"}], "host": None})
    assert body["properties"] == {"port": "5433", "tables": '[{"table": "orders"}]'}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name", "dataPlugin"}),
        ({**SHOP, "proprties": {}}, {"proprties"}),
        ({**SHOP, "properties": []}, {"properties"}),
        ({**SHOP, "dataPlugin": "extractors/tap-sqll"}, {"dataPlugin"}),
        ({**SHOP, "properties": {"prt": "1"}}, {"properties.prt"}),
        ({**SHOP, "properties": {"password": "***"}}, {"properties.password"}),
    ],
)
def test_faults_come_with_their_fields(body, fields, api, workspace):
    response = send(api, "PUT", place(workspace, uuid.uuid4()), body)
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == fields
    assert not workspace.components.exists()


def test_list_is_filtered_and_sorted(api, workspace):
    for plugin, name in [("tap-sql", "Shop"), ("tap-files", "Files"), ("target-duckdb", "Store")]:
        make_component(workspace, plugin, name)
    workspace.components.create(name="Own", plugin=make_plugin(workspace, "tap-files"))
    for query, names in [
        ("", ["Files", "Own", "Shop", "Store"]),
        ("name=shop", ["Shop"]),
        ("dataPlugin=extractors/tap-files", ["Files", "Own"]),
        ("dataPlugin=extractors/tap-files--acme", ["Own"]),
        ("dataPlugin=tap-sql", ["Shop"]),
        ("dataPluginType=loader", ["Store"]),
        ("q=tap+sh", ["Shop"]),
        ("sort=name,desc&size=2", ["Store", "Shop"]),
    ]:
        assert found(api.get(f"{place(workspace)}?{query}")) == names, query
    assert api.get(f"{place(workspace)}?dataPluginType=x").status_code == 400


def test_list_costs_the_same_whatever_its_length(api, workspace):
    def cost() -> int:
        api.get(place(workspace))
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{place(workspace)}?size=100").status_code == 200
        return len(queries)

    make_component(workspace, "tap-sql")
    few = cost()
    for _ in range(9):
        make_component(workspace, "target-postgres")
    assert cost() == few <= 8


def test_component_in_use_is_not_deleted_and_its_name_is_carried_over(api, workspace):
    row = make_component(workspace, "tap-sql", "Shop", properties={"host": "db"})
    pipeline = make_pipeline(workspace, "Orders", components=[row], properties={"Shop.user": "ida"}, status="DRAFT")
    address = reverse("api-datacomponent", args=[row.pk])
    refused = send(api, "DELETE", address)
    assert refused.status_code == 409 and "used by Orders" in refused.json()["message"]
    assert send(api, "PUT", address, {**SHOP, "name": "Shop db"}).status_code == 200
    pipeline.refresh_from_db()
    assert pipeline.properties == {"Shop db.user": "ida"}


def test_id_of_another_workspaces_component_is_not_there(api, workspace, stranger):
    theirs = make_component(stranger.memberships.get().workspace, "tap-sql")
    assert send(api, "PUT", place(workspace, theirs.pk), SHOP).status_code == 404
    own = make_plugin(stranger.memberships.get().workspace)
    refused = send(api, "PUT", place(workspace, uuid.uuid4()), {**SHOP, "dataPlugin": own.full_name})
    assert refused.status_code == 400 and "There is no plugin" in refused.json()["message"]


def test_members_read_and_owners_write(operator, workspace):
    row = make_component(workspace, "tap-sql", properties={"password": "hunter-two-2"})
    api = api_as(operator)
    body = api.get(reverse("api-datacomponent", args=[row.pk]))
    assert list(body.json()["_links"]) == ["self", "dataplugin", "workspace"]
    assert "hunter" not in body.content.decode()
    address = reverse("api-datacomponent", args=[row.pk])
    for method, path in [
        ("PUT", address),
        ("DELETE", address),
        ("POST", place(workspace)),
        ("PUT", place(workspace, row.pk)),
    ]:
        assert send(api, method, path, SHOP).status_code == 403
