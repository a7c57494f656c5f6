"""The people and places of the tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.factories import make_pipeline, make_user, make_workspace


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix(request):
    """Processes of a parallel run: on the shared server each gets a database of its own; SQLite lies in its own home."""
    process = getattr(request.config, "workerinput", {}).get("workerid")
    if process and settings.TEST_DATABASE == "postgres":
        connection.settings_dict["TEST"]["NAME"] = f"test_eltsite_{process}"


@pytest.fixture
def owner(db):
    """The owner of `workspace`."""
    return make_user("olga")


@pytest.fixture
def workspace(db, owner):
    """A READY workspace."""
    return make_workspace(owner=owner)


@pytest.fixture
def operator(db, workspace):
    """A member of `workspace` who may run and stop."""
    person = make_user("oscar")
    workspace.memberships.create(user=person, role="operator")
    return person


@pytest.fixture
def viewer(db, workspace):
    """A member of `workspace` who may only read."""
    person = make_user("vera")
    workspace.memberships.create(user=person, role="viewer")
    return person


@pytest.fixture
def stranger(db):
    """The owner of another workspace."""
    person = make_user("stranger")
    make_workspace("Elsewhere", owner=person)
    return person


@pytest.fixture
def pipeline(db, workspace):
    """A READY pipeline of `workspace`."""
    return make_pipeline(workspace, "Orders nightly")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The address of a fresh, empty database on the run's PostgreSQL server; dropped afterwards."""
    server = os.environ["TEST_POSTGRES_URL"]
    name = f"data_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
