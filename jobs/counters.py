"""Counters that pages and the API read instead of counting a million rows. Kept in the transaction of each change."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from jobs.models import DayCount, Job, JobCount
from jobs.status import JobType

RECENT_RUNS = 30


def count_job(job: Job, *, status: str, delta: int) -> None:
    """Change the number of visible jobs of this job's kind in `status`."""
    if job.deleted_at is None:
        _add(
            JobCount,
            delta,
            workspace_id=job.workspace_id,
            pipeline_id=job.pipeline_id,
            type=job.type,
            status=status,
        )


def move_job(job: Job, *, from_: str, to: str) -> None:
    """Count a visible job under another status."""
    count_job(job, status=from_, delta=-1)
    count_job(job, status=to, delta=1)


def count_day(job: Job) -> None:
    """Count an ended run on its day."""
    if job.type == JobType.PIPELINE_RUN and job.ended_at is not None:
        _add(DayCount, 1, workspace_id=job.workspace_id, day=job.ended_at.date(), status=job.status)


def _add(model: Any, delta: int, **key: Any) -> None:
    """Add to a counter, making its row when it is the first of its kind."""
    found = model.objects.filter(**key)
    if found.update(count=F("count") + delta):
        return
    try:
        with transaction.atomic():
            model.objects.create(**key, count=delta)
    except IntegrityError:  # another transaction made it first
        found.update(count=F("count") + delta)


def remember_run(job: Job) -> None:
    """Put an ended run into its pipeline's last 30. The pipeline's row must be locked by the caller."""
    pipeline = job.pipeline
    if pipeline is None or job.type != JobType.PIPELINE_RUN:
        return
    run = {
        "id": str(job.pk),
        "number": job.number,
        "status": job.status,
        "stop_reason": job.stop_reason,
        "seconds": round(job.duration_seconds or 0, 3),
        "rows": job.rows_written,
        "at": (job.started_at or job.created_at).isoformat(),
        "ended_at": job.ended_at.isoformat() if job.ended_at else None,
        "headline": job.headline[:200],
    }
    pipeline.recent_runs = [*pipeline.recent_runs, run][-RECENT_RUNS:]
    type(pipeline).objects.filter(pk=pipeline.pk).update(recent_runs=pipeline.recent_runs)
