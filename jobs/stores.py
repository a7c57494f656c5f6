"""The engine's ports on the database: where log lines, state and progress of a running job go."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseFault
from django.db import close_old_connections, transaction
from django.db.models import F
from django.utils import timezone

from jobs.engine.interface import StopRequest
from jobs.findings import event_of_catalog, keep_finding
from jobs.log_lines import LogLine, pack
from jobs.models import Job, LogChunk
from jobs.status import HEARTBEAT_SECONDS, LEASE_SECONDS, JobStatus
from pipelines.models import PipelineState, PipelineStateChange
from pipelines.state_values import merge

FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.5


class ClaimLost(Exception):
    """The job's row is no longer ours: another process ended it, or it is gone."""


class DatabaseLogSink:
    """Collects lines and stores them as chunks, each half second or 64 KiB, fenced by the claim."""

    def __init__(self, job: Job, *, claim: uuid.UUID) -> None:
        self._job_id = job.pk
        self._claim = claim
        self._next_line = job.log_lines
        self._lines: list[LogLine] = []
        self._bytes = 0
        self._flushed = time.monotonic()

    def write(self, *, source: str, level: str, text: str) -> None:
        """Take a line; stored at the latest with the next `flush`."""
        self._lines.append(LogLine(datetime.now(UTC), source.replace("\t", " "), level, text.replace("\n", " ")))
        self._bytes += len(text) + 32
        if self._bytes >= FLUSH_BYTES or time.monotonic() - self._flushed >= FLUSH_SECONDS:
            # A database that is away for a moment costs no line: the next flush tries again, and the control
            # port ends the run when it stays away.
            with contextlib.suppress(DatabaseFault):
                self.flush()

    def flush(self) -> None:
        """Store what was collected. Raises ClaimLost, and the database's faults with every line kept."""
        self._flushed = time.monotonic()
        if not self._lines:
            return
        self._store(self._lines)
        self._next_line += len(self._lines)
        self._lines, self._bytes = [], 0

    def _store(self, lines: list[LogLine]) -> None:
        errors = [index for index, line in enumerate(lines) if line.level == "error"]
        changes: dict[str, Any] = {
            "log_lines": self._next_line + len(lines),
            "log_errors": F("log_errors") + len(errors),
        }
        with transaction.atomic():
            mine = Job.objects.filter(pk=self._job_id, claim_token=self._claim, status=JobStatus.RUNNING)
            if not mine.update(**changes):
                raise ClaimLost
            if errors:
                mine.filter(first_error_line__isnull=True).update(first_error_line=self._next_line + errors[0])
            LogChunk.objects.create(
                job_id=self._job_id,
                first_line=self._next_line,
                line_count=len(lines),
                error_count=len(errors),
                text=pack(lines),
            )


class DatabaseStateStore:
    """Keeps the state a mover has committed, and one entry of history per job."""

    def __init__(self, job: Job, *, claim: uuid.UUID, state: PipelineState | None) -> None:
        self._job = job
        self._claim = claim
        self._row = state
        self._complete = dict(state.state) if state else {}
        self._partial = dict(state.partial) if state else {}
        self._before = merge(self._complete, self._partial)

    def save(self, *, state: Mapping[str, Any], epoch: int, sequence: int, is_partial: bool = False) -> None:
        """Store the whole state. Raises ClaimLost; an older state than the stored one is left out.

        A partial one is merged over what earlier unfinished runs came to and kept beside the complete one; the next
        that is not partial replaces both. The history has what counts: partial over complete.
        """
        if self._row is None:
            return
        if is_partial:
            kept = {"partial": merge(self._partial, state)}
            after = merge(self._complete, kept["partial"])
        else:
            kept, after = {"state": dict(state), "partial": {}}, dict(state)
        with transaction.atomic():
            owned = Job.objects.filter(pk=self._job.pk, claim_token=self._claim, status=JobStatus.RUNNING)
            if not owned.update(state_before=self._before, state_after=after):
                raise ClaimLost
            newer = PipelineState.objects.filter(pk=self._row.pk, epoch=epoch, sequence__lt=sequence)
            newer.update(**kept, sequence=sequence, job_id=self._job.pk, modified_at=timezone.now())
            PipelineStateChange.objects.update_or_create(
                state=self._row,
                job_id=self._job.pk,
                defaults={"after": after},
                create_defaults={"before": self._before, "after": after, "reason": f"Job {self._job.number}"},
            )
        if not is_partial:
            self._complete, self._partial = dict(state), {}


class JobControl:
    """The heartbeat, the stop request and the progress of a running job."""

    def __init__(self, job: Job, *, claim: uuid.UUID, sink: DatabaseLogSink) -> None:
        self._job_id = job.pk
        self._claim = claim
        self._sink = sink
        self._beat = 0.0
        self._heard = time.monotonic()
        self._is_dirty = False
        self.steps: list[dict[str, Any]] = []
        self.streams: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.checks: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.environments: list[dict[str, Any]] = []
        self._findings: list[dict[str, Any]] = []  # for later runs: not of the job's row

    def poll(self) -> StopRequest | None:
        """Store progress, keep the heartbeat, look for a stop. Without the database for too long the run ends."""
        try:
            found = self._exchange()
        except ClaimLost:
            return StopRequest.LOST
        except DatabaseFault:
            # The scheduler gives our job up after STALE_SECONDS: our processes must be gone before that.
            close_old_connections()
            return StopRequest.LOST if time.monotonic() - self._heard > LEASE_SECONDS else None
        self._heard = time.monotonic()
        return found

    def _exchange(self) -> StopRequest | None:
        self._sink.flush()
        self.store_findings()
        mine = Job.objects.filter(pk=self._job_id, claim_token=self._claim, status=JobStatus.RUNNING)
        changes = self.changes() if self._is_dirty else {}
        if time.monotonic() - self._beat >= HEARTBEAT_SECONDS:
            changes["heartbeat_at"] = timezone.now()
        if changes:
            if not mine.update(**changes):
                raise ClaimLost
            self._is_dirty = False
            self._beat = time.monotonic() if "heartbeat_at" in changes else self._beat
        row = mine.values_list("stop_requested_at", "stop_requested_reason").first()
        if row is None:
            raise ClaimLost
        return StopRequest(row[1] or StopRequest.USER) if row[0] else None

    def progress(self, event: Mapping[str, Any]) -> None:
        """Keep an event of the run; the next poll stores it."""
        values = dict(event)
        kind = values.pop("event")
        self._is_dirty = True
        if kind == "step":
            self.steps = [step for step in self.steps if step["name"] != values["name"]] + [values]
        elif kind == "stream":
            self.streams[values["stream"]] = {**self.streams.get(values["stream"], {}), **values}
        elif kind == "model":
            self.models[values["name"]] = values
        elif kind == "check":
            self.checks.append(values)
        elif kind == "sample":
            self.samples.append(values)
        elif kind == "catalog":
            self._findings.append(event_of_catalog(values, self._job_id))
        elif kind == "environment":
            self._findings.append({"kind": kind, **values})
            if not values.get("error"):
                shown = ("name", "fingerprint", "requirements", "python", "digest", "packages")
                self.environments.append({name: values.get(name) for name in shown})

    def store_findings(self) -> None:
        """What the run found out for later ones: catalogs and resolved versions. Raises the database's faults."""
        while self._findings:
            keep_finding(self._findings[0])
            self._findings.pop(0)

    def changes(self) -> dict[str, Any]:
        """The columns that hold the progress."""
        streams = list(self.streams.values())
        return {
            "steps": json.loads(json.dumps(self.steps)),
            "streams": streams,
            "models_built": list(self.models.values()),
            "checks": self.checks,
            "samples": self.samples,
            "environments": self.environments,
            "rows_read": sum(stream.get("rows_read") or 0 for stream in streams),
            "rows_written": sum(stream.get("rows_written") or 0 for stream in streams),
            "bytes_read": sum(stream.get("bytes") or 0 for stream in streams),
            "peak_memory_bytes": max([step.get("peak_memory_bytes") or 0 for step in self.steps], default=0),
        }
