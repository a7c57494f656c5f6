"""Real processes around the test database."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.conf import settings

from jobs import installation as set_up
from tests.e2e.installation import Installation, until
from tests.factories import make_user
from workspaces.services import create_workspace


@pytest.fixture
def installation(transactional_db, tmp_path):
    """A prepared installation; its processes are ended afterwards, and none may be left."""
    set_up.ensure_run_as_user()
    running = Installation(tmp_path / "processes.log")
    try:
        yield running
    finally:
        running.stop()
        print(running.log[-4000:])
        shutil.rmtree(Path(settings.ELTSITE_HOME) / "workspaces", ignore_errors=True)


@pytest.fixture
def worker(installation):
    """A running worker."""
    return installation.start("worker")


@pytest.fixture
def shop(installation, worker):
    """A workspace made the real way: its warehouse was made by a job."""
    workspace = create_workspace(name="Shop", owner=make_user("olga"))

    def is_ready():
        workspace.refresh_from_db()
        return workspace.status == "READY"

    until(is_ready, seconds=40, what="the workspace to be ready")
    return workspace
