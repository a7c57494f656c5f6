"""Making jobs: one active run per pipeline, row and wake-up together."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from eltsite.errors import NotFound
from jobs.models import Job, JobCount
from jobs.services import PipelineBusy, PipelineNotReady, create_job, delete_job
from jobs.status import JobStatus, JobType, StopReason, Trigger
from pipelines.models import PipelineStatus
from tests.factories import make_job, make_pipeline

pytestmark = pytest.mark.django_db


def count(pipeline, status):
    """The counter of a pipeline's runs in a status."""
    row = JobCount.objects.filter(pipeline=pipeline, type=JobType.PIPELINE_RUN, status=status).first()
    return row.count if row else 0


def test_a_job_is_queued_with_a_number_a_counter_and_one_wake_up(pipeline, owner):
    before = OrmQ.objects.count()
    job = create_job(pipeline, user=owner)

    assert (job.status, job.trigger, job.created_by) == (JobStatus.QUEUED, Trigger.MANUAL, owner)
    assert job.number == 1
    assert count(pipeline, JobStatus.QUEUED) == 1
    assert OrmQ.objects.count() == before + 1


def test_numbers_follow_each_other_within_a_workspace(workspace):
    numbers = [create_job(make_pipeline(workspace)).number for _ in range(3)]

    assert numbers == [1, 2, 3]


def test_row_and_wake_up_roll_back_together(pipeline):
    before = OrmQ.objects.count()
    with pytest.raises(RuntimeError), transaction.atomic():
        create_job(pipeline)
        raise RuntimeError

    assert not Job.objects.exists()
    assert OrmQ.objects.count() == before


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_a_second_active_run_is_refused_and_names_the_first(pipeline, status):
    first = make_job(pipeline, status=status)

    with pytest.raises(PipelineBusy) as caught:
        create_job(pipeline)
    assert caught.value.job == first
    assert f"job {first.number} ({status.lower()})" in caught.value.message
    assert Job.objects.count() == 1


def test_an_ended_run_does_not_stand_in_the_way(pipeline):
    make_job(pipeline, status=JobStatus.COMPLETE)

    assert create_job(pipeline).status == JobStatus.QUEUED


def test_a_check_may_be_queued_beside_a_run(pipeline):
    create_job(pipeline)

    assert create_job(pipeline, type=JobType.PIPELINE_ENV).status == JobStatus.QUEUED


@pytest.mark.parametrize("status", [PipelineStatus.PROVISIONING, PipelineStatus.DRAFT, PipelineStatus.FAILED])
def test_a_pipeline_that_is_not_ready_is_not_run_and_the_reason_is_said(workspace, status):
    pipeline = make_pipeline(workspace, "Orders", status=status, status_reason="The file is missing.")

    with pytest.raises(PipelineNotReady, match="Orders"):
        create_job(pipeline)
    assert not Job.objects.exists()


def test_a_stale_copy_of_the_pipeline_does_not_hide_that_it_is_not_ready(pipeline):
    type(pipeline).objects.update(status=PipelineStatus.FAILED)

    with pytest.raises(PipelineNotReady):
        create_job(pipeline)


def test_a_pipeline_being_deleted_is_not_run(pipeline):
    pipeline.deleting_at = timezone.now()

    with pytest.raises(NotFound):
        create_job(pipeline)


def test_a_manual_run_supersedes_a_waiting_retry(pipeline):
    failed = make_job(pipeline, status=JobStatus.ERROR)
    waiting = create_job(
        pipeline, trigger=Trigger.RETRY, retry_of=failed, not_before=timezone.now() + timedelta(hours=1)
    )

    job = create_job(pipeline)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.stop_reason) == (JobStatus.STOPPED, StopReason.SUPERSEDED)
    assert job.status == JobStatus.QUEUED
    assert count(pipeline, JobStatus.QUEUED) == 1


def test_a_retry_whose_time_has_come_is_not_superseded(pipeline):
    create_job(pipeline, trigger=Trigger.RETRY, not_before=timezone.now() - timedelta(seconds=1))

    with pytest.raises(PipelineBusy):
        create_job(pipeline)


def test_a_run_asked_for_while_a_deleted_one_still_stops_is_told_so(pipeline):
    running = make_job(pipeline, status=JobStatus.RUNNING)
    delete_job(running)

    with pytest.raises(PipelineBusy, match="being stopped"):
        create_job(pipeline)


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_make_one_job(workspace):
    pipeline = make_pipeline(workspace)
    start = threading.Barrier(50)
    outcomes = []

    def ask():
        start.wait()
        try:
            outcomes.append(create_job(pipeline).number)
        except PipelineBusy as busy:
            outcomes.append(busy)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == 50
    assert [outcome for outcome in outcomes if not isinstance(outcome, PipelineBusy)] == [1]
    assert Job.objects.count() == 1
    assert count(pipeline, JobStatus.QUEUED) == 1
    assert OrmQ.objects.count() == 1
