"""One pass of the scheduler: due pipelines, lost workers, forgotten jobs, retention. Each row in its own transaction.

Several schedulers may run: whoever moves `next_run_at` by compare and set fires the slot, the others see it gone.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from jobs import queue
from jobs.claims import explain_blocked
from jobs.deletions import purge_deleted
from jobs.engine.process import kill_marked, marked_processes
from jobs.finishing import fail_lost_jobs
from jobs.models import Job, SkippedSlot, Worker
from jobs.retention import drop_old, drop_unused_environments
from jobs.services import PipelineBusy, PipelineNotReady, create_job
from jobs.status import STALE_SECONDS, JobStatus, Trigger
from pipelines.cron import next_run_at
from pipelines.models import Pipeline

logger = logging.getLogger("eltsite.scheduler")

PASS_SECONDS = 1.0
SWEEP_EVERY = 10  # passes
RETAIN_EVERY = 600  # passes


def make_pass(*, count: int = 0, now: datetime | None = None) -> None:
    """Everything that is due now. One duty that fails does not keep the others."""
    now = now or timezone.now()
    duties = [create_due_jobs, fail_lost, wake_workers]
    if count % SWEEP_EVERY == 0:
        duties += [sweep_processes, finish_deletions]
    if count % RETAIN_EVERY == 0:
        duties.append(retain)
    for duty in duties:
        try:
            duty(now)
        except Exception:
            logger.exception("%s failed", duty.__name__, extra={"action": duty.__name__})


def create_due_jobs(now: datetime) -> int:
    """Fire every slot that has come; returns how many jobs were made."""
    made = 0
    for pipeline in Pipeline.objects.all().due(now).select_related("workspace")[:500]:
        try:
            made += fire(pipeline, now=now)
        except Exception:
            # The slot has been moved on already, in its own transaction: the row cannot wedge the loop.
            logger.exception("%s could not be started on schedule", pipeline, extra={"action": "fire"})
    return made


def fire(pipeline: Pipeline, *, now: datetime) -> bool:
    """Start a due pipeline; False when another scheduler was first, or the slot is skipped.

    1. `next_run_at` is moved past now by compare and set: after down time many slots become one run;
    2. the job is made; where one is active, the slot is recorded as skipped, with the reason.
    """
    slot = pipeline.next_run_at
    assert slot is not None
    upcoming = next_run_at(pipeline.schedule, time_zone=pipeline.time_zone, after=now)
    with transaction.atomic():
        mine = Pipeline.objects.filter(pk=pipeline.pk, next_run_at=slot, is_paused=False)
        if not mine.update(next_run_at=upcoming):
            return False
    try:
        create_job(pipeline, trigger=Trigger.SCHEDULE, slot_at=slot, now=now)
    except (PipelineBusy, PipelineNotReady) as reason:
        blocker = getattr(reason, "job", None)
        SkippedSlot.objects.get_or_create(
            pipeline=pipeline, slot_at=slot, defaults={"reason": str(reason)[:300], "job": blocker}
        )
        return False
    return True


def fail_lost(now: datetime) -> None:
    """End the jobs of workers that are gone."""
    fail_lost_jobs(now=now)


def wake_workers(now: datetime) -> None:
    """Wake as many workers as there are jobs to claim and free slots, unless wake-ups are waiting already."""
    explain_blocked()
    held = Job.objects.filter(status=JobStatus.RUNNING).exclude(exclusive_key="").values("exclusive_key")
    waiting = (
        Job.objects.filter(status=JobStatus.QUEUED, created_at__lt=now - timedelta(seconds=1))
        .exclude(not_before__gt=now)
        .exclude(exclusive_key__in=held)
        .count()
    )
    if waiting:
        slots = sum(Worker.objects.filter(is_draining=False).values_list("slots", flat=True)) or 1
        free = slots - Job.objects.filter(status=JobStatus.RUNNING).count()
        missing = min(waiting, free) - queue.waiting_wakes()
        queue.wake(max(0, missing))


def sweep_processes(now: datetime) -> None:
    """Kill processes of this host that belong to a job which is not running here any more."""
    marks = marked_processes().keys()
    if not marks:
        return
    # A mark of another installation on this host is not ours to kill: only those of jobs we know.
    ids = {mark: job_id for mark in marks if (job_id := _job_of(mark))}
    known = set(Job.objects.filter(pk__in=ids.values()).values_list("pk", flat=True))
    running = Job.objects.filter(status=JobStatus.RUNNING, host=settings.ELTSITE_HOST)
    orphans = {mark for mark, job_id in ids.items() if job_id in known} - {job.mark for job in running}
    if orphans:
        logger.warning("killed %s leftover process(es)", kill_marked(*orphans), extra={"action": "sweep"})


def _job_of(mark: str) -> UUID | None:
    try:
        return UUID(mark.split(":")[0])
    except ValueError:
        return None


def retain(now: datetime) -> None:
    """Drop old logs and jobs, and environments that nobody uses."""
    logs, jobs = drop_old(now)
    if logs or jobs:
        logger.info("dropped %s old log(s) and %s old job(s)", logs, jobs, extra={"action": "retain"})
    if gone := drop_unused_environments():
        logger.info("removed %s unused environment(s)", gone, extra={"action": "retain"})


def finish_deletions(now: datetime) -> None:
    """Remove what was deleted while it ran, workers not heard of for a day, and what django-q2 keeps of failures."""
    purge_deleted()
    Worker.objects.filter(heartbeat_at__lt=now - timedelta(seconds=STALE_SECONDS * 20)).delete()
    queue.prune(now)
