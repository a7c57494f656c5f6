"""Who runs what next: a worker claims the best job that may run, by compare and set."""

from __future__ import annotations

import os
import uuid
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs.admission import needs_of
from jobs.counters import move_job
from jobs.engine.process import own_start_time
from jobs.models import Job, Worker
from jobs.status import JobStatus

CANDIDATES = 50


def claim_job(*, worker_id: str | None, now: datetime | None = None) -> Job | None:
    """Claim the best job this host may run now, or None.

    1. a draining worker, or one whose slots are full, claims nothing;
    2. jobs whose store is being written stay queued, with the reason;
    3. of the others the first whose row we move from QUEUED to RUNNING is ours. The unique index over the
       exclusive key decides between two that claim at the same instant.
    """
    now = now or timezone.now()
    worker = Worker.objects.filter(pk=worker_id).first() if worker_id else None
    if worker and (worker.is_draining or worker.jobs.filter(status=JobStatus.RUNNING).count() >= worker.slots):
        return None
    held = dict(
        Job.objects.filter(status=JobStatus.RUNNING).exclude(exclusive_key="").values_list("exclusive_key", "pk")
    )
    explain_blocked(held)
    candidates = Job.objects.all().claimable(settings.ELTSITE_HOST, now).exclude(exclusive_key__in=held)
    for job in candidates.select_related("workspace", "pipeline", "component")[:CANDIDATES]:
        if _claim(job, worker=worker, now=now):
            return job
    return None


def _claim(job: Job, *, worker: Worker | None, now: datetime) -> bool:
    """One try. The definitions may have changed while it was queued: what it needs is looked up again."""
    needs = needs_of(job.workspace, job.pipeline, job.type, job.component)
    if needs.required_host not in ("", settings.ELTSITE_HOST):
        Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED).update(required_host=needs.required_host)
        return False
    values = {
        "claim_token": uuid.uuid4(),
        "worker": worker,
        "host": settings.ELTSITE_HOST,
        "supervisor_pid": os.getpid(),
        "supervisor_started": own_start_time(),
        "exclusive_key": needs.exclusive_key,
        "required_host": needs.required_host,
        "started_at": now,
        "heartbeat_at": now,
        "queued_reason": "",
    }
    try:
        with transaction.atomic():
            if not Job.objects.all().transition(job.pk, to=JobStatus.RUNNING, from_=[JobStatus.QUEUED], **values):
                return False
            move_job(job, from_=JobStatus.QUEUED, to=JobStatus.RUNNING)
    except IntegrityError:
        Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED).update(exclusive_key=needs.exclusive_key)
        return False
    job.refresh_from_db()
    return True


def explain_blocked(held: dict[str, uuid.UUID] | None = None) -> None:
    """Write to each queued job whose store another job is writing what it waits for."""
    if held is None:
        running = Job.objects.filter(status=JobStatus.RUNNING).exclude(exclusive_key="")
        held = dict(running.values_list("exclusive_key", "pk"))
    if not held:
        return
    blocked = Job.objects.filter(status=JobStatus.QUEUED, exclusive_key__in=held)
    for job in blocked.only("pk", "exclusive_key", "queued_reason"):
        holder = Job.objects.select_related("pipeline").filter(pk=held[job.exclusive_key]).first()
        if holder is None:
            continue
        what = "DuckDB file" if job.exclusive_key.startswith("duckdb:") else "folder"
        name = f" of {holder.pipeline.label}" if holder.pipeline else ""
        reason = f"Waits for job {holder.number}{name}, which is writing the same {what}."
        if job.queued_reason != reason:
            Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED).update(queued_reason=reason)
