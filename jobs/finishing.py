"""How a job ends: the status, the counters and what follows from it, in one transaction."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction
from django.utils import timezone

from jobs.counters import count_day, move_job, remember_run
from jobs.engine.process import is_alive, kill_marked
from jobs.models import Job
from jobs.queue import wake
from jobs.services import PipelineBusy, create_job, remove_deleted
from jobs.status import JobStatus, JobType, StopReason, Trigger
from pipelines.models import Pipeline, PipelineStatus
from workspaces.models import Workspace, WorkspaceStatus

logger = logging.getLogger("eltsite.jobs")

LONGEST_RETRY_DELAY_SECONDS = 3600
EXIT_LOST = 137


@dataclass
class Ending:
    """How a run ended, in the words of a job's row."""

    status: JobStatus
    headline: str
    exit_code: int | None = None
    stop_reason: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)  # further columns to store with it


def finish_job(job: Job, *, claim: uuid.UUID, ending: Ending, now: datetime | None = None) -> bool:
    """End a running job; False when the claim is no longer ours, and then nothing is changed.

    1. the workspace's row is locked, then the pipeline's: in that order everywhere, and so that a trigger either
       sees this run or the next one;
    2. the status by compare and set, fenced by the claim;
    3. counters, the pipeline's recent runs, the status of what was checked or made;
    4. followers: a retry, a run asked for meanwhile, pipelines triggered by this one;
    5. a worker is woken, for this may be what a queued job waited for.
    """
    now = now or timezone.now()
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=job.workspace_id)
        if job.pipeline_id:
            Pipeline.objects.select_for_update(no_key=True).get(pk=job.pipeline_id)
        ended = Job.objects.all().transition(
            job.pk,
            to=ending.status,
            from_=[JobStatus.RUNNING],
            claim=claim,
            headline=ending.headline[:400],
            exit_code=ending.exit_code,
            stop_reason=ending.stop_reason,
            error=ending.error,
            ended_at=now,
            **ending.values,
        )
        if not ended:
            return False
        job = Job.objects.select_related("workspace", "pipeline").get(pk=job.pk)
        move_job(job, from_=JobStatus.RUNNING, to=job.status)
        count_day(job)
        remember_run(job)
        _settle_subject(job)
        _create_followers(job, now=now)
        wake()
    if job.deleted_at is not None:
        remove_deleted(job_id=job.pk)
    return True


def _settle_subject(job: Job) -> None:
    """Move what a check or a set-up was about out of PROVISIONING; the newest such job decides."""
    is_good = job.status == JobStatus.COMPLETE
    reason = (
        ""
        if is_good
        else " ".join(part for part in (job.headline.rstrip(".") + ".", job.error.get("remedy", "")) if part)
    )
    newer = Job.objects.filter(type=job.type, number__gt=job.number, workspace=job.workspace, pipeline=job.pipeline)
    if job.type == JobType.PIPELINE_CONFIG and not newer.exists():
        Pipeline.objects.filter(pk=job.pipeline_id, status=PipelineStatus.PROVISIONING).update(
            status=PipelineStatus.READY if is_good else PipelineStatus.FAILED, status_reason=reason
        )
    if job.type == JobType.WORKSPACE_INIT and not newer.exists():
        Workspace.objects.filter(pk=job.workspace_id).update(
            status=WorkspaceStatus.READY if is_good else WorkspaceStatus.FAILED, status_reason=reason
        )


def _create_followers(job: Job, *, now: datetime) -> None:
    if job.type != JobType.PIPELINE_RUN or job.pipeline is None or job.pipeline.deleting_at is not None:
        return
    if job.deleted_at is None and job.status == JobStatus.ERROR and job.attempt < job.max_attempts:
        delay = min(job.pipeline.retry_delay_seconds * 2**job.attempt, LONGEST_RETRY_DELAY_SECONDS)
        _follow(job.pipeline, job, trigger=Trigger.RETRY, not_before=now + timedelta(seconds=delay), **_again(job, 1))
    elif job.deleted_at is None and job.stop_reason == StopReason.SHUTDOWN:
        # Handed back: the same attempt goes on where it was, as soon as a worker is there again.
        _follow(job.pipeline, job, trigger=job.trigger, **_again(job, 0))
    elif job.pipeline.rerun_requested:
        trigger_job = Job.objects.filter(pk=job.pipeline.rerun_trigger_job_id).first()
        Pipeline.objects.filter(pk=job.pipeline_id).update(rerun_requested=False, rerun_trigger_job_id=None)
        _follow(job.pipeline, job, trigger=Trigger.PIPELINE, trigger_job=trigger_job)
    if job.status == JobStatus.COMPLETE:
        for downstream in job.pipeline.triggers.alive().order_by("number"):
            _trigger(downstream, job)


def _again(job: Job, further: int) -> dict[str, Any]:
    return {
        "retry_of": job,
        "attempt": job.attempt + further,
        "max_attempts": job.max_attempts,
        "full_refresh": job.full_refresh,
        "user": job.created_by,
        "trigger_job": job.trigger_job,
    }


def _trigger(downstream: Pipeline, job: Job) -> None:
    """Start a pipeline after another. One that is running now runs exactly once more afterwards."""
    locked = Pipeline.objects.select_for_update(no_key=True).get(pk=downstream.pk)
    try:
        with transaction.atomic():
            create_job(locked, trigger=Trigger.PIPELINE, trigger_job=job)
    except PipelineBusy as busy:
        if busy.job is not None and busy.job.status == JobStatus.RUNNING:
            Pipeline.objects.filter(pk=locked.pk).update(rerun_requested=True, rerun_trigger_job_id=job.pk)
    except OperationalError:
        raise  # the database's trouble, not the follower's: the whole ending is tried again
    except Exception as error:  # noqa: BLE001 - a follower that cannot start must not undo this job's end
        logger.warning("job %s could not trigger %s: %s", job.number, downstream, error, extra={"action": "trigger"})


def _follow(pipeline: Pipeline, job: Job, **values: Any) -> None:
    try:
        with transaction.atomic():
            create_job(pipeline, **values)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("no run follows job %s: %s", job.number, error, extra={"action": "follow"})


def fail_lost_jobs(*, now: datetime | None = None) -> int:
    """End the jobs whose worker is gone, as ERROR "worker lost"; returns how many.

    On this host a missing supervisor process is proof at once; of other hosts only the heartbeat tells. Processes
    of the job that still live are killed first: the store's key must not be given on while one of them writes.
    """
    now = now or timezone.now()
    lost = 0
    stale = set(Job.objects.all().stale(now).values_list("pk", flat=True))
    for job in Job.objects.filter(status=JobStatus.RUNNING).select_related("pipeline"):
        is_here = job.host == settings.ELTSITE_HOST
        is_gone = is_here and not is_alive(job.supervisor_pid or 0, job.supervisor_started or 0)
        if not (is_gone or job.pk in stale):
            continue
        try:
            if is_here:
                kill_marked(job.mark)
            lost += finish_job(job, claim=job.claim_token or uuid.uuid4(), ending=_lost(job), now=now)
        except Exception:  # one bad row must not keep the others
            logger.exception("job %s could not be ended as lost", job.number, extra={"action": "fail-lost"})
    return lost


def _lost(job: Job) -> Ending:
    if job.stop_requested_at is not None:
        return Ending(JobStatus.STOPPED, "Stopped; its worker was lost meanwhile", EXIT_LOST, job.stop_requested_reason)
    return Ending(
        JobStatus.ERROR,
        "Worker lost",
        EXIT_LOST,
        error={
            "reason": f"The worker on {job.host or 'its host'} ended while it ran this job. "
            "Rows it had committed are in the store, with their state.",
            "remedy": "Run it again: it continues from the stored state. If it happens again, look at the host's memory.",
            "code": "worker-lost",
        },
    )
