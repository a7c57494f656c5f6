"""How jobs end, and what follows: retries, triggers, hand-backs, counters, statuses."""

import contextlib
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs.claims import claim_job
from jobs.finishing import Ending, fail_lost_jobs, finish_job
from jobs.models import DayCount, Job, JobCount
from jobs.services import PipelineBusy, PipelineNotReady, create_job, delete_job, retry_job
from jobs.status import JobStatus, JobType, StopReason, Trigger
from pipelines.models import PipelineStatus
from pipelines.services import save_pipeline
from tests.factories import make_component, make_job, make_pipeline

pytestmark = pytest.mark.django_db

COMPLETE = Ending(JobStatus.COMPLETE, "Loaded 3 rows", 0)
ERROR = Ending(JobStatus.ERROR, "No such file", 1, error={"remedy": "Add it."})


def start(pipeline, **values):
    """A job of the pipeline, claimed."""
    job = create_job(pipeline, **values)
    claimed = claim_job(worker_id=None, now=max(timezone.now(), job.not_before or timezone.now()))
    assert claimed.pk == job.pk
    return claimed


def end(job, ending, **values):
    """End a claimed job."""
    return finish_job(job, claim=job.claim_token, ending=ending, **values)


def test_the_end_is_stored_with_code_headline_and_time(pipeline):
    job = start(pipeline)

    assert end(job, ERROR)
    job.refresh_from_db()
    assert (job.status, job.headline, job.exit_code) == (JobStatus.ERROR, "No such file", 1)
    assert job.ended_at >= job.started_at


def test_an_end_under_another_claim_changes_nothing(pipeline):
    job = start(pipeline)

    assert not finish_job(job, claim=uuid.uuid4(), ending=COMPLETE)
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING


def test_a_job_ends_once(pipeline):
    job = start(pipeline)

    assert end(job, COMPLETE)
    assert not end(job, ERROR)
    job.refresh_from_db()
    assert job.status == JobStatus.COMPLETE


def test_counters_days_and_recent_runs_follow(pipeline):
    for ending in (COMPLETE, ERROR, COMPLETE):
        end(start(pipeline), ending)

    counts = {row.status: row.count for row in JobCount.objects.filter(pipeline=pipeline)}
    assert counts == {"QUEUED": 0, "RUNNING": 0, "COMPLETE": 2, "ERROR": 1}
    assert {row.status: row.count for row in DayCount.objects.all()} == {"COMPLETE": 2, "ERROR": 1}
    pipeline.refresh_from_db()
    assert [run["status"] for run in pipeline.recent_runs] == ["COMPLETE", "ERROR", "COMPLETE"]


def test_recent_runs_keeps_the_last_thirty(pipeline):
    for _ in range(32):
        end(start(pipeline), COMPLETE)

    pipeline.refresh_from_db()
    assert [run["number"] for run in pipeline.recent_runs] == list(range(3, 33))


def test_an_error_is_tried_again_as_a_new_job_after_a_growing_delay(workspace):
    pipeline = make_pipeline(workspace, max_retries=2, retry_delay_seconds=10)
    now = timezone.now()
    first = start(pipeline)
    end(first, ERROR, now=now)

    second = Job.objects.get(retry_of=first)
    assert (second.attempt, second.max_attempts, second.trigger) == (1, 2, Trigger.RETRY)
    assert second.not_before == now + timedelta(seconds=10)

    claimed = claim_job(worker_id=None, now=second.not_before)
    end(claimed, ERROR, now=now)
    third = Job.objects.get(retry_of=second)
    assert third.not_before == now + timedelta(seconds=20)

    end(claim_job(worker_id=None, now=third.not_before), ERROR)
    assert Job.objects.count() == 3


@pytest.mark.parametrize(
    "ending",
    [
        COMPLETE,
        Ending(JobStatus.STOPPED, "Stopped", 143, StopReason.USER),
        Ending(JobStatus.STOPPED, "Timed out", 124, StopReason.TIMEOUT),
    ],
)
def test_only_errors_are_tried_again(workspace, ending):
    end(start(make_pipeline(workspace, max_retries=2)), ending)

    assert Job.objects.count() == 1


def test_a_run_handed_back_at_shutdown_is_queued_again_as_the_same_attempt(pipeline):
    job = start(pipeline, full_refresh=True)
    end(job, Ending(JobStatus.STOPPED, "Handed back", 143, StopReason.SHUTDOWN))

    again = Job.objects.get(retry_of=job)
    assert (again.status, again.attempt, again.full_refresh, again.not_before) == (JobStatus.QUEUED, 0, True, None)


def test_a_complete_run_starts_the_pipelines_it_triggers(workspace, pipeline):
    downstream = make_pipeline(workspace)
    downstream.triggered_by.add(pipeline)
    job = start(pipeline)
    end(job, COMPLETE)

    follower = Job.objects.get(pipeline=downstream)
    assert (follower.trigger, follower.trigger_job) == (Trigger.PIPELINE, job)


@pytest.mark.parametrize("ending", [ERROR, Ending(JobStatus.STOPPED, "Stopped", 143, StopReason.USER)])
def test_a_run_that_did_not_complete_triggers_nothing(workspace, pipeline, ending):
    make_pipeline(workspace).triggered_by.add(pipeline)
    end(start(pipeline), ending)

    assert Job.objects.count() == 1


def test_a_pipeline_triggered_twice_while_it_runs_runs_exactly_once_more(workspace, pipeline):
    downstream = make_pipeline(workspace)
    other = make_pipeline(workspace)
    downstream.triggered_by.add(pipeline, other)
    running = start(downstream)
    end(start(pipeline), COMPLETE)
    end(start(other), COMPLETE)
    assert Job.objects.filter(pipeline=downstream).count() == 1

    end(running, COMPLETE)
    again = Job.objects.active().get(pipeline=downstream)
    assert again.trigger == Trigger.PIPELINE
    end(claim_job(worker_id=None), COMPLETE)
    assert not Job.objects.active().filter(pipeline=downstream).exists()


def test_a_pipeline_that_cannot_be_triggered_does_not_undo_the_end(workspace, pipeline):
    broken = make_pipeline(workspace, status=PipelineStatus.FAILED)
    fine = make_pipeline(workspace)
    for downstream in (broken, fine):
        downstream.triggered_by.add(pipeline)
    job = start(pipeline)
    end(job, COMPLETE)

    job.refresh_from_db()
    assert job.status == JobStatus.COMPLETE
    assert Job.objects.filter(pipeline=fine).exists()


@pytest.mark.parametrize(("ending", "status"), [(COMPLETE, PipelineStatus.READY), (ERROR, PipelineStatus.FAILED)])
def test_a_check_moves_its_pipeline_out_of_provisioning(workspace, ending, status):
    pipeline = make_pipeline(workspace, status=PipelineStatus.PROVISIONING)
    end(start(pipeline, type=JobType.PIPELINE_CONFIG), ending)

    pipeline.refresh_from_db()
    assert pipeline.status == status
    assert pipeline.status_reason == ("" if status == PipelineStatus.READY else "No such file. Add it.")


def test_an_older_check_does_not_decide_over_a_newer_one(workspace):
    pipeline = make_pipeline(workspace, status=PipelineStatus.PROVISIONING)
    older = start(pipeline, type=JobType.PIPELINE_CONFIG)
    newer = start(pipeline, type=JobType.PIPELINE_CONFIG)
    end(newer, ERROR)
    end(older, COMPLETE)

    pipeline.refresh_from_db()
    assert pipeline.status == PipelineStatus.FAILED


def test_a_deleted_run_is_removed_at_its_end_and_not_tried_again(workspace):
    pipeline = make_pipeline(workspace, max_retries=3)
    job = start(pipeline)
    delete_job(job)
    assert Job.objects.filter(pk=job.pk).exists()

    end(job, ERROR)
    assert not Job.objects.exists()
    assert {row.status: row.count for row in JobCount.objects.all() if row.count} == {}


def test_a_running_job_whose_supervisor_is_gone_is_lost_at_once_and_follows_its_retry_rule(workspace, settings):
    pipeline = make_pipeline(workspace, max_retries=1)
    job = start(pipeline)
    Job.objects.update(supervisor_pid=2**22 - 1, supervisor_started=1.0)

    assert fail_lost_jobs() == 1
    job.refresh_from_db()
    assert (job.status, job.headline) == (JobStatus.ERROR, "Worker lost")
    assert Job.objects.filter(retry_of=job).exists()


def test_a_job_of_another_host_is_lost_only_when_its_heartbeat_is_stale(pipeline):
    job = start(pipeline)
    Job.objects.update(host="elsewhere", supervisor_pid=1, supervisor_started=1.0)

    assert fail_lost_jobs() == 0
    assert fail_lost_jobs(now=timezone.now() + timedelta(seconds=31)) == 1
    job.refresh_from_db()
    assert job.status == JobStatus.ERROR


def test_a_lost_job_that_was_to_stop_is_stopped(pipeline):
    job = start(pipeline)
    Job.objects.update(
        supervisor_pid=2**22 - 1, supervisor_started=1.0, stop_requested_at=timezone.now(), stop_requested_reason="USER"
    )

    fail_lost_jobs()
    job.refresh_from_db()
    assert (job.status, job.stop_reason) == (JobStatus.STOPPED, StopReason.USER)


def test_a_person_may_retry_an_ended_run_but_not_an_active_one(pipeline, owner):
    failed = make_job(pipeline, status=JobStatus.ERROR)
    again = retry_job(failed, user=owner)

    assert (again.retry_of, again.attempt, again.created_by) == (failed, 1, owner)
    with pytest.raises(Exception, match="queued"):
        retry_job(again)


@pytest.mark.django_db(transaction=True)
def test_saving_a_pipeline_while_its_runs_end_deadlocks_nobody(workspace):
    """Endings and saves lock the same rows; in another order one of them would be chosen to die."""
    pipelines = [make_pipeline(workspace, f"P{number}", max_retries=100, retry_delay_seconds=0) for number in range(2)]
    pipelines[1].triggered_by.add(pipelines[0])
    files = {"files": '[{"stream": "x", "path": "x.csv"}]'}
    components = [
        make_component(workspace, "tap-files", properties=files),
        make_component(workspace, "target-postgres"),
    ]
    components[1].properties = {"host": "db", "user": "me", "database": "shop"}
    components[1].save()
    faults = []

    def finish_runs():
        try:
            while any(thread.is_alive() for thread in savers):
                queued = Job.objects.filter(type=JobType.PIPELINE_RUN, status=JobStatus.QUEUED).first()
                values = {"claim_token": uuid.uuid4(), "started_at": timezone.now()}
                if queued and Job.objects.all().transition(
                    queued.pk, to=JobStatus.RUNNING, from_=[JobStatus.QUEUED], **values
                ):
                    finish_job(queued, claim=values["claim_token"], ending=ERROR if queued.number % 2 else COMPLETE)
                for pipeline in pipelines:
                    with contextlib.suppress(PipelineBusy, PipelineNotReady):
                        create_job(pipeline)
        except Exception as fault:  # noqa: BLE001 - any fault is the finding
            faults.append(fault)
        finally:
            connection.close()

    def save():
        try:
            for _ in range(25):
                for pipeline in pipelines:
                    save_pipeline(
                        workspace,
                        pipeline=pipeline,
                        label=pipeline.label,
                        components=components,
                        properties={},
                        max_retries=100,
                        retry_delay_seconds=0,
                    )
                    type(pipeline).objects.filter(pk=pipeline.pk).update(status=PipelineStatus.READY)
        except Exception as fault:  # noqa: BLE001 - as above
            faults.append(fault)
        finally:
            connection.close()

    savers = [threading.Thread(target=save) for _ in range(2)]
    finishers = [threading.Thread(target=finish_runs) for _ in range(2)]
    for thread in (*savers, *finishers):
        thread.start()
    for thread in (*savers, *finishers):
        thread.join()

    assert faults == []
    assert Job.objects.filter(type=JobType.PIPELINE_RUN).count() > 1, "the runs had a part in it"
