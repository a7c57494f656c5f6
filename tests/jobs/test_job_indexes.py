"""The questions asked all the time are answered from an index, however many jobs there are."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import Job

# Only SQLite plans the same for an empty table as for a full one.
pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL scans small tables, rightly")


@pytest.mark.parametrize(
    ("index", "question"),
    [
        ("job_by_status", lambda jobs, workspace, pipeline: jobs.active().order_by()),
        ("job_by_status", lambda jobs, workspace, pipeline: jobs.claimable("host", timezone.now())),
        ("job_by_status", lambda jobs, workspace, pipeline: jobs.stale(timezone.now())),
        ("visible_by_workspace", lambda jobs, workspace, pipeline: jobs.visible().filter(workspace=workspace)),
        ("visible_by_pipeline", lambda jobs, workspace, pipeline: jobs.visible().filter(pipeline=pipeline)),
        (
            "visible_by_status",
            lambda jobs, workspace, pipeline: jobs.visible().filter(workspace=workspace, status__in=["ERROR"]),
        ),
    ],
)
def test_an_index_answers(index, question, workspace, pipeline):
    plan = question(Job.objects.all(), workspace, pipeline).values("pk").explain()
    assert f"INDEX {index} " in plan
    if index.startswith("visible"):
        assert "TEMP B-TREE" not in plan
