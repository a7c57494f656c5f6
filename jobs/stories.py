"""What a job's page says, in plain words: its headline, its cause, its steps against the usual. Reads rows, asks no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from eltsite import words
from jobs.models import Job
from jobs.status import JobStatus, JobType, StopReason
from pipelines.state_values import MISSING, brief, differences

USUAL_RUNS = 20  # "usual" is the last 20 good runs
COUNTER = "count"  # the process that counts a connector's tables, where its definition says how


@dataclass(frozen=True)
class Usual:
    """What good runs of a pipeline are like; None where too few are known."""

    seconds: float | None = None
    rows: float | None = None
    seconds_band: tuple[float, float] | None = None
    rows_band: tuple[float, float] | None = None
    streams: Mapping[str, float] = field(default_factory=dict)


def usual_of(runs: Sequence[Mapping[str, Any]], streams: Sequence[Sequence[Mapping[str, Any]]] = ()) -> Usual:
    """The usual values, from the pipeline's recent runs and the streams of some good ones."""
    good = [run for run in runs if run.get("status") == JobStatus.COMPLETE][-USUAL_RUNS:]
    if not good:
        return Usual()
    seconds = sorted(float(run.get("seconds") or 0) for run in good)
    rows = sorted(float(run.get("rows") or 0) for run in good)
    per_stream: dict[str, list[float]] = {}
    for job_streams in streams:
        for stream in job_streams:
            per_stream.setdefault(stream.get("stream", ""), []).append(float(stream.get("rows_written") or 0))
    return Usual(
        seconds=median(seconds),
        rows=median(rows),
        seconds_band=_middle(seconds),
        rows_band=_middle(rows),
        streams={name: median(values) for name, values in per_stream.items()},
    )


def _middle(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The range without the outermost tenths; None of fewer than four."""
    if len(ordered) < 4:
        return None
    cut = len(ordered) // 10
    return ordered[cut], ordered[-1 - cut]


def ran_for(job: Job, now: datetime) -> float | None:
    """Seconds from start to end, or until now while it runs."""
    if job.started_at is None:
        return None
    return ((job.ended_at or now) - job.started_at).total_seconds()


def rows_per_second(job: Job, now: datetime) -> float | None:
    """Rows written per second, over the time the job ran; rows read where it is not known how many are written."""
    seconds = ran_for(job, now)
    rows = job.rows_read if is_stored_unknown(job) else job.rows_written
    return rows / seconds if seconds and rows else None


def is_stored_unknown(job: Job) -> bool:
    """Whether a connector has rows that it may have stored or not: one says so at its end, if it ends well."""
    return any(_is_open(stream) for stream in job.streams)


def _is_open(stream: Mapping[str, Any]) -> bool:
    return stream.get("mode") == "singer" and not stream.get("done")


def is_timed_out(job: Job) -> bool:
    """Whether the time limit ended it: a stop that counts as a failure."""
    return job.status == JobStatus.STOPPED and job.stop_reason == StopReason.TIMEOUT


def headline(job: Job, *, usual: Usual, now: datetime, waits: str = "") -> str:
    """The page's answer in one line, without a full stop."""
    if job.status == JobStatus.QUEUED:
        return (waits or job.queued_reason or "Waits for a free slot").rstrip(".")
    if job.status == JobStatus.RUNNING:
        return _running_headline(job, usual, now)
    if job.headline:
        return job.headline.rstrip(".")
    return {JobStatus.COMPLETE: "Complete", JobStatus.ERROR: "Failed"}.get(JobStatus(job.status), "Stopped")


def _running_headline(job: Job, usual: Usual, now: datetime) -> str:
    if job.stop_requested_at:
        return "Stopping: its processes are ending"
    step = next((step for step in reversed(job.steps) if step.get("status") == "running"), None)
    busy = [stream["stream"] for stream in job.streams if not stream.get("done") and stream.get("stream")]
    if step and step.get("name") == "Extract and load" and busy:
        doing = f"Loading {words.listed(busy) if len(busy) < 4 else words.counted(len(busy), 'stream')}"
    elif step:
        doing = str(step.get("name"))
    else:
        doing = "Starting"
    elapsed = ran_for(job, now) or 0
    if usual.seconds and usual.seconds - elapsed > 3:
        return f"{doing}, about {words.rough_duration(usual.seconds - elapsed)} left"
    return doing


@dataclass(frozen=True)
class Cause:
    """Why a job failed: the panel of its page."""

    happened: str
    safe: str
    reason: str
    remedy: str
    cost: str
    place: Sequence[tuple[str, str]]


def cause_of(job: Job) -> Cause | None:
    """The cause of a failed or timed-out job; None for every other."""
    if job.status != JobStatus.ERROR and not is_timed_out(job):
        return None
    error = job.error or {}
    happened = words.sentence(job.headline or "The job failed")
    failed = next((step for step in job.steps if step.get("status") == "error"), None)
    if failed and job.exit_code is not None:
        happened += f" The step {failed.get('name')} ended with exit code {job.exit_code}."
    place = [
        (name.capitalize(), _place(error[name])) for name in ("stream", "file", "line", "column") if error.get(name)
    ]
    return Cause(
        happened=happened,
        safe=_what_is_safe(job),
        reason=words.sentence(str(error.get("reason") or "")),
        remedy=words.sentence(str(error.get("remedy") or "")),
        cost=_cost_of_retry(job),
        place=place,
    )


def _place(value: Any) -> str:
    return words.grouped(value) if isinstance(value, int) else str(value)


def _what_is_safe(job: Job) -> str:
    done = [stream["stream"] for stream in job.streams if stream.get("done") and stream.get("stream")]
    if not job.streams:
        return ""
    if is_stored_unknown(job):
        return "What the loader had confirmed by then is stored, and the state says how far that is."
    if not done:
        return "No stream was completed; what the store had before is unchanged." if not job.rows_written else ""
    if len(done) == len(job.streams):
        return (
            f"All {words.counted(len(done), 'stream')} are stored and safe."
            if len(done) > 1
            else "The stream is stored and safe."
        )
    return f"{words.listed(done)} {'is' if len(done) == 1 else 'are'} stored and safe."


def _cost_of_retry(job: Job) -> str:
    if job.type != JobType.PIPELINE_RUN:
        return ""
    again = [stream["stream"] for stream in job.streams if not stream.get("done") and stream.get("stream")]
    if again and len(again) < 6 and not is_stored_unknown(job):
        return f"A retry goes on from the stored state and reads {words.listed(again)} again."
    return "A retry goes on from the stored state."


@dataclass(frozen=True)
class StreamRow:
    """One row of the streams table."""

    name: str
    status: str
    mode: str
    rows_read: int
    rows_written: int | None  # None: not known
    bytes: int
    rate: float | None
    verified: str
    why: str  # it is not verified
    usual: float | None
    share: float


def streams_of(job: Job, *, usual: Usual, now: datetime) -> list[StreamRow]:
    """Streams with their counts, and how far they are against the usual."""
    seconds = ran_for(job, now)
    failed_stream = (job.error or {}).get("stream")
    is_counted = any(part.get("name") == COUNTER for step in job.steps for part in step.get("parts") or ())
    rows = []
    for stream in job.streams:
        name, written = str(stream.get("stream") or ""), int(stream.get("rows_written") or 0)
        read = int(stream.get("rows_read") or 0)
        expected = usual.streams.get(name)
        status = _stream_status(job, stream, failed_stream)
        took = stream.get("seconds") or seconds
        rows.append(
            StreamRow(
                name=name,
                status=status,
                mode=mode_of(stream),
                rows_read=read,
                rows_written=None if _is_open(stream) else written,
                bytes=int(stream.get("bytes") or 0),
                rate=(written or read) / float(took) if took else None,
                verified=_verified(stream),
                why=_why_not_verified(stream, is_counted=is_counted),
                usual=expected,
                share=1.0 if stream.get("done") else min(0.99, (written or read) / expected) if expected else 0.0,
            )
        )
    return rows


def _stream_status(job: Job, stream: Mapping[str, Any], failed_stream: str | None) -> str:
    if stream.get("done"):
        return "complete"
    if job.is_active:
        return "running" if stream.get("rows_read") else "queued"
    if job.status == JobStatus.ERROR and (failed_stream in (None, stream.get("stream")) or stream.get("rows_read")):
        return "error" if failed_stream in (None, stream.get("stream")) else "stopped"
    return "stopped" if stream.get("rows_read") else "skipped"


def _verified(stream: Mapping[str, Any]) -> str:
    """How the counts of a loaded stream were compared. Read and written always agree: else the run is an error."""
    if not stream.get("done"):
        return ""
    if not stream.get("rows_read") and not stream.get("rows_written"):
        return "nothing to count"
    if stream.get("verified") is None:
        return "not verified"
    return "counts agree" if stream["verified"] else "counts agree, table not counted"


def _why_not_verified(stream: Mapping[str, Any], *, is_counted: bool) -> str:
    """In a few words; only of a stream that a connector has loaded, for the others tell it themselves."""
    if _verified(stream) != "not verified" or stream.get("mode") != "singer":
        return ""
    if not is_counted:
        return "the loader's definition does not say where its rows can be counted"
    return "the table held rows before and some may have been updated, or it could not be read; the log says so then"


def mode_of(stream: Mapping[str, Any]) -> str:
    """How rows were loaded; a connector decides that itself."""
    mode = str(stream.get("mode") or "")
    return "by the loader" if mode == "singer" else mode


@dataclass(frozen=True)
class Change:
    """One value of a state before and after."""

    op: str
    word: str
    tone: str
    name: str
    before: str
    after: str


# Sign, word and tone of what a difference does.
SIGNS = {
    "add": ("+", "added", "complete"),
    "remove": ("-", "removed", "error"),
    "replace": ("~", "changed", "running"),
    "same": ("=", "same", "none"),
}


def state_changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, *, with_same: bool = True
) -> list[Change]:
    """A state's values before and after, changed ones first."""
    found = [
        Change(
            *SIGNS[each.op], each.name, _shown(each.before), "unchanged" if each.op == "same" else _shown(each.after)
        )
        for each in differences(before or {}, after or {}, with_same=with_same)
    ]
    return sorted(found, key=lambda change: change.op == "=")


def _shown(value: Any) -> str:
    return "not set" if value is MISSING else brief(value)
