"""A person's change of the state against jobs that begin and against other people, all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from jobs.models import Job
from jobs.services import PipelineBusy, create_job
from pipelines.locks import ChangedMeanwhile
from pipelines.models import PipelineState, PipelineStateChange
from pipelines.services import edit_state, reset_state
from pipelines.state import StateBusy
from tests.factories import make_component, make_pipeline, make_user
from tests.pipelines.test_concurrent_saves import at_once
from workspaces.services import create_workspace

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 8


@pytest.fixture
def loaded():
    owner = make_user("olga")
    room = create_workspace(name="Shop", owner=owner)
    pair = [make_component(room, "tap-sql", "Source"), make_component(room, "target-duckdb", "Store")]
    pipeline = make_pipeline(room, "Orders", components=pair)
    PipelineState.objects.create(pipeline=pipeline, extractor=pair[0], loader=pair[1], state={"bookmarks": {}})
    return pipeline


def beside(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[bool, Any]:
    """Whether `second` waited while the transaction of `first` was open, and what became of it afterwards."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(second())
        except Exception as error:  # noqa: BLE001
            results.append(error)
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with transaction.atomic():
        first()
        other.start()
        other.join(0.5)
        waited = other.is_alive()
    other.join(60)
    return waited, results[0]


def test_an_edit_waits_for_a_job_that_is_being_made_and_is_then_refused(loaded):
    waited, result = beside(lambda: create_job(loaded), lambda: edit_state(loaded, state={}, user=None))
    assert waited and isinstance(result, StateBusy), result
    assert loaded.states.get().epoch == 0


def test_a_job_waits_for_an_edit_that_is_being_made(loaded):
    waited, result = beside(lambda: edit_state(loaded, state={}, user=None), lambda: create_job(loaded))
    assert waited and isinstance(result, Job), result
    assert loaded.states.get().epoch == 1


def test_an_edit_is_before_the_job_or_refused_and_never_beside_it(loaded):
    for number in range(ROUNDS):
        epoch = loaded.states.get().epoch
        results = at_once(
            [
                lambda: create_job(loaded),
                lambda: edit_state(loaded, state={"bookmarks": {"orders": {"value": 1}}}, user=None),
                lambda: reset_state(loaded, user=None),
            ]
        )
        job, *changes = results
        assert isinstance(job, Job), job
        refused = [each for each in changes if isinstance(each, StateBusy)]
        assert all(isinstance(each, PipelineState | list | StateBusy) for each in changes), changes
        assert loaded.states.get().epoch == epoch + 2 - len(refused), number
        Job.objects.filter(pk=job.pk).delete()


def test_of_two_edits_of_one_version_one_is_told(loaded):
    results = at_once([lambda: edit_state(loaded, state={}, user=None, expected=(0, 0))] * 2)
    assert sorted(isinstance(each, ChangedMeanwhile) for each in results) == [False, True]
    assert PipelineStateChange.objects.count() == 1


def test_the_first_edits_of_a_pair_make_one_state(loaded):
    PipelineState.objects.all().delete()
    results = at_once([lambda: edit_state(loaded, state={}, user=None)] * 4)
    assert all(isinstance(each, PipelineState) for each in results), results
    assert loaded.states.get().epoch == 4


def test_jobs_and_edits_in_both_orders_end_without_a_deadlock(loaded):
    results = at_once(
        [lambda: create_job(loaded), lambda: edit_state(loaded, state={}, user=None)] * 4,
    )
    known = (Job, PipelineState, PipelineBusy, StateBusy)
    assert all(isinstance(each, known) for each in results), results
