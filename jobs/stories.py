"""What a job's page says, in plain words: its headline, its cause, its steps against the usual. Reads rows, asks no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from eltsite import words
from jobs.models import Job
from jobs.pictures import Span
from jobs.status import JobStatus, JobType, StopReason
from pipelines.state_values import MISSING, brief, differences

USUAL_RUNS = 20  # "usual" is the last 20 good runs


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
    """Rows written per second, over the time the job ran."""
    seconds = ran_for(job, now)
    return job.rows_written / seconds if seconds and job.rows_written else None


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
    if again and len(again) < 6:
        return f"A retry goes on from the stored state and reads {words.listed(again)} again."
    return "A retry goes on from the stored state."


@dataclass(frozen=True)
class StepRow:
    """One row of the Gantt."""

    name: str
    status: str
    span: Span | None
    seconds: float | None
    exit_code: int | None
    usual_end: float | None
    is_part: bool = False
    note: str = ""

    @property
    def failed(self) -> bool:
        return self.status in ("error", "timed_out")


@dataclass(frozen=True)
class Gantt:
    """The steps of a job on one time axis, which is as long as the run, or as the usual run while that is longer."""

    rows: Sequence[StepRow]
    total: float

    @property
    def last_end(self) -> float:
        """Where the last bar ends: what was not run would have begun there."""
        return max((row.span.end for row in self.rows if row.span), default=0.0)


def gantt_of(job: Job, *, usual: Usual, now: datetime) -> Gantt:
    """Steps as spans from the job's start. A step that did not run has no span."""
    elapsed = ran_for(job, now) or 0
    running = job.status == JobStatus.RUNNING
    total = max(elapsed, (usual.seconds or 0) if running else 0, 0.1) * 1.02
    rows = []
    for step in job.steps:
        row = _step_row(job, step, elapsed, usual if running else Usual())
        rows += [row, *_part_rows(row, step)]
    return Gantt(rows, total)


def _part_rows(row: StepRow, step: Mapping[str, Any]) -> list[StepRow]:
    """The processes of a step, the first that failed by itself marked as such."""
    found, has_failed = [], False
    for part in step.get("parts") or ():
        code = part.get("exit_code")
        status = "stopped" if part.get("was_ended") or code is None else "error" if code else "complete"
        note = "ended with it" if part.get("was_ended") else "failed" if status == "error" else ""
        if status == "error" and not has_failed:
            note, has_failed = "failed first", True
        start = (row.span.start if row.span else 0.0) + float(part.get("after") or 0)
        seconds = float(part.get("seconds") or 0)
        found.append(
            StepRow(
                name=str(part.get("name") or ""),
                status=status,
                span=Span(start, start + seconds, status) if row.span else None,
                seconds=seconds,
                exit_code=code,
                usual_end=None,
                is_part=True,
                note=note,
            )
        )
    return found


def _step_row(job: Job, step: Mapping[str, Any], elapsed: float, usual: Usual) -> StepRow:
    status = str(step.get("status") or "skipped")
    begun = _moment(step.get("started_at"))
    span = None
    seconds = step.get("seconds")
    if begun and job.started_at:
        start = max(0.0, (begun - job.started_at).total_seconds())
        length = float(seconds) if seconds is not None else max(0.0, elapsed - start)
        seconds = length
        span = Span(start, start + length, {"timed_out": "stopped"}.get(status, status))
    return StepRow(
        name=str(step.get("name") or ""),
        status=status,
        span=span,
        seconds=seconds,
        exit_code=step.get("exit_code"),
        usual_end=usual.seconds if status == "running" else None,
    )


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


@dataclass(frozen=True)
class StreamRow:
    """One row of the streams table."""

    name: str
    status: str
    mode: str
    rows_read: int
    rows_written: int
    bytes: int
    rate: float | None
    verified: str
    usual: float | None
    share: float


def streams_of(job: Job, *, usual: Usual, now: datetime) -> list[StreamRow]:
    """Streams with their counts, and how far they are against the usual."""
    seconds = ran_for(job, now)
    failed_stream = (job.error or {}).get("stream")
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
                mode=str(stream.get("mode") or ""),
                rows_read=read,
                rows_written=written,
                bytes=int(stream.get("bytes") or 0),
                rate=(written or read) / float(took) if took else None,
                verified=_verified(stream),
                usual=expected,
                share=1.0 if stream.get("done") else min(0.99, written / expected) if expected else 0.0,
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
