"""What a run is told of where to begin: the state that counts, and whether to look at it at all."""

from __future__ import annotations

import pytest

from jobs.services import create_job, retry_job
from jobs.specs import build_run_spec
from pipelines.models import PipelineState
from tests.factories import make_component, make_pipeline

pytestmark = pytest.mark.django_db
FILES = '[{"stream": "orders", "path": "orders.csv"}]'


@pytest.fixture
def orders(workspace):
    """A pipeline whose last run did not end."""
    source = make_component(workspace, "tap-files", "Files", properties={"files": FILES})
    store = make_component(workspace, "target-duckdb", "Warehouse", properties={"path": "w.duckdb"})
    pipeline = make_pipeline(workspace, "Orders", components=[source, store])
    PipelineState.objects.create(
        pipeline=pipeline,
        extractor=source,
        loader=store,
        state={"bookmarks": {"orders": {"value": 1}, "customers": {"value": 2}}},
        partial={"bookmarks": {"orders": {"value": 7}}},
        epoch=3,
        sequence=4,
    )
    return pipeline


def test_a_run_goes_on_from_complete_and_partial_together(orders):
    spec, row = build_run_spec(create_job(orders))
    move = spec.steps[0].spec
    assert move["state"] == {"bookmarks": {"orders": {"value": 7}, "customers": {"value": 2}}}
    assert (move["epoch"], move["sequence"], move["full_refresh"]) == (3, 4, False)
    assert row == orders.states.get()


def test_a_full_refresh_reaches_the_mover_and_its_retries(orders):
    job = create_job(orders, full_refresh=True)
    assert build_run_spec(job)[0].steps[0].spec["full_refresh"] is True
    type(job).objects.filter(pk=job.pk).update(status="ERROR")
    job.refresh_from_db()
    assert build_run_spec(retry_job(job))[0].steps[0].spec["full_refresh"] is True
