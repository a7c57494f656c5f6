"""Old logs, jobs and changes of states go; the last success of each pipeline always stays."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from jobs.counters import count_job
from jobs.engine.venvs import remove_environment, remove_leavings, unused
from jobs.models import Job, LogChunk, SkippedSlot
from jobs.status import TERMINAL, JobStatus, JobType
from pipelines.models import PipelineStateChange

BATCH = 200
ENVIRONMENT_DAYS = 30  # an environment that no run used for so long goes; the next that needs it builds it again


def keep_forever() -> set[object]:
    """The newest COMPLETE run of each pipeline."""
    newest = (
        Job.objects.filter(status=JobStatus.COMPLETE, type=JobType.PIPELINE_RUN)
        .values("pipeline_id")
        .annotate(number=Max("number"))
        .values_list("pipeline_id", "number")
    )
    kept: set[object] = set()
    for pipeline_id, number in newest:
        kept |= set(Job.objects.filter(pipeline_id=pipeline_id, number=number).values_list("pk", flat=True))
    return kept


def drop_old(now: datetime, *, batches: int = 5) -> tuple[int, int]:
    """Remove logs older than ELTSITE_LOG_DAYS and jobs older than ELTSITE_JOB_DAYS; how many of each.

    A few small batches per call: no pass holds the write lock for long.
    """
    kept = keep_forever()
    logs = jobs = 0
    log_limit = now - timedelta(days=settings.ELTSITE_LOG_DAYS)
    job_limit = now - timedelta(days=settings.ELTSITE_JOB_DAYS)
    for _ in range(batches):
        old = Job.objects.filter(status__in=TERMINAL, ended_at__lt=log_limit, log_chunks__isnull=False)
        ids = list(old.exclude(pk__in=kept).values_list("pk", flat=True).distinct()[:BATCH])
        logs += len(ids)
        LogChunk.objects.filter(job_id__in=ids).delete()
        jobs += _drop_jobs(job_limit, kept)
    SkippedSlot.objects.filter(slot_at__lt=job_limit).delete()
    _drop_state_changes(job_limit, BATCH * batches)
    return logs, jobs


def _drop_jobs(limit: datetime, kept: set[object]) -> int:
    with transaction.atomic():
        old = list(Job.objects.filter(status__in=TERMINAL, ended_at__lt=limit).exclude(pk__in=kept)[:BATCH])
        for job in old:
            count_job(job, status=job.status, delta=-1)
        Job.objects.filter(pk__in=[job.pk for job in old]).delete()
    return len(old)


def _drop_state_changes(limit: datetime, count: int) -> None:
    """As old as jobs may grow; of each state the newest stays, for it can be undone."""
    newest = PipelineStateChange.objects.order_by().values("state").annotate(newest=Max("pk")).values("newest")
    old = PipelineStateChange.objects.filter(created_at__lt=limit).exclude(pk__in=newest)
    PipelineStateChange.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:count])).delete()


def drop_unused_environments() -> int:
    """Remove environments of this host that nobody uses any more, and what dead builders left; how many."""
    folder = settings.ELTSITE_ENVIRONMENTS
    remove_leavings(folder)
    found = unused(folder, (), older_than_seconds=ENVIRONMENT_DAYS * 86_400)
    return sum(remove_environment(folder, digest) for digest in found)
