"""The admin of definitions: the services' rules and words, and no secret in any page."""

from __future__ import annotations

import json

import pytest
from django.contrib import admin as django_admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from pipelines.models import DataComponent, DataPlugin, Pipeline, PipelineState
from pipelines.services import pause_schedule, reset_state, save_component, save_file, save_pipeline, save_variable
from tests.factories import make_job, make_plugin, make_user, make_workspace
from workspaces.services import create_workspace, issue_token

ORDERS = '[{"stream": "orders", "path": "orders.csv"}]'
SECRETS = {"hunter-two-2", "s3cret-of-the-pipeline", "variable-secret-77"}
POSTGRES = {"host": "db.example.com", "user": "loader", "password": "hunter-two-2", "database": "shop"}


@pytest.fixture
def admin(client, db):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def room(owner):
    return create_workspace(name="Shop", owner=owner)


@pytest.fixture
def store(room):
    return save_component(room, name="Reports", plugin="target-postgres", properties=POSTGRES)


@pytest.fixture
def orders(room, store):
    return save_pipeline(
        room,
        label="Orders nightly",
        components=["extractors/tap-files", store],
        properties={"tap-files.files": ORDERS, "Reports.password": "s3cret-of-the-pipeline"},
        schedule="0 30 2 * * *",
        tags=["shop"],
    )


def url_of(row, page="change") -> str:
    return reverse(f"admin:pipelines_{row._meta.model_name}_{page}", args=[row.pk])


def errors_of(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200, answer.status_code
    return {name: list(errors) for name, errors in answer.context["adminform"].form.errors.items()}


def form_data(admin, row, **changes) -> dict[str, str]:
    """What a browser would send back for the row's page, with these changes."""
    form = admin.get(url_of(row)).context["adminform"].form
    data = {}
    for bound in form:
        value = bound.value()
        if value is not None and value is not False:
            data[bound.html_name] = (
                value if not isinstance(value, list) else [getattr(each, "pk", each) for each in value]
            )
    return data | changes


# ---------- components ----------


def test_component_is_made_in_two_steps(admin, room):
    plugin = DataPlugin.objects.get(name="tap-sql", variant="eltsite")
    answer = admin.post(
        reverse("admin:pipelines_datacomponent_add"), {"workspace": room.pk, "name": "Shop db", "plugin": plugin.pk}
    )
    made = DataComponent.objects.get(name="Shop db")
    assert answer.url == url_of(made)
    page = admin.get(answer.url).content.decode()
    for setting in ("dialect", "host", "port", "user", "password", "database", "sslmode", "path", "tables"):
        assert f'name="setting__{setting}"' in page
    data = form_data(admin, made, setting__host="db", setting__password="hunter-two-2", setting__port="5433")
    assert admin.post(answer.url, data).status_code == 302
    made.refresh_from_db()
    assert made.properties == {"host": "db", "password": "hunter-two-2", "port": "5433"}


def test_faults_of_a_component_stand_at_their_settings(admin, store):
    answer = admin.post(url_of(store), form_data(admin, store, name="", setting__port="many", setting__schema="x"))
    found = errors_of(answer)
    assert set(found) == {"name", "setting__port"}
    assert "many is not a whole number" in found["setting__port"][0]
    assert 'value="many"' in answer.content.decode()
    store.refresh_from_db()
    assert store.properties == POSTGRES


def test_broken_json_stands_at_its_setting(admin, room):
    files = save_component(room, name="Files", plugin="tap-files", properties={"files": ORDERS})
    answer = admin.post(url_of(files), form_data(admin, files, setting__files='[{"stream": "a"}]'))
    assert "Entry 1 has no path" in errors_of(answer)["setting__files"][0]


def test_name_that_is_taken_is_refused_in_the_services_words(admin, room, store):
    plugin = DataPlugin.objects.get(name="tap-files", variant="eltsite")
    answer = admin.post(
        reverse("admin:pipelines_datacomponent_add"), {"workspace": room.pk, "name": "Reports", "plugin": plugin.pk}
    )
    assert "There is a component Reports in this workspace already" in errors_of(answer)["name"][0]


def test_empty_secret_keeps_typed_replaces_and_tick_removes(admin, store):
    admin.post(url_of(store), form_data(admin, store, setting__schema="s"))
    store.refresh_from_db()
    assert store.properties == POSTGRES | {"schema": "s"}
    admin.post(url_of(store), form_data(admin, store, setting__password="new-secret"))
    store.refresh_from_db()
    assert store.properties["password"] == "new-secret"
    assert store.secrets_set["password"]["by"] == "root"
    admin.post(url_of(store), form_data(admin, store, clear__password="on"))
    store.refresh_from_db()
    assert "password" not in store.properties


def test_save_over_a_newer_revision_is_refused(admin, room, store):
    data = form_data(admin, store, setting__schema="mine")
    save_component(
        room, component=store, name="Reports", plugin=store.plugin, properties=POSTGRES | {"schema": "theirs"}
    )
    assert "Somebody else saved this" in errors_of(admin.post(url_of(store), data))["__all__"][0]
    store.refresh_from_db()
    assert store.properties["schema"] == "theirs"


def test_component_in_use_is_not_deleted_and_says_by_what(admin, orders, store):
    answer = admin.post(url_of(store, "delete"), {"post": "yes"}, follow=True)
    assert "used by Orders nightly" in str(next(iter(answer.context["messages"])))
    assert DataComponent.objects.filter(pk=store.pk).exists()


def test_unused_component_is_deleted_and_another_made_default(admin, room, store):
    act = {"action": "make_default", "_selected_action": [str(store.pk)]}
    admin.post(reverse("admin:pipelines_datacomponent_changelist"), act)
    assert room.components.get(is_default=True) == store
    assert admin.post(url_of(room.components.get(name="Warehouse"), "delete"), {"post": "yes"}).status_code == 302
    assert not room.components.filter(name="Warehouse").exists()


def test_selection_of_streams_is_edited_as_other_properties(admin, room):
    definition = {
        "name": "tap-orchard",
        "variant": "acme",
        "pluginType": "EXTRACTOR",
        "capabilities": ["CATALOG"],
        "settings": [{"name": "api_key", "kind": "PASSWORD"}],
    }
    DataPlugin.objects.create(
        workspace=room, plugin_type="EXTRACTOR", name="tap-orchard", variant="acme", definition=definition
    )
    orchard = save_component(room, name="Orchard", plugin="tap-orchard", properties={"_select": '["a.*"]'})
    data = form_data(admin, orchard, other_properties='{"_select": "[\\"b.*\\"]"}')
    assert admin.post(url_of(orchard), data).status_code == 302
    orchard.refresh_from_db()
    assert orchard.properties == {"_select": '["b.*"]'}
    data = form_data(admin, orchard)
    for broken in ("{", "[]"):
        assert "other_properties" in errors_of(admin.post(url_of(orchard), data | {"other_properties": broken}))
    found = errors_of(admin.post(url_of(orchard), data | {"other_properties": '{"nope": "x"}'}))
    assert "has no setting nope" in found["other_properties"][0]


# ---------- pipelines ----------


def new_pipeline(room, **changes) -> dict:
    parts = {component.plugin.name: component.pk for component in room.components.select_related("plugin")}
    data = {
        "workspace": room.pk,
        "label": "Orders",
        "extractor": parts.get("tap-files", ""),
        "loader": parts["target-duckdb"],
        "properties": "{}",
        "schedule": "0 30 2 * * *",
        "time_zone": "Europe/Berlin",
        "timeout_seconds": "3600",
        "max_retries": "2",
        "retry_delay_seconds": "10",
        "tag_words": "a, b",
    }
    return data | changes


def test_pipeline_is_made_and_checked(admin, room):
    save_component(room, name="Files", plugin="tap-files", properties={"files": ORDERS})
    assert admin.post(reverse("admin:pipelines_pipeline_add"), new_pipeline(room)).status_code == 302
    made = Pipeline.objects.get()
    assert (made.name, made.timeout_seconds, made.max_retries, made.tags) == ("orders", 3600, 2, ["a", "b"])
    assert made.next_run_at is not None
    assert made.jobs.get().type == "PIPELINE_CONFIG"
    page = admin.get(url_of(made)).content.decode()
    assert "PROVISIONING" in page or "Provisioning" in page


def test_faults_of_a_pipeline_stand_at_their_fields(admin, room):
    data = new_pipeline(
        room,
        label="",
        schedule="0 0 25 * * *",
        timeout_seconds="soon",
        properties='{"Warehouse.pth": "x"}',
        extractor="",
    )
    found = errors_of(admin.post(reverse("admin:pipelines_pipeline_add"), data))
    assert set(found) == {"label", "schedule", "timeout_seconds", "extractor"}
    assert "hour field" in found["schedule"][0]
    assert "soon" in found["timeout_seconds"][0]
    save_component(room, name="Files", plugin="tap-files", properties={"files": ORDERS})
    found = errors_of(
        admin.post(reverse("admin:pipelines_pipeline_add"), new_pipeline(room, properties='{"Warehouse.pth": "x"}'))
    )
    assert "Did you mean path?" in found["properties"][0]
    found = errors_of(admin.post(reverse("admin:pipelines_pipeline_add"), new_pipeline(room, properties="{x")))
    assert "not JSON" in found["properties"][0]
    assert not Pipeline.objects.exists()


def test_pipeline_is_changed_with_its_secrets_kept(admin, orders):
    data = form_data(admin, orders, label="Renamed", schedule="-")
    assert json.loads(data["properties"]) == {"tap-files.files": ORDERS, "Reports.password": "***"}
    assert admin.post(url_of(orders), data).status_code == 302
    orders.refresh_from_db()
    assert (orders.label, orders.name, orders.schedule, orders.next_run_at) == ("Renamed", "orders-nightly", "", None)
    assert orders.properties["Reports.password"] == "s3cret-of-the-pipeline"
    assert orders.tags == ["shop"]


def test_circle_of_triggers_stands_at_the_triggers(admin, room, orders):
    other = save_pipeline(
        room, label="Other", components=["tap-files", "Warehouse"], properties={"tap-files.files": ORDERS},
        triggered_by=[orders],
    )  # fmt: skip
    found = errors_of(admin.post(url_of(orders), form_data(admin, orders, triggers=[str(other.pk)])))
    assert "Other" in found["triggers"][0] and "circle" in found["triggers"][0]


def test_pipeline_is_hidden_by_delete_without_counting_what_hangs_on_it(admin, orders):
    for _ in range(5):
        make_job(orders, status="COMPLETE")
    with CaptureQueriesContext(connection) as seen:
        admin.get(url_of(orders, "delete"))
    assert not [query for query in seen if "jobs_logchunk" in query["sql"]]
    assert admin.post(url_of(orders, "delete"), {"post": "yes"}).status_code == 302
    assert not Pipeline.objects.alive().filter(pk=orders.pk).exists()


def test_actions_pause_resume_and_reset(admin, orders):
    act = {"_selected_action": [str(orders.pk)]}
    url = reverse("admin:pipelines_pipeline_changelist")
    admin.post(url, act | {"action": "pause"})
    orders.refresh_from_db()
    assert orders.is_paused and orders.next_run_at is None
    admin.post(url, act | {"action": "resume"})
    orders.refresh_from_db()
    assert not orders.is_paused and orders.next_run_at is not None
    admin.post(url, act | {"action": "reset"})
    assert PipelineState.objects.get(pipeline=orders).epoch == 1
    make_job(orders, status="RUNNING")
    answer = admin.post(url, act | {"action": "reset"}, follow=True)
    assert any("busy with job" in str(message) for message in answer.context["messages"])


# ---------- files and variables ----------


def test_file_is_typed_changed_and_sent(admin, room):
    add = reverse("admin:pipelines_workspacefile_add")
    data = {"workspace": room.pk, "path": "models/a.sql", "text": "SELECT 1\r\n"}
    assert admin.post(add, data).status_code == 302
    file = room.files.get()
    assert bytes(file.content) == b"SELECT 1\n"
    assert admin.post(url_of(file), {"text": "SELECT 2"}).status_code == 302
    file.refresh_from_db()
    assert bytes(file.content) == b"SELECT 2"
    upload = SimpleUploadedFile("x.bin", b"\xff\xfe\x00")
    assert admin.post(add, {"workspace": room.pk, "path": "x.bin", "text": "", "upload": upload}).status_code == 302
    binary = room.files.get(path="x.bin")
    assert 'name="text"' not in admin.get(url_of(binary)).content.decode()
    assert admin.post(url_of(binary), {}).status_code == 302
    binary.refresh_from_db()
    assert bytes(binary.content) == b"\xff\xfe\x00"
    assert "must stay inside" in errors_of(admin.post(add, data | {"path": "../x"}))["path"][0]


def test_variable_is_written_and_kept(admin, room):
    add = reverse("admin:pipelines_workspacevariable_add")
    data = {"workspace": room.pk, "name": "KEY", "value": "variable-secret-77", "is_sensitive": "on"}
    assert admin.post(add, data).status_code == 302
    variable = room.variables.get()
    assert admin.post(url_of(variable), {"value": "", "is_sensitive": "on"}).status_code == 302
    variable.refresh_from_db()
    assert variable.value == "variable-secret-77"
    assert "Write its value again" in errors_of(admin.post(url_of(variable), {"value": ""}))["value"][0]
    assert "not a name of a variable" in errors_of(admin.post(add, data | {"name": "A B"}))["name"][0]


# ---------- everywhere ----------


def test_no_secret_is_in_any_page(admin, room, orders, owner):
    save_variable(room, name="KEY", value="variable-secret-77")
    save_file(room, path="models/a.sql", content=b"SELECT 1")
    reset_state(orders, user=owner)
    make_job(orders, status="COMPLETE")
    _, token = issue_token(owner, name="x", scope="read")
    room.refresh_from_db()
    secrets = SECRETS | {token, room.deployment_secret}
    seen = 0
    for model, model_admin in django_admin.site._registry.items():
        app = model._meta.app_label
        if app not in ("workspaces", "pipelines", "jobs"):
            continue
        pages = [reverse(f"admin:{app}_{model._meta.model_name}_changelist")]
        for row in model_admin.get_queryset(admin.get("/admin/").wsgi_request)[:20]:
            names = [f"admin:{app}_{model._meta.model_name}_{page}" for page in ("change", "history", "delete")]
            pages += [reverse(name, args=[row.pk]) for name in names]
        for page in pages:
            answer = admin.get(page)
            assert answer.status_code in (200, 403), page
            html = answer.content.decode()
            assert not [secret for secret in secrets if secret in html], page
            seen += answer.status_code == 200
    assert seen > 40


def test_no_secret_is_in_a_page_with_faults(admin, store, orders):
    for row, wrong in [(store, {"setting__port": "x"}), (orders, {"schedule": "x"})]:
        answer = admin.post(url_of(row), form_data(admin, row, **wrong))
        assert errors_of(answer)
        assert not [secret for secret in SECRETS if secret in answer.content.decode()]
    typed = admin.post(url_of(store), form_data(admin, store, setting__port="x", setting__password="typed-just-now"))
    assert "typed-just-now" not in typed.content.decode()


MODELS = [
    "datacomponent",
    "dataplugin",
    "pipeline",
    "pipelinestate",
    "pipelinestatechange",
    "workspacefile",
    "workspacevariable",
]


@pytest.mark.parametrize("model", MODELS)
def test_lists_cost_the_same_however_long(admin, owner, model):
    def more(count: int) -> None:
        for number in range(count):
            room = make_workspace(f"Room {number}", owner=owner)
            save_component(room, name="Warehouse", plugin="target-duckdb", properties={})
            made = save_pipeline(
                room, label="Orders", components=["extractors/tap-files", "Warehouse"],
                properties={"tap-files.files": ORDERS}, schedule="0 30 2 * * *", user=owner,
            )  # fmt: skip
            reset_state(made, user=owner)
            pause_schedule(made, now=made.created_at)
            save_file(room, path="models/a.sql", content=b"SELECT 1")
            save_variable(room, name="KEY", value="variable-secret-77", user=owner)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert admin.get(reverse(f"admin:pipelines_{model}_changelist")).status_code == 200
        return len(seen)

    more(1)
    few = queries()
    more(6)
    assert queries() <= few + 1 <= 10  # a filter over workspaces appears when there is a choice


def test_form_of_a_pipeline_costs_the_same_however_many_there_are(admin, room, orders):
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert admin.get(url_of(orders)).status_code == 200
        return len(seen)

    few = queries()
    for number in range(5):
        save_component(room, name=f"Store {number}", plugin="target-files", properties={})
        save_pipeline(
            room, label=f"P {number}", components=["tap-files", "Warehouse"], properties={"tap-files.files": ORDERS}
        )
    assert queries() == few


def test_definition_shows_no_default_of_a_secret(admin, room):
    settings = [{"name": "api_key", "kind": "PASSWORD", "value": "hunter-two-2"}]
    plugin = make_plugin(room, settings=settings)
    page = admin.get(url_of(plugin)).content.decode()
    assert "api_key" in page and "***" in page
    assert "hunter-two-2" not in page
