"""Environments of connectors as rows: one per requirements and Python, held to the first lock until a person decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from eltsite.errors import Conflict
from pipelines import environments
from pipelines.models import PluginEnvironment
from pipelines.plugins import parse
from pipelines.services import (
    environment_for,
    rebuild_environment,
    record_built,
    record_error,
    record_lock,
    roll_back_environment,
    touch,
    upgrade_environment,
)
from tests.factories import make_user

NOW = datetime(2031, 3, 4, 5, 6, tzinfo=UTC)
FIRST = "tap-orchard==1.0 \\\n    --hash=sha256:aa\nrequests[socks]==2.31.0 ; python_version < '4' \\\n    --hash=sha256:bb\n"
SECOND = "tap-orchard==1.1 \\\n    --hash=sha256:cc\n"
ORCHARD = parse(
    {
        "name": "tap-orchard",
        "variant": "acme",
        "pluginType": "EXTRACTOR",
        "pipUrl": "tap-orchard ~= 1.0",
        "python": "3.11",
    }
)


@pytest.fixture
def person(db):
    return make_user("olga")


@pytest.fixture
def row(db):
    return environment_for(ORCHARD)


@pytest.fixture
def shipped(db, monkeypatch):
    """Locks as a release ships them; a test changes them for the next release."""
    locks = {ORCHARD.fingerprint: FIRST}
    monkeypatch.setattr(environments, "shipped_locks", lambda: locks)
    return locks


def fresh(row) -> PluginEnvironment:
    return PluginEnvironment.objects.get(pk=row.pk)


def resolved(row, lock=FIRST) -> PluginEnvironment:
    record_lock(row.fingerprint, lock, now=NOW)
    return fresh(row)


def test_environment_is_made_once_for_the_same_requirements(row):
    assert (row.requirements, row.python, row.lock, row.resolved_by) == ("tap-orchard ~= 1.0", "3.11", "", None)
    other = parse(
        {"name": "tap-b", "variant": "c", "pluginType": "EXTRACTOR", "pipUrl": "tap-orchard  ~= 1.0", "python": "3.11"}
    )
    assert environment_for(other).pk == row.pk
    assert PluginEnvironment.objects.count() == 1


def test_first_lock_wins(row):
    assert record_lock(row.fingerprint, FIRST, size_bytes=9, now=NOW) == FIRST
    assert record_lock(row.fingerprint, SECOND, size_bytes=5) == FIRST
    found = fresh(row)
    assert (found.lock, found.size_bytes, found.built_at, found.resolved_at) == (FIRST, 9, NOW, NOW)
    assert found.packages == {"tap-orchard": "1.0", "requests": "2.31.0"}


def test_build_from_a_lock_that_no_longer_counts_is_not_noted(row):
    resolved(row)
    record_built(row.fingerprint, SECOND, 7, now=NOW + timedelta(days=1))
    assert fresh(row).built_at == NOW
    record_built(row.fingerprint, FIRST, 7, now=NOW + timedelta(days=1))
    assert (fresh(row).built_at, fresh(row).size_bytes) == (NOW + timedelta(days=1), 7)


def test_error_of_a_build_is_kept_until_one_succeeds(row):
    record_error(row.fingerprint, "x" * 30_000 + "the end")
    assert fresh(row).error.endswith("the end") and len(fresh(row).error) == environments.LONGEST_ERROR
    assert resolved(row).error == ""


def test_use_is_noted_to_the_minute(row):
    for seconds in (0, 59, 61):
        touch(row.fingerprint, now=NOW + timedelta(seconds=seconds))
        assert fresh(row).used_at == (NOW if seconds < 60 else NOW + timedelta(seconds=61))


def test_upgrade_is_a_persons_act_with_one_step_back(row, person):
    resolved(row)
    upgraded = upgrade_environment(row, person)
    assert (upgraded.lock, upgraded.previous_lock, upgraded.packages) == ("", FIRST, {})
    assert (upgraded.resolved_by, upgraded.resolved_at, upgraded.built_at) == (person, None, None)
    with pytest.raises(Conflict, match="is being upgraded"):
        upgrade_environment(row, person)
    found = resolved(row, SECOND)
    assert (found.lock, found.previous_lock, found.resolved_by) == (SECOND, FIRST, person)
    back = roll_back_environment(row, person)
    assert (back.lock, back.previous_lock, back.packages["tap-orchard"], back.built_at) == (FIRST, SECOND, "1.0", None)
    assert roll_back_environment(row, person).lock == SECOND


def test_upgrade_that_fails_can_be_taken_back(row, person):
    resolved(row)
    upgrade_environment(row, person)
    record_error(row.fingerprint, "no such version")
    back = roll_back_environment(row, person)
    assert (back.lock, back.previous_lock, back.error) == (FIRST, "", "")
    with pytest.raises(Conflict, match="no earlier versions"):
        roll_back_environment(row, person)


def test_rebuild_keeps_the_versions_and_gives_the_lock_another_text(row, person):
    with pytest.raises(Conflict, match="no versions yet"):
        rebuild_environment(row, person)
    resolved(row)
    once = rebuild_environment(row, person)
    assert once.lock.startswith(FIRST.strip()) and once.lock != FIRST and once.built_at is None
    twice = rebuild_environment(row, person)
    assert twice.lock.count(environments.REBUILT) == 1
    assert environments.packages_of(twice.lock) == fresh(row).packages == {"tap-orchard": "1.0", "requests": "2.31.0"}


def test_shipped_connector_begins_with_the_shipped_lock(shipped):
    row = environment_for(ORCHARD)
    assert (row.lock, row.packages["tap-orchard"], row.resolved_at) == (FIRST, "1.0", None)


def test_next_release_replaces_a_shipped_lock_that_nobody_touched(shipped):
    row = environment_for(ORCHARD)
    environments.sync_locks()
    assert fresh(row).previous_lock == ""
    record_built(row.fingerprint, FIRST, now=NOW)
    shipped[ORCHARD.fingerprint] = SECOND
    environments.sync_locks()
    found = fresh(row)
    assert (found.lock, found.previous_lock, found.packages, found.built_at) == (
        SECOND,
        FIRST,
        {"tap-orchard": "1.1"},
        None,
    )


def test_rebuilt_shipped_lock_is_still_the_shipped_one(shipped, person):
    row = rebuild_environment(environment_for(ORCHARD), person)
    environments.sync_locks()
    assert fresh(row).lock == row.lock
    shipped[ORCHARD.fingerprint] = SECOND
    environments.sync_locks()
    assert fresh(row).lock == SECOND


@pytest.mark.parametrize("act", ["upgrade", "upgrade and resolve", "roll back", "resolve"])
def test_next_release_leaves_what_a_person_or_a_job_decided(act, shipped, person, row):
    PluginEnvironment.objects.filter(pk=row.pk).update(lock="" if act == "resolve" else FIRST, previous_lock="old==1\n")
    if act.startswith("upgrade"):
        upgrade_environment(row, person)
    if "resolve" in act:
        record_lock(row.fingerprint, "own==1\n")
    if act == "roll back":
        roll_back_environment(row, person)
    before = fresh(row)
    shipped[ORCHARD.fingerprint] = SECOND
    environments.sync_locks()
    assert fresh(row).lock == before.lock
    assert environment_for(ORCHARD).lock == before.lock


def test_environment_that_was_never_resolved_gets_the_lock_that_a_release_brings(row, monkeypatch):
    monkeypatch.setattr(environments, "shipped_locks", lambda: {ORCHARD.fingerprint: FIRST})
    environments.sync_locks()
    assert fresh(row).lock == FIRST


def test_locks_name_packages_pinned_by_address():
    lock = "a==1\n# via a comment==2\n    via==3\ntap-x @ git+https://example.com/x@abc\n"
    assert environments.packages_of(lock) == {"a": "1", "tap-x": "git+https://example.com/x@abc"}


def test_shipped_locks_belong_to_shipped_plugins():
    known = {plugin.fingerprint for plugin in environments.shipped_plugins() if plugin.pip_url}
    assert set(environments.shipped_locks()) <= known
    for lock in environments.shipped_locks().values():
        assert "--hash=" in lock and environments.packages_of(lock)


# ---------- admin ----------


def act(client, action, *rows):
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(reverse("admin:pipelines_pluginenvironment_changelist"), data, follow=True).content.decode()


def test_admin_upgrades_steps_back_and_rebuilds_and_edits_no_lock(client, row):
    root = make_user("root", is_staff=True, is_superuser=True)
    client.force_login(root)
    assert "no versions yet" in act(client, "upgrade", row)
    resolved(row)
    page = reverse("admin:pipelines_pluginenvironment_change", args=[row.pk])
    assert "tap-orchard 1.0" in client.get(page).content.decode()
    assert client.post(page, {"lock": "evil==1"}).status_code == 403
    assert "1 to be upgraded" in act(client, "upgrade", row)
    assert fresh(row).resolved_by == root
    assert "1 taken a step back" in act(client, "roll_back", row)
    assert "1 to be rebuilt" in act(client, "rebuild", row)
    assert fresh(row).lock.startswith("tap-orchard==1.0")
    assert client.get(reverse("admin:pipelines_pluginenvironment_changelist")).status_code == 200
