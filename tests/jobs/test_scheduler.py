"""Schedules fire once, late or not; lost things are found; old things go."""

import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from jobs import scheduler
from jobs.engine.process import MARK
from jobs.models import Job, LogChunk, SkippedSlot, Worker
from jobs.retention import drop_old
from jobs.services import create_job
from jobs.status import JobStatus, Trigger
from pipelines.models import Pipeline, PipelineState, PipelineStateChange, PipelineStatus
from tests.factories import make_component, make_job, make_pipeline

pytestmark = pytest.mark.django_db

SLOT = datetime(2026, 3, 2, 2, 30, tzinfo=UTC)


@pytest.fixture
def nightly(workspace):
    """A pipeline due at SLOT."""
    return make_pipeline(workspace, "Nightly", schedule="0 30 2 * * *", next_run_at=SLOT)


def test_nothing_fires_before_its_time(nightly):
    assert scheduler.create_due_jobs(SLOT - timedelta(seconds=1)) == 0


def test_a_due_pipeline_runs_and_its_next_slot_is_set(nightly):
    assert scheduler.create_due_jobs(SLOT + timedelta(seconds=1)) == 1

    job = Job.objects.get()
    assert (job.trigger, job.slot_at) == (Trigger.SCHEDULE, SLOT)
    nightly.refresh_from_db()
    assert nightly.next_run_at == SLOT + timedelta(days=1)
    assert scheduler.create_due_jobs(SLOT + timedelta(seconds=2)) == 0


def test_after_down_time_one_run_is_made_not_one_per_missed_slot(nightly):
    now = SLOT + timedelta(days=5, hours=3)

    assert scheduler.create_due_jobs(now) == 1
    nightly.refresh_from_db()
    assert nightly.next_run_at == datetime(2026, 3, 8, 2, 30, tzinfo=UTC)


def test_a_paused_or_deleted_pipeline_does_not_fire(nightly, workspace):
    Pipeline.objects.update(is_paused=True)
    make_pipeline(workspace, schedule="0 30 2 * * *", next_run_at=SLOT, deleting_at=timezone.now())

    assert scheduler.create_due_jobs(SLOT) == 0


def test_a_slot_that_comes_while_a_job_is_active_is_recorded_with_the_reason(nightly):
    running = make_job(nightly, status=JobStatus.RUNNING)

    assert scheduler.create_due_jobs(SLOT) == 0
    skipped = SkippedSlot.objects.get()
    assert (skipped.slot_at, skipped.job) == (SLOT, running)
    assert f"job {running.number}" in skipped.reason
    nightly.refresh_from_db()
    assert nightly.next_run_at > SLOT


def test_a_slot_of_a_pipeline_that_is_not_ready_is_recorded(nightly):
    Pipeline.objects.update(status=PipelineStatus.FAILED)
    scheduler.create_due_jobs(SLOT)

    assert "failed its check" in SkippedSlot.objects.get().reason


def test_one_broken_row_does_not_stop_the_others(nightly, workspace):
    make_pipeline(workspace, schedule="no cron at all", next_run_at=SLOT - timedelta(minutes=1))

    assert scheduler.create_due_jobs(SLOT) == 1
    assert Job.objects.get().pipeline == nightly


@pytest.mark.django_db(transaction=True)
def test_several_schedulers_fire_a_slot_once(workspace):
    make_pipeline(workspace, schedule="0 30 2 * * *", next_run_at=SLOT)
    start = threading.Barrier(6)
    made = []

    def fire():
        start.wait()
        try:
            made.append(scheduler.create_due_jobs(SLOT))
        finally:
            connection.close()

    threads = [threading.Thread(target=fire) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(made) == 1
    assert Job.objects.count() == 1
    assert not SkippedSlot.objects.exists()


def test_a_queued_job_whose_wake_up_was_lost_is_woken_again_but_not_twice(pipeline):
    now = timezone.now()
    Worker.objects.create(host="here", pid=1, slots=2, version="1", started_at=now, heartbeat_at=now)
    create_job(pipeline, now=now - timedelta(seconds=5))
    OrmQ.objects.all().delete()

    scheduler.wake_workers(now)
    scheduler.wake_workers(now)
    assert OrmQ.objects.count() == 1


def test_a_process_left_by_an_ended_job_is_killed_and_one_of_a_running_job_is_not(pipeline, workspace, settings):
    ended = make_job(pipeline, status=JobStatus.ERROR)
    running = make_job(make_pipeline(workspace), status=JobStatus.RUNNING, host=settings.ELTSITE_HOST)
    left, kept, foreign = (
        subprocess.Popen(["sleep", "60"], env={MARK: mark}, start_new_session=True)
        for mark in (f"{ended.pk}:0", f"{running.pk}:0", "something else")
    )
    try:
        scheduler.sweep_processes(timezone.now())
        left.wait(5)  # gone; its status was taken by the sweep
        assert kept.poll() is None
        assert foreign.poll() is None
    finally:
        for process in (left, kept, foreign):
            process.kill()
            process.wait()


def test_old_logs_go_before_old_jobs_and_the_last_success_stays(pipeline, workspace):
    now = timezone.now()
    ages = {"last success": 200, "old error": 100, "error of last month": 40, "yesterday": 1}
    jobs = {}
    for name, days in ages.items():
        status = JobStatus.COMPLETE if name == "last success" else JobStatus.ERROR
        jobs[name] = make_job(pipeline, status=status, now=now - timedelta(days=days))
        LogChunk.objects.create(job=jobs[name], first_line=0, line_count=1, text="1\ta\tinfo\tb")

    drop_old(now)
    left = set(Job.objects.values_list("pk", flat=True))
    assert left == {jobs[name].pk for name in ("last success", "error of last month", "yesterday")}
    assert set(LogChunk.objects.values_list("job_id", flat=True)) == {
        jobs[name].pk for name in ("last success", "yesterday")
    }


def test_old_changes_of_a_state_go_and_the_newest_stays(pipeline, workspace):
    now = timezone.now()
    ends = {"extractor": make_component(workspace, "tap-files"), "loader": make_component(workspace, "target-duckdb")}
    state = PipelineState.objects.create(pipeline=pipeline, **ends)
    ends["extractor"] = make_component(workspace, "tap-files")
    earlier = PipelineState.objects.create(pipeline=pipeline, **ends)
    ages = [(state, "oldest", 200), (state, "old", 100), (state, "newest", 91), (earlier, "only", 300)]
    for of, reason, days in ages:
        change = PipelineStateChange.objects.create(state=of, reason=reason)
        PipelineStateChange.objects.filter(pk=change.pk).update(created_at=now - timedelta(days=days))
    drop_old(now)
    assert {change.reason for change in PipelineStateChange.objects.all()} == {"newest", "only"}
