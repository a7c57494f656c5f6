"""The admin of people, workspaces, memberships and tokens."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import PASSWORD, make_user, make_workspace
from workspaces.models import ApiToken, InstallationFact, Membership, User, Workspace
from workspaces.services import issue_token


@pytest.fixture
def admin(client, db):
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    return client


def errors_of(answer) -> dict[str, list[str]]:
    assert answer.status_code == 200, answer.status_code
    return {name: list(errors) for name, errors in answer.context["adminform"].form.errors.items()}


def queries_of(admin, url) -> int:
    with CaptureQueriesContext(connection) as seen:
        assert admin.get(url).status_code == 200
    return len(seen)


def test_admin_bears_the_products_name(admin):
    page = admin.get("/admin/").content.decode()
    assert "eltsite" in page and "Groups" not in page


def test_queue_and_groups_are_not_offered_and_every_model_of_ours_is(admin):
    offered = {model._meta.label for model in django_admin.site._registry}
    ours = [model for app in ("workspaces", "pipelines", "jobs") for model in apps.get_app_config(app).get_models()]
    assert {label for label in offered if label.startswith(("django_q", "auth"))} == set()
    # A component's place in a pipeline is part of the pipeline's page.
    assert {model._meta.label for model in ours} - offered == {"pipelines.PipelineComponent"}


def test_many_rows_are_never_deleted_past_the_services(admin, workspace):
    for model in ("user", "workspace", "membership", "apitoken"):
        assert "delete_selected" not in admin.get(f"/admin/workspaces/{model}/").content.decode()
    admin.post(
        "/admin/workspaces/workspace/",
        {"action": "delete_selected", "_selected_action": [str(workspace.pk)], "post": "yes"},
    )
    assert Workspace.objects.filter(pk=workspace.pk).exists()


def test_people_without_staff_rights_are_sent_away(client, owner):
    client.force_login(owner)
    assert client.get("/admin/").status_code == 302


def test_workspace_is_made_with_its_store_and_job(admin, owner):
    answer = admin.post(
        "/admin/workspaces/workspace/add/", {"name": "Shop", "domains": "a.com, b.com", "owner": owner.pk}
    )
    assert answer.status_code == 302
    room = Workspace.objects.get(name="Shop")
    assert room.domains == ["a.com", "b.com"]
    assert room.memberships.get().user == owner
    assert room.components.get().name == "Warehouse"
    assert room.jobs.get().type == "WORKSPACE_INIT"


def test_workspace_faults_stand_at_their_fields(admin, owner):
    answer = admin.post("/admin/workspaces/workspace/add/", {"name": "", "domains": "a@b", "owner": owner.pk})
    found = errors_of(answer)
    assert "Give it one" in found["name"][0] and "not an e-mail domain" in found["domains"][0]
    assert not Workspace.objects.filter(name="").exists()


def test_workspace_is_changed_and_hidden(admin, workspace):
    url = f"/admin/workspaces/workspace/{workspace.pk}/"
    assert admin.post(url + "change/", {"name": "Renamed", "domains": ""}).status_code == 302
    page = admin.get(url + "change/").content.decode()
    assert "Renamed" in page
    assert workspace.deployment_secret not in page
    assert admin.post(url + "delete/", {"post": "yes"}).status_code == 302
    workspace.refresh_from_db()
    assert (workspace.name, workspace.deleting_at is not None) == ("Renamed", True)


def test_last_owner_stays_by_the_form_too(admin, workspace, owner, stranger):
    url = f"/admin/workspaces/membership/{Membership.objects.get(workspace=workspace, user=owner).pk}/"
    assert "only owner" in errors_of(admin.post(url + "change/", {"role": "viewer"}))["__all__"][0]
    answer = admin.post(url + "delete/", {"post": "yes"}, follow=True)
    assert "only owner" in str(next(iter(answer.context["messages"])))
    data = {"workspace": workspace.pk, "user": stranger.pk, "role": "owner"}
    assert admin.post("/admin/workspaces/membership/add/", data).status_code == 302
    assert admin.post(url + "delete/", {"post": "yes"}).status_code == 302
    assert workspace.memberships.get().user == stranger


def test_token_is_shown_once_and_nowhere_else(admin, owner, workspace):
    data = {"user": owner.pk, "name": "nightly", "scope": "run", "workspace": workspace.pk}
    answer = admin.post("/admin/workspaces/apitoken/add/", data)
    assert answer.status_code == 200
    text = re.search(r"elt_[\w-]{30,}", answer.content.decode())
    assert text
    token = ApiToken.objects.get()
    assert token.digest == ApiToken.digest_of(text[0])
    assert "no-store" in answer["Cache-Control"]
    assert text[0] not in str(answer.cookies)
    for url in ("/admin/workspaces/apitoken/", f"/admin/workspaces/apitoken/{token.pk}/change/", "/admin/"):
        page = admin.get(url).content.decode()
        assert text[0] not in page and token.digest not in page


def test_token_faults_stand_at_their_fields(admin, owner, stranger, workspace):
    data = {"user": owner.pk, "name": "", "scope": "run", "expires_at_0": "2020-01-01", "expires_at_1": "00:00"}
    found = errors_of(admin.post("/admin/workspaces/apitoken/add/", data))
    assert set(found) == {"name", "expires_at"}
    data = {"user": stranger.pk, "name": "x", "scope": "run", "workspace": workspace.pk}
    assert "not a member" in errors_of(admin.post("/admin/workspaces/apitoken/add/", data))["__all__"][0]
    assert not ApiToken.objects.exists()


def test_tokens_are_revoked_by_an_action(admin, owner):
    token, _ = issue_token(owner, name="x", scope="read")
    admin.post("/admin/workspaces/apitoken/", {"action": "revoke", "_selected_action": [str(token.pk)]})
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_person_is_made_and_kept(admin, db):
    data = {"username": "ida", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert admin.post("/admin/workspaces/user/add/", data).status_code == 302
    person = User.objects.get(username="ida")
    assert person.check_password(PASSWORD)
    assert admin.get(f"/admin/workspaces/user/{person.pk}/change/").status_code == 200
    assert admin.post(f"/admin/workspaces/user/{person.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", ["user", "workspace", "membership", "apitoken", "installationfact"])
def test_lists_cost_the_same_however_long(admin, model):
    def more(count: int) -> None:
        for _ in range(count):
            person = make_user()
            room = make_workspace(owner=person)
            issue_token(person, name="x", scope="read", workspace=room)
            InstallationFact.objects.create(name=f"fact {person.pk}", value="x")

    url = f"/admin/workspaces/{model}/"
    more(1)
    few = queries_of(admin, url)
    more(8)
    assert queries_of(admin, url) == few <= 9
