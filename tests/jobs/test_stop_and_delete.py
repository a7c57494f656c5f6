"""Stopping and deleting, whatever state the job is in."""

import pytest

from jobs.claims import claim_job
from jobs.deletions import purge_deleted
from jobs.finishing import Ending, finish_job
from jobs.models import Job, JobCount, LogChunk
from jobs.services import JobNotActive, create_job, delete_job, request_stop
from jobs.status import JobStatus, StopReason
from pipelines.models import Pipeline
from pipelines.services import delete_pipeline
from tests.factories import make_job
from workspaces.models import Workspace
from workspaces.services import delete_workspace

pytestmark = pytest.mark.django_db


def counts():
    """Counters that are not zero."""
    return {row.status: row.count for row in JobCount.objects.all() if row.count}


def test_a_queued_job_is_stopped_at_once(pipeline, owner):
    job = request_stop(create_job(pipeline), user=owner)

    assert (job.status, job.stop_reason, job.stop_requested_by) == (JobStatus.STOPPED, StopReason.USER, owner)
    assert job.ended_at
    assert counts() == {"STOPPED": 1}


def test_a_running_job_is_asked_and_goes_on_until_its_processes_end(pipeline, owner):
    create_job(pipeline)
    job = request_stop(claim_job(worker_id=None), user=owner)

    assert job.status == JobStatus.RUNNING
    assert job.stop_requested_at
    assert job.stop_requested_by == owner


def test_a_second_stop_is_no_error_and_keeps_the_first(pipeline, owner, operator):
    create_job(pipeline)
    job = request_stop(claim_job(worker_id=None), user=owner)

    assert request_stop(job, user=operator).stop_requested_by == owner


@pytest.mark.parametrize("status", [JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED])
def test_an_ended_job_cannot_be_stopped(pipeline, status):
    with pytest.raises(JobNotActive, match="already"):
        request_stop(make_job(pipeline, status=status))


def test_an_ended_job_is_deleted_with_its_log(pipeline):
    job = make_job(pipeline, status=JobStatus.COMPLETE)
    LogChunk.objects.create(job=job, first_line=0, line_count=1, text="1\ta\tinfo\tb")
    delete_job(job)

    assert not Job.objects.exists()
    assert not LogChunk.objects.exists()


def test_a_queued_job_is_deleted_at_once_and_counted_no_more(pipeline):
    delete_job(create_job(pipeline))

    assert not Job.objects.exists()
    assert counts() == {}


def test_a_running_job_is_hidden_at_once_and_removed_at_its_end(pipeline, owner):
    create_job(pipeline)
    job = claim_job(worker_id=None)
    delete_job(job, user=owner)

    assert not Job.objects.visible().exists()
    assert Job.objects.get().stop_requested_at
    assert counts() == {}
    finish_job(job, claim=job.claim_token, ending=Ending(JobStatus.STOPPED, "Stopped", 143, StopReason.USER))
    assert not Job.objects.exists()
    assert counts() == {}


def test_a_deleted_pipeline_goes_when_its_job_has_ended(pipeline):
    create_job(pipeline)
    job = claim_job(worker_id=None)
    delete_pipeline(pipeline)
    purge_deleted()
    assert Pipeline.objects.filter(pk=pipeline.pk).exists()

    finish_job(job, claim=job.claim_token, ending=Ending(JobStatus.STOPPED, "Stopped", 143, StopReason.USER))
    purge_deleted()
    assert not Pipeline.objects.filter(pk=pipeline.pk).exists()
    assert not Job.objects.exists()


def test_a_deleted_workspace_goes_with_everything_in_it(workspace, pipeline):
    make_job(pipeline, status=JobStatus.COMPLETE)
    queued = create_job(pipeline)
    delete_workspace(workspace)
    queued.refresh_from_db()
    assert queued.status == JobStatus.STOPPED

    purge_deleted()
    assert not Workspace.objects.filter(pk=workspace.pk).exists()
