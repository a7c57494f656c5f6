"""The steps of a job on one time axis, each with its processes, the first that failed marked as such. Asks no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.models import Job
from jobs.pictures import Span
from jobs.status import JobStatus
from jobs.stories import Usual, ran_for

# Movers bear short names in the log; what they are is said here.
PART_NAMES = {
    "extractor": "built-in extractor",
    "loader": "built-in loader",
    "relay": "relay between the two",
    "count": "row count in the store",
}
SIGNALS = {143: "TERM", 137: "KILL"}


@dataclass(frozen=True)
class StepRow:
    """One row of the Gantt: a step, or a process of the step above it."""

    name: str
    status: str
    span: Span | None
    seconds: float | None
    exit_code: int | None
    usual_end: float | None = None
    is_part: bool = False
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is what went wrong, not only what followed."""
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
    code = step.get("exit_code")
    return StepRow(
        name=str(step.get("name") or ""),
        status=status,
        span=span,
        seconds=seconds,
        exit_code=code,
        usual_end=usual.seconds if status == "running" else None,
        # Of a step that went well: a process that had given enough.
        note=_ended_by(code) if status == "complete" and code else "",
    )


def _part_rows(row: StepRow, step: Mapping[str, Any]) -> list[StepRow]:
    """The processes of a step. One of them failed first, by itself; what failed after it only followed."""
    parts = list(step.get("parts") or ())
    failed = [part for part in parts if part.get("exit_code") and not (part.get("was_ended") or part.get("is_echo"))]
    first = min(failed, key=_end_of, default=None) if row.status == "error" else None
    return [_part_row(row, part, first) for part in parts]


def _part_row(row: StepRow, part: Mapping[str, Any], first: Mapping[str, Any] | None) -> StepRow:
    code = part.get("exit_code")
    if part is first:
        status, note = "error", "failed first"
    elif code == 0:
        status, note = "complete", ""
    elif part.get("was_ended") or (first is None and not part.get("is_echo")):
        status, note = "stopped", _ended_by(code)
    else:
        status, note = "stopped", "failed after it"
    start = (row.span.start if row.span else 0.0) + float(part.get("after") or 0)
    seconds = float(part.get("seconds") or 0)
    name = str(part.get("name") or "")
    return StepRow(
        name=PART_NAMES.get(name, name),
        status=status,
        span=Span(start, start + seconds, status) if row.span else None,
        seconds=seconds,
        exit_code=code,
        is_part=True,
        note=note,
    )


def _end_of(part: Mapping[str, Any]) -> float:
    """When a process ended, in seconds from the step's start."""
    return float(part.get("after") or 0) + float(part.get("seconds") or 0)


def _ended_by(code: int | None) -> str:
    return f"ended by {SIGNALS[code]}" if code in SIGNALS else "ended with the others"


def _moment(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None
