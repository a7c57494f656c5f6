"""What may be done to a job: make it, stop it, try it again, delete it. Pages, API and admin call these."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from eltsite.errors import Conflict, NotFound
from jobs.admission import needs_of
from jobs.counters import count_job, move_job
from jobs.models import Job, Worker
from jobs.queue import wake
from jobs.status import ACTIVE, STALE_SECONDS, TERMINAL, JobStatus, JobType, StopReason, Trigger
from pipelines.models import DataComponent, Pipeline, PipelineStatus
from workspaces.models import Workspace

TESTS = (JobType.PIPELINE_ENV, JobType.COMPONENT_TEST)

if TYPE_CHECKING:
    from workspaces.models import User


class PipelineBusy(Conflict):
    """This pipeline has an active job; only one may be queued or running."""

    code = "pipeline-busy"

    def __init__(self, message: str | None = None, *, job: Job | None = None) -> None:
        super().__init__(message)
        self.job = job


class PipelineNotReady(Conflict):
    """This pipeline is not ready to run."""

    code = "pipeline-not-ready"


class JobNotActive(Conflict):
    """This job has already ended."""

    code = "job-not-active"


class JobNotRetriable(Conflict):
    """Only a pipeline run that ended can be tried again."""

    code = "job-not-retriable"


def create_job(
    pipeline: Pipeline,
    *,
    type: str = JobType.PIPELINE_RUN,
    trigger: str = Trigger.MANUAL,
    user: User | None = None,
    full_refresh: bool = False,
    now: datetime | None = None,
    **more: Any,
) -> Job:
    """Queue a job of a pipeline and wake a worker, in one transaction.

    Uniqueness is the database's: the row is inserted, and a second active run is refused by the constraint.
    Raises NotFound (being deleted), PipelineNotReady, PipelineBusy with `.job` (the one in the way).
    """
    now = now or timezone.now()
    if pipeline.deleting_at is not None:
        raise NotFound(f"{pipeline.label} is being deleted.")
    if type == JobType.PIPELINE_RUN:
        _require_ready(pipeline)
    for _ in range(3):
        try:
            with transaction.atomic():
                return _insert_job(
                    pipeline.workspace,
                    pipeline=pipeline,
                    type=type,
                    trigger=trigger,
                    created_by=user,
                    full_refresh=full_refresh,
                    created_at=now,
                    **more,
                )
        except IntegrityError:
            blocker = _active_run(pipeline)
        if blocker is not None and not _supersede(blocker, now=now):
            raise PipelineBusy(_busy_sentence(pipeline, blocker), job=blocker)
    raise PipelineBusy(_busy_sentence(pipeline, None))


def create_workspace_job(workspace: Workspace, *, type: str, user: User | None = None) -> Job:
    """Queue a job that belongs to the workspace itself."""
    with transaction.atomic():
        return _insert_job(
            workspace, pipeline=None, type=type, trigger=Trigger.SYSTEM, created_by=user, created_at=timezone.now()
        )


def create_component_test(component: DataComponent, *, user: User | None = None, trigger: str = Trigger.MANUAL) -> Job:
    """Queue a test of one component by itself: its connection, its streams, a few rows; nothing is loaded."""
    with transaction.atomic():
        return _insert_job(
            component.workspace,
            pipeline=None,
            component=component,
            type=JobType.COMPONENT_TEST,
            trigger=trigger,
            created_by=user,
            created_at=timezone.now(),
        )


def _insert_job(workspace: Workspace, *, pipeline: Pipeline | None, type: str, **values: Any) -> Job:
    Workspace.objects.filter(pk=workspace.pk).update(next_job_number=F("next_job_number") + 1)
    number = Workspace.objects.values_list("next_job_number", flat=True).get(pk=workspace.pk) - 1
    needs = needs_of(workspace, pipeline, type, values.get("component"))
    if pipeline is not None:
        values.setdefault("timeout_seconds", pipeline.deadline_seconds)
        values.setdefault("max_attempts", pipeline.max_retries if type == JobType.PIPELINE_RUN else 0)
    job = Job.objects.create(
        workspace=workspace,
        pipeline=pipeline,
        type=type,
        number=number,
        exclusive_key=needs.exclusive_key,
        required_host=needs.required_host,
        **values,
    )
    count_job(job, status=JobStatus.QUEUED, delta=1)
    wake()
    return job


def _require_ready(pipeline: Pipeline) -> None:
    status = Pipeline.objects.values_list("status", "status_reason").get(pk=pipeline.pk)
    if status[0] == PipelineStatus.READY:
        return
    because = {
        PipelineStatus.PROVISIONING: "is still being checked. Run it in a moment, when it is Ready.",
        PipelineStatus.DRAFT: "is a draft. Complete and save it first.",
        PipelineStatus.FAILED: f"failed its check: {status[1] or 'see its last check'} Mend that and save it, then run it.",
    }[PipelineStatus(status[0])]
    raise PipelineNotReady(f"{pipeline.label} {because}")


def _active_run(pipeline: Pipeline) -> Job | None:
    return Job.objects.active().filter(pipeline=pipeline, type=JobType.PIPELINE_RUN).first()


def _busy_sentence(pipeline: Pipeline, job: Job | None) -> str:
    if job is None:
        return f"{pipeline.label} is busy with other runs at this moment. Try again."
    if job.deleted_at is not None:
        return f"Job {job.number} of {pipeline.label} is being stopped. Run it again when that is done."
    return (
        f"{pipeline.label} is busy with job {job.number} ({job.status.lower()}). "
        "Wait until it ends, or stop it, then run again."
    )


def _supersede(job: Job, *, now: datetime) -> bool:
    """Whether a waiting retry made way for a run that does not wait."""
    if job.status != JobStatus.QUEUED or job.not_before is None or job.not_before <= now:
        return False
    return _stop_queued(job, reason=StopReason.SUPERSEDED, user=None, now=now)


def _stop_queued(job: Job, *, reason: str, user: User | None, now: datetime) -> bool:
    with transaction.atomic():
        stopped = Job.objects.all().transition(
            job.pk,
            to=JobStatus.STOPPED,
            from_=[JobStatus.QUEUED],
            stop_reason=reason,
            stop_requested_by=user,
            stop_requested_at=now,
            ended_at=now,
            queued_reason="",
            headline="Superseded by a newer run" if reason == StopReason.SUPERSEDED else "Stopped before it started",
        )
        if stopped:
            move_job(job, from_=JobStatus.QUEUED, to=JobStatus.STOPPED)
    return stopped


def request_stop(
    job: Job, *, user: User | None = None, now: datetime | None = None, reason: str = StopReason.USER
) -> Job:
    """Stop a job: a queued one ends at once, a running one when its processes have. Raises JobNotActive."""
    now = now or timezone.now()
    if not _stop_queued(job, reason=reason, user=user, now=now):
        asked = Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING, stop_requested_at__isnull=True)
        if not asked.update(stop_requested_at=now, stop_requested_by=user, stop_requested_reason=reason):
            current = Job.objects.filter(pk=job.pk).first()
            if current is None or current.status not in ACTIVE:
                ended = f"ended {current.status.lower()}" if current else "been removed"
                raise JobNotActive(f"Job {job.number} has already {ended}; there is nothing to stop.")
    job.refresh_from_db()
    return job


def delete_job(job: Job, *, user: User | None = None, now: datetime | None = None) -> None:
    """Remove a job with its log. An active one is hidden and stopped now, and removed when no process of it lives."""
    now = now or timezone.now()
    with transaction.atomic():
        hidden = Job.objects.select_for_update().filter(pk=job.pk, deleted_at__isnull=True).first()
        if hidden is None:
            return
        count_job(hidden, status=hidden.status, delta=-1)
        Job.objects.filter(pk=job.pk).update(deleted_at=now)
        hidden.deleted_at = now
    if hidden.status in ACTIVE:
        try:
            request_stop(hidden, user=user, now=now)
        except (JobNotActive, Job.DoesNotExist):
            pass  # it ended in between
    remove_deleted(job_id=hidden.pk)


def remove_deleted(**only: Any) -> int:
    """Remove the rows of deleted jobs that have ended; returns how many."""
    found = Job.objects.filter(deleted_at__isnull=False, status__in=TERMINAL)
    if "job_id" in only:
        found = found.filter(pk=only["job_id"])
    ids = list(found.values_list("pk", flat=True)[:100])
    Job.objects.filter(pk__in=ids).delete()
    return len(ids)


def remove_tests_of(component: DataComponent) -> None:
    """Remove a component's ended tests. Raises Conflict where one is active: its processes still use the component."""
    tests = Job.objects.filter(component=component)
    active = tests.filter(status__in=ACTIVE).order_by("number").first()
    if active is not None:
        how, remedy = active.status.lower(), "Stop it, or wait until it has ended; then delete the component."
        if active.stop_requested_at:
            how, remedy = "being stopped", "Delete the component when that is done."
        raise Conflict(f"Job {active.number}, a test of {component.name}, is {how}. {remedy}")
    for job in tests:
        count_job(job, status=job.status, delta=-1)
    tests.delete()


def retry_job(job: Job, *, user: User | None = None, now: datetime | None = None) -> Job:
    """Run an ended job's pipeline again, as the next attempt; it goes on from the stored state.

    Raises JobNotRetriable, and what create_job raises.
    """
    if job.pipeline is None or job.type != JobType.PIPELINE_RUN:
        again = "Start the test again." if job.type in TESTS else "Save the pipeline again to repeat its check."
        raise JobNotRetriable(f"Job {job.number} is no pipeline run. {again}")
    if job.status not in TERMINAL:
        raise JobNotRetriable(f"Job {job.number} is {job.status.lower()}. Wait until it ends, or stop it first.")
    return create_job(
        job.pipeline,
        trigger=Trigger.RETRY,
        user=user,
        full_refresh=job.full_refresh,
        retry_of=job,
        attempt=job.attempt + 1,
        now=now,
    )


def why_queued(job: Job, *, now: datetime | None = None) -> str:
    """What a queued job waits for, in a sentence; empty for one that is not queued."""
    if job.status != JobStatus.QUEUED:
        return ""
    now = now or timezone.now()
    if job.not_before and job.not_before > now:
        return f"Waits {max(1, round((job.not_before - now).total_seconds()))} s before this attempt."
    if job.queued_reason:
        return job.queued_reason
    workers = _live_workers(now)
    if not workers:
        return "No worker is running. Start one: manage.py worker (manage.py up does)."
    if job.required_host and job.required_host not in {worker.host for worker in workers}:
        return f"Waits for a worker on {job.required_host}: its files are there, and no worker of that host is running."
    return "Waits for a free slot."


def _live_workers(now: datetime) -> list[Worker]:
    return list(Worker.objects.filter(heartbeat_at__gt=now - timedelta(seconds=STALE_SECONDS)))
