"""The story of a run: claim, build, execute, finish. The one place that turns what happened into a status."""

from __future__ import annotations

import logging
import os
import time
import traceback
import uuid

from django.db import InterfaceError, OperationalError, close_old_connections

from eltsite.errors import DomainError
from jobs.claims import claim_job
from jobs.engine.executor import execute_run
from jobs.engine.interface import Outcome, RunResult, StopRequest
from jobs.engine.redact import Redactor
from jobs.finishing import Ending, finish_job
from jobs.models import Job
from jobs.specs import build_run_spec, secrets_of
from jobs.status import JobStatus, JobType, StopReason
from jobs.stores import ClaimLost, DatabaseLogSink, DatabaseStateStore, JobControl
from jobs.words import headline_of

logger = logging.getLogger("eltsite.jobs")

FINISH_PAUSES = (0.2, 1.0, 3.0, 6.0)  # seconds between tries: together less than the lease


def run_one() -> bool:
    """Claim a job and run it; False when there was none to claim."""
    job = claim_job(worker_id=os.environ.get("ELTSITE_WORKER_ID"))
    if job is None:
        return False
    execute_job(job)
    return True


def execute_job(job: Job) -> None:
    """Run a claimed job to its end. Never raises: whatever happens becomes the job's status.

    1. the specification, the only place where secrets are opened;
    2. the engine, with its ports on the database;
    3. the ending, fenced by the claim: a run that is no longer ours ends without a word.
    """
    claim = job.claim_token
    assert claim is not None
    sink = DatabaseLogSink(job, claim=claim)
    control = JobControl(job, claim=claim, sink=sink)
    try:
        spec, state = build_run_spec(job)
        store = DatabaseStateStore(job, claim=claim, state=state)
        result, stop = execute_run(spec, log=sink, state=store, control=control)
        control.store_findings()
        ending = ending_of(job, control, result, stop)
    except ClaimLost:
        logger.warning("job %s is no longer ours", job.number, extra={"action": "claim-lost"})
        return
    except Exception as error:  # noqa: BLE001 - a defect or a broken definition ends the job, not the worker
        ending = _unexpected(job, sink, error)
    if ending is None:
        return
    ending.values = {**control.changes(), **ending.values}
    _finish(job, claim, ending)


def _finish(job: Job, claim: uuid.UUID, ending: Ending) -> None:
    """Store the ending, again when the database is away or chose us to end a deadlock.

    The claim fences each try. What cannot be stored in time is ended by the scheduler as lost.
    """
    for pause in (*FINISH_PAUSES, None):
        close_old_connections()
        try:
            finish_job(job, claim=claim, ending=ending)
            return
        except (OperationalError, InterfaceError):
            logger.warning("the end of job %s could not be stored yet", job.number, extra={"action": "finish"})
            if pause is None:
                raise
            time.sleep(pause)


def ending_of(job: Job, control: JobControl, result: RunResult, stop: StopRequest | None) -> Ending | None:
    """The outcome of the engine as the ending of a job; None when the job is no longer ours."""
    if stop == StopRequest.LOST:
        return None
    error = {}
    if result.failure:
        error = {"reason": result.failure.reason, "remedy": result.failure.remedy, **result.failure.details}
    if result.outcome == Outcome.COMPLETE:
        return Ending(JobStatus.COMPLETE, headline_of(job, control.changes()), 0)
    if result.outcome == Outcome.TIMED_OUT:
        headline = result.failure.headline if result.failure else "Timed out"
        return Ending(JobStatus.STOPPED, headline, result.exit_code, StopReason.TIMEOUT, error)
    if result.outcome == Outcome.STOPPED:
        reason = str(stop or StopRequest.USER)
        return Ending(JobStatus.STOPPED, _stopped_words(job, reason), result.exit_code, reason)
    headline = result.failure.headline if result.failure else "Failed"
    return Ending(JobStatus.ERROR, headline, result.exit_code, error=error)


def _stopped_words(job: Job, reason: str) -> str:
    if reason == StopReason.SHUTDOWN:
        return (
            "Handed back: its worker was shut down" if job.type == JobType.PIPELINE_RUN else "Its worker was shut down"
        )
    row = Job.objects.select_related("stop_requested_by").filter(pk=job.pk).first()
    who = row.stop_requested_by.display_name if row and row.stop_requested_by else ""
    return f"Stopped by {who}" if who else "Stopped"


def _unexpected(job: Job, sink: DatabaseLogSink, error: Exception) -> Ending | None:
    """A job that could not be started or kept: its definition is broken, or we are."""
    redactor = Redactor(secrets_of(job))
    text = redactor.mask(str(error)) or type(error).__name__
    # A fault of the definition explains itself; a defect of ours needs its traceback.
    is_ours = not isinstance(error, DomainError)
    said = redactor.mask(traceback.format_exc()).splitlines() if is_ours else [text]
    try:
        for line in said:
            sink.write(source="eltsite", level="error", text=line)
        sink.flush()
    except ClaimLost:
        return None
    if is_ours:
        logger.exception("job %s failed", job.number, extra={"action": "execute"})
    remedy = "The log holds the details." if is_ours else "Correct it where the pipeline is defined, then run it again."
    return Ending(
        JobStatus.ERROR,
        text[:300],
        1,
        error={
            "reason": "" if len(text) <= 300 else text,
            "remedy": remedy,
            "code": getattr(error, "code", "unexpected"),
        },
    )
