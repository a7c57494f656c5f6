"""Workspaces, members and tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from eltsite.errors import Conflict, Invalid, NotFound, Refused
from tests.factories import make_user
from workspaces.models import ApiToken, Membership, Role, Workspace, WorkspaceStatus
from workspaces.services import (
    create_workspace,
    delete_workspace,
    issue_token,
    remove_member,
    revoke_token,
    set_member,
    update_workspace,
)
from workspaces.signals import workspace_created, workspace_deleting


def test_workspace_is_made_with_owner_number_and_set_up_job(db):
    person = make_user("ida")
    first = create_workspace(name=" Shop ", owner=person, domains=["Example.COM", "example.com"])
    second = create_workspace(name="Lab", owner=person)
    first.refresh_from_db()
    person.refresh_from_db()
    assert (first.name, first.domains, first.status) == ("Shop", ["example.com"], WorkspaceStatus.PROVISIONING)
    assert second.number == first.number + 1
    assert first.memberships.get().role == Role.OWNER
    assert person.default_workspace == first
    assert first.jobs.get().type == "WORKSPACE_INIT"
    assert len(first.alias) == 7 and first.alias != second.alias


def test_failure_of_a_receiver_undoes_the_workspace(db):
    person = make_user("ida")

    def fail(sender, **_):
        raise RuntimeError("no")

    workspace_created.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            create_workspace(name="Shop", owner=person)
    finally:
        workspace_created.disconnect(fail)
    assert not Workspace.objects.exists() and not Membership.objects.exists()


@pytest.mark.parametrize(
    ("name", "domains", "field"), [("", [], "name"), ("x" * 121, [], "name"), ("x", ["a@b.c"], "domains")]
)
def test_workspace_faults_name_the_field(owner, name, domains, field):
    with pytest.raises(Invalid) as caught:
        create_workspace(name=name, owner=owner, domains=domains)
    assert [error.field for error in caught.value.errors] == [field]


def test_update_and_delete(workspace, owner):
    said = []

    def listen(sender, *, workspace, **_):
        said.append(workspace.name)

    assert update_workspace(workspace, name="New", domains=["example.com"]).name == "New"
    workspace_deleting.connect(listen)
    try:
        delete_workspace(workspace, user=owner)
    finally:
        workspace_deleting.disconnect(listen)
    assert said == ["New"]
    assert not Workspace.objects.visible_to(owner).exists()
    with pytest.raises(NotFound):
        update_workspace(workspace, name="Again")


def test_members_come_change_and_go(workspace, stranger):
    assert set_member(workspace, user=stranger, role="viewer").role == "viewer"
    assert set_member(workspace, user=stranger, role="operator").role == "operator"
    assert workspace.memberships.filter(user=stranger).count() == 1
    remove_member(workspace, user=stranger)
    with pytest.raises(NotFound, match="not a member"):
        remove_member(workspace, user=stranger)
    with pytest.raises(Invalid, match="Write one of viewer, operator, owner"):
        set_member(workspace, user=stranger, role="boss")


def test_last_owner_stays(workspace, owner, operator):
    for call in (
        lambda: set_member(workspace, user=owner, role="viewer"),
        lambda: remove_member(workspace, user=owner),
    ):
        with pytest.raises(Conflict, match="only owner"):
            call()
    set_member(workspace, user=operator, role="owner")
    set_member(workspace, user=owner, role="viewer")
    with pytest.raises(Conflict, match="only owner"):
        remove_member(workspace, user=operator)


def test_token_is_shown_once_and_kept_as_a_digest(workspace, operator):
    token, text = issue_token(operator, name=" nightly ", scope="run", workspace=workspace)
    token.refresh_from_db()
    assert text.startswith("elt_") and len(text) > 40
    assert token.digest == ApiToken.digest_of(text)
    assert text not in "".join(str(value) for value in vars(token).values())
    assert (token.name, token.prefix, text.startswith(token.prefix)) == ("nightly", text[:8], True)


def test_token_faults_come_at_once(operator):
    with pytest.raises(Invalid) as caught:
        issue_token(operator, name="", scope="root", expires_at=timezone.now() - timedelta(days=1))
    assert [error.field for error in caught.value.errors] == ["name", "scope", "expires_at"]


def test_token_for_a_workspace_of_others_is_refused(workspace, stranger):
    with pytest.raises(Refused, match="not a member"):
        issue_token(stranger, name="x", scope="read", workspace=workspace)


def test_token_is_revoked_once(operator):
    token, _ = issue_token(operator, name="x", scope="read")
    first = revoke_token(token).revoked_at
    assert first is not None
    assert revoke_token(token).revoked_at == first
