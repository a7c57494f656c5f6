"""Claiming: one worker per job, one writer per store, the right host, the best job first."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs.claims import claim_job
from jobs.finishing import Ending, finish_job
from jobs.models import Job, Worker
from jobs.services import create_job, why_queued
from jobs.status import JobStatus, JobType
from tests.factories import make_component, make_job, make_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture
def warehouse(workspace):
    """A component that writes a DuckDB file."""
    return make_component(workspace, "target-duckdb", "Warehouse")


def make_worker(**values):
    """A worker that was heard of just now."""
    now = timezone.now()
    values = {"host": "here", "pid": 1, "slots": 2, "version": "1", "started_at": now, "heartbeat_at": now, **values}
    return Worker.objects.create(**values)


def finish(job):
    """End a claimed job well."""
    assert finish_job(job, claim=job.claim_token, ending=Ending(JobStatus.COMPLETE, "Done", 0))


def test_a_claim_moves_the_job_to_running_with_a_token_and_its_supervisor(pipeline, settings):
    create_job(pipeline)
    job = claim_job(worker_id=None)

    assert job.status == JobStatus.RUNNING
    assert isinstance(job.claim_token, uuid.UUID)
    assert job.host == settings.ELTSITE_HOST
    assert job.supervisor_pid
    assert job.started_at == job.heartbeat_at
    assert claim_job(worker_id=None) is None


def test_nothing_queued_nothing_claimed(db):
    assert claim_job(worker_id=None) is None


def test_the_oldest_run_is_first_but_a_check_goes_before_it(workspace):
    runs = [create_job(make_pipeline(workspace)) for _ in range(2)]
    check = create_job(runs[0].pipeline, type=JobType.PIPELINE_ENV)

    assert [claim_job(worker_id=None).pk for _ in range(3)] == [check.pk, runs[0].pk, runs[1].pk]


def test_two_runs_that_write_one_duckdb_file_run_one_after_the_other_and_say_so(workspace, warehouse):
    pipelines = [make_pipeline(workspace, f"P{number}", components=[warehouse]) for number in range(2)]
    jobs = [create_job(pipeline) for pipeline in pipelines]
    first = claim_job(worker_id=None)

    assert first.pk == jobs[0].pk
    assert claim_job(worker_id=None) is None
    jobs[1].refresh_from_db()
    assert jobs[1].status == JobStatus.QUEUED
    assert f"job {first.number} of P0, which is writing the same DuckDB file" in why_queued(jobs[1])

    finish(first)
    assert claim_job(worker_id=None).pk == jobs[1].pk


def test_two_ways_to_one_file_are_one_store(workspace, warehouse):
    other = make_component(workspace, "target-duckdb", "Other", properties={"path": "./files/../warehouse.duckdb"})
    for component in (warehouse, other):
        create_job(make_pipeline(workspace, components=[component]))

    assert claim_job(worker_id=None)
    assert claim_job(worker_id=None) is None


def test_a_blocked_job_at_the_head_does_not_hold_those_behind_it(workspace, warehouse):
    for _ in range(2):
        create_job(make_pipeline(workspace, components=[warehouse]))
    free = create_job(make_pipeline(workspace))
    claim_job(worker_id=None)

    assert claim_job(worker_id=None).pk == free.pk


def test_the_database_alone_refuses_a_second_holder_of_a_key(workspace, warehouse):
    jobs = [create_job(make_pipeline(workspace, components=[warehouse])) for _ in range(2)]
    claim_job(worker_id=None)
    # As if the other holder had been claimed in the same instant: our look at the held keys saw nothing.
    Job.objects.filter(pk=jobs[1].pk).update(exclusive_key="")

    assert claim_job(worker_id=None) is None
    jobs[1].refresh_from_db()
    assert jobs[1].status == JobStatus.QUEUED
    assert jobs[1].exclusive_key


def test_a_job_bound_to_another_host_is_left_to_it(workspace, warehouse):
    type(workspace).objects.update(home_host="elsewhere")
    workspace.refresh_from_db()
    job = create_job(make_pipeline(workspace, components=[warehouse]))

    assert job.required_host == "elsewhere"
    assert claim_job(worker_id=None) is None
    make_worker()
    assert "elsewhere" in why_queued(job)


def test_a_waiting_retry_is_claimed_when_its_time_has_come(pipeline):
    job = create_job(pipeline, not_before=timezone.now() + timedelta(minutes=5))

    assert claim_job(worker_id=None) is None
    assert "Waits 300 s" in why_queued(job, now=job.not_before - timedelta(minutes=5))
    assert claim_job(worker_id=None, now=job.not_before).pk == job.pk


def test_a_draining_worker_claims_nothing(pipeline):
    create_job(pipeline)

    assert claim_job(worker_id=str(make_worker(is_draining=True).pk)) is None


def test_a_worker_whose_slots_are_full_claims_nothing(workspace, pipeline):
    worker = make_worker(slots=1)
    make_job(pipeline, status=JobStatus.RUNNING, worker=worker)
    create_job(make_pipeline(workspace))

    assert claim_job(worker_id=str(worker.pk)) is None


def test_without_a_worker_a_queued_job_says_how_to_start_one(pipeline):
    assert "manage.py worker" in why_queued(create_job(pipeline))


@pytest.mark.django_db(transaction=True)
def test_many_claimers_at_once_claim_each_job_once_and_each_store_once(workspace, warehouse):
    free = [create_job(make_pipeline(workspace)) for _ in range(6)]
    for _ in range(6):
        create_job(make_pipeline(workspace, components=[warehouse]))
    start = threading.Barrier(12)
    claimed = []

    def claim():
        start.wait()
        try:
            for _ in range(3):
                if job := claim_job(worker_id=None):
                    claimed.append(job.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=claim) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(set(claimed))
    running = Job.objects.filter(status=JobStatus.RUNNING)
    assert set(claimed) == set(running.values_list("pk", flat=True))
    assert running.exclude(exclusive_key="").count() == 1
    assert {job.pk for job in free} <= set(claimed)
