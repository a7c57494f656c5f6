"""Tokens, sessions, scopes and roles of the API's callers; `manage.py create_token`."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tests.api_client import api_as, make_token
from tests.factories import make_user
from workspaces.models import ApiToken, Membership
from workspaces.permissions import VERBS, Access, can

ALLOWED = {"viewer": {"read"}, "operator": {"read", "run"}, "owner": set(VERBS)}


def bearer(secret, scheme="Bearer"):
    return Client(headers={"Authorization": f"{scheme} {secret}"})


@pytest.mark.parametrize("scope", VERBS)
@pytest.mark.parametrize("role", ALLOWED)
def test_a_verb_needs_both_the_role_and_the_scope(db, workspace, role, scope):
    person = make_user()
    workspace.memberships.create(user=person, role=role)
    make_token(person, scope=scope)
    token = ApiToken.objects.get()
    for verb in VERBS:
        by_scope = VERBS.index(verb) <= VERBS.index(scope)
        assert can(person, workspace, verb) is (verb in ALLOWED[role])
        assert can(person, workspace, verb, token) is (verb in ALLOWED[role] and by_scope)


def test_nobody_else_may_anything(workspace, stranger):
    superuser = make_user(is_superuser=True)
    assert not any(can(stranger, workspace, verb) for verb in VERBS)
    assert all(can(superuser, workspace.pk, verb) for verb in VERBS)


def test_roles_are_read_once_for_many_questions(owner, workspace, django_assert_num_queries):
    access = Access(owner)
    with django_assert_num_queries(1):
        assert all(access.can(workspace, verb) for verb in VERBS for _ in range(10))


def test_a_change_of_role_holds_from_the_next_request_on(viewer, workspace, pipeline):
    api = api_as(viewer)
    path = f"/api/pipelines/{pipeline.pk}/jobs"
    assert api.post(path, content_type="application/json").status_code == 403
    Membership.objects.filter(user=viewer).update(role="operator")
    assert api.post(path, content_type="application/json").status_code == 201
    Membership.objects.filter(user=viewer).delete()
    assert api.get(path).status_code == 404


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case(owner, scheme):
    assert bearer(make_token(owner), scheme).get("/api").status_code == 200


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"revoked_at": timezone.now()}, "revoked"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired"),
    ],
)
def test_a_token_that_has_ended_says_so(owner, values, word):
    response = bearer(make_token(owner, name="old laptop", **values)).get("/api")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="eltsite"'
    assert word in response.json()["message"] and "old laptop" in response.json()["message"]


def test_a_token_works_until_it_expires(owner):
    secret = make_token(owner, expires_at=timezone.now() + timedelta(minutes=1))
    assert bearer(secret).get("/api").status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 5000, "é", "two words"])
def test_an_unknown_token_is_a_401(db, secret):
    assert bearer(secret.encode().decode("latin-1")).get("/api").status_code == 401


def test_a_digest_is_no_token(owner):
    make_token(owner)
    assert bearer(ApiToken.objects.get().digest).get("/api").status_code == 401


def test_the_token_of_a_switched_off_account_is_refused(owner):
    secret = make_token(owner)
    owner.is_active = False
    owner.save()
    response = bearer(secret).get("/api")
    assert (response.status_code, "switched off" in response.json()["message"]) == (401, True)


def test_another_scheme_is_as_good_as_none(owner):
    assert bearer(make_token(owner), "Basic").get("/api").status_code == 401


def test_a_wrong_token_is_not_made_good_by_a_session(owner):
    client = bearer("wrong")
    client.force_login(owner)
    assert client.get("/api").status_code == 401


def test_the_last_use_is_noted_once_a_minute(owner):
    secret = make_token(owner)
    assert bearer(secret).get("/api").status_code == 200
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    bearer(secret).get("/api")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    bearer(secret).get("/api")
    assert ApiToken.objects.get().last_used_at >= first


def test_a_signed_in_browser_may_read_and_with_its_token_change(owner, pipeline):
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    path = f"/api/pipelines/{pipeline.pk}/jobs"
    assert client.get(path).status_code == 200
    assert client.post(path, content_type="application/json").status_code == 403
    token = "a" * 32
    client.cookies["eltsite_csrf"] = token
    response = client.post(path, content_type="application/json", headers={"X-CSRFToken": token})
    assert response.status_code == 201


# ---------- manage.py create_token ----------


def create_token(*arguments):
    out = StringIO()
    call_command("create_token", *arguments, stdout=out)
    return out.getvalue().strip()


def test_a_token_is_printed_once_and_works(owner, workspace):
    secret = create_token("olga")
    token = ApiToken.objects.get()
    assert (token.scope, token.name, token.expires_at, token.workspace) == ("admin", "command line", None, None)
    assert secret not in (token.digest, token.prefix)
    body = bearer(secret).get("/api/workspaces").json()
    assert body["_embedded"]["workspaces"][0]["id"] == str(workspace.pk)


def test_a_token_can_be_narrowed(owner, workspace):
    for named in (workspace.alias, str(workspace.pk)):
        create_token("olga", "--scope", "run", "--name", "nightly", "--workspace", named, "--days", "3")
    for token in ApiToken.objects.all():
        assert (token.scope, token.name, token.workspace) == ("run", "nightly", workspace)
        assert timedelta(days=2) < token.expires_at - timezone.now() < timedelta(days=3, seconds=5)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nobody"], "no user nobody"),
        (["olga", "--workspace", "nowhere"], "no workspace with alias or id nowhere"),
        (["olga", "--days", "0"], "from 1 to"),
        (["olga", "--days", "99999999"], "from 1 to"),
        (["olga", "--name", " "], "name"),
        (["olga", "--scope", "all"], "scope"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(owner, arguments, reason):
    with pytest.raises(CommandError, match=reason):
        create_token(*arguments)
    assert not ApiToken.objects.exists()


def test_a_token_for_a_workspace_of_others_is_refused(owner, stranger):
    elsewhere = stranger.memberships.get().workspace
    with pytest.raises(CommandError, match="member of no workspace"):
        create_token("olga", "--workspace", elsewhere.alias)
