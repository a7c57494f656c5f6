"""What tests of jobs with connectors share."""

from __future__ import annotations

import os

import pytest
from django.conf import settings

from jobs import folders
from tests.fixtures.packages import make_connectors


@pytest.fixture
def requirement(monkeypatch, tmp_path_factory):
    """What the fixture connectors are required as, found without any index."""
    folders.ensure_run_as_user()
    wheels = settings.ELTSITE_ENVIRONMENTS.parent / f"wheels-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    found = make_connectors(wheels)
    wheels.chmod(0o755)
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return found
