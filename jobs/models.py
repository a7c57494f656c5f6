"""That it ran: jobs, their logs, the workers that run them and the counters that pages read."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from jobs.querysets import JobQuerySet
from jobs.status import ACTIVE, JobStatus, StopReason, Trigger
from pipelines.models import DataComponent, Pipeline
from workspaces.models import Workspace

JOB_TYPE_LENGTH = 32
VISIBLE = Q(deleted_at__isnull=True)


class Job(models.Model):
    """One attempt at one piece of work. The queue of record: a job is queued because its row says so.

    `status` is written by `JobQuerySet.transition` alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="jobs")
    pipeline = models.ForeignKey(Pipeline, null=True, blank=True, on_delete=models.CASCADE, related_name="jobs")
    component = models.ForeignKey(
        DataComponent,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="jobs",
        help_text="What is tested, where that is a component by itself.",
    )
    number = models.PositiveBigIntegerField(help_text="A short number people can say, per workspace.")
    type = models.CharField(max_length=JOB_TYPE_LENGTH)
    status = models.CharField(max_length=10, default=JobStatus.QUEUED)
    stop_reason = models.CharField(max_length=12, blank=True, choices=[(r, r.title()) for r in StopReason])
    headline = models.CharField(max_length=400, blank=True, help_text="The answer in one line of plain words.")
    error = models.JSONField(
        default=dict, blank=True, help_text="{reason, remedy, stream, file, line, column, code} of a failure."
    )
    exit_code = models.IntegerField(null=True, blank=True)

    # who or what made it
    trigger = models.CharField(max_length=10, choices=[(t, t.title()) for t in Trigger], default=Trigger.SYSTEM)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    trigger_job = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    slot_at = models.DateTimeField(null=True, blank=True, help_text="The schedule's slot this job was made for.")
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries")
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=0, help_text="How many further attempts may follow an error.")
    full_refresh = models.BooleanField(default=False)
    timeout_seconds = models.PositiveIntegerField(default=300)

    # times
    created_at = models.DateTimeField()
    not_before = models.DateTimeField(null=True, blank=True, help_text="A waiting retry starts no earlier.")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    # admission
    exclusive_key = models.CharField(max_length=500, blank=True, help_text="At most one running job holds it.")
    required_host = models.CharField(max_length=255, blank=True)
    queued_reason = models.CharField(max_length=400, blank=True)

    # the run
    claim_token = models.UUIDField(null=True, blank=True, editable=False, help_text="Fences the writes of one claim.")
    worker = models.ForeignKey("Worker", null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs")
    host = models.CharField(max_length=255, blank=True)
    supervisor_pid = models.PositiveIntegerField(null=True, blank=True)
    supervisor_started = models.FloatField(
        null=True, blank=True, help_text="Start time of that process: a pid alone may be reused."
    )
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    stop_requested_reason = models.CharField(max_length=12, blank=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="Hidden; the row goes when no process of it lives."
    )

    # what it did
    steps = models.JSONField(default=list, blank=True)
    streams = models.JSONField(default=list, blank=True)
    models_built = models.JSONField(default=list, blank=True)
    checks = models.JSONField(default=list, blank=True)
    samples = models.JSONField(default=list, blank=True, help_text="[{stream, columns, rows}]; not for viewers.")
    environments = models.JSONField(
        default=list, blank=True, help_text="[{name, requirements, digest, packages, python}]"
    )
    rows_read = models.PositiveBigIntegerField(default=0)
    rows_written = models.PositiveBigIntegerField(default=0)
    bytes_read = models.PositiveBigIntegerField(default=0)
    peak_memory_bytes = models.PositiveBigIntegerField(default=0)
    log_lines = models.PositiveBigIntegerField(default=0)
    log_errors = models.PositiveIntegerField(default=0)
    first_error_line = models.PositiveBigIntegerField(null=True, blank=True)
    state_before = models.JSONField(null=True, blank=True)
    state_after = models.JSONField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "number"], name="one_job_per_number"),
            models.UniqueConstraint(
                fields=["pipeline"],
                condition=Q(status__in=sorted(ACTIVE), type="PIPELINE_RUN"),
                name="one_active_run_per_pipeline",
            ),
            models.UniqueConstraint(
                fields=["exclusive_key"],
                condition=Q(status=JobStatus.RUNNING) & ~Q(exclusive_key=""),
                name="one_running_job_per_key",
            ),
            models.UniqueConstraint(
                fields=["pipeline", "slot_at"], condition=Q(slot_at__isnull=False, attempt=0), name="one_job_per_slot"
            ),
        ]
        indexes = [
            # Only of jobs nobody deleted: an index then answers alone which jobs lie on a page, however deep.
            models.Index(fields=["workspace", "-created_at", "-id"], condition=VISIBLE, name="visible_by_workspace"),
            models.Index(fields=["pipeline", "-created_at", "-id"], condition=VISIBLE, name="visible_by_pipeline"),
            models.Index(
                fields=["workspace", "status", "-created_at", "-id"], condition=VISIBLE, name="visible_by_status"
            ),
            # Whole, though only active jobs are looked for: SQLite uses a partial index only where the query
            # spells the condition out, and parameters do not.
            models.Index(fields=["status", "created_at"], name="job_by_status"),
            models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="job_deleted"),
        ]

    def __str__(self) -> str:
        return f"Job {self.number}"

    @property
    def mark(self) -> str:
        """What every process of this job carries in its environment."""
        return f"{self.pk}:{self.attempt}"

    @property
    def is_active(self) -> bool:
        """Queued or running."""
        return self.status in ACTIVE

    @property
    def duration_seconds(self) -> float | None:
        """From start to end; None while either is unknown."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class LogChunk(models.Model):
    """Consecutive log lines of a job, as one text; see jobs/log_lines.py for its form.

    Lines are numbered from 0 over the whole job; `first_line` is the number of the first here. Reading from any
    line costs one index look-up.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_chunks")
    first_line = models.PositiveBigIntegerField()
    line_count = models.PositiveIntegerField()
    error_count = models.PositiveIntegerField(default=0)
    text = models.TextField()

    class Meta:
        ordering = ["first_line"]
        constraints = [models.UniqueConstraint(fields=["job", "first_line"], name="one_chunk_per_line")]

    def __str__(self) -> str:
        return f"{self.job}, lines {self.first_line} to {self.first_line + self.line_count - 1}"


class SkippedSlot(models.Model):
    """A slot of a schedule that made no job, and why."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="skipped_slots")
    slot_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    job = models.ForeignKey(
        Job, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="The job in the way."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-slot_at"]
        constraints = [models.UniqueConstraint(fields=["pipeline", "slot_at"], name="one_skip_per_slot")]

    def __str__(self) -> str:
        return f"{self.pipeline} at {self.slot_at:%Y-%m-%d %H:%M}: {self.reason}"


class Worker(models.Model):
    """One `manage.py worker`: a host's share of the work, and when it was last heard of."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    slots = models.PositiveIntegerField()
    version = models.CharField(max_length=40)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    is_draining = models.BooleanField(default=False)
    restarts = models.PositiveIntegerField(default=0, help_text="How often its cluster had to be started anew.")

    class Meta:
        ordering = ["host", "started_at"]

    def __str__(self) -> str:
        return f"{self.host} ({self.pid})"


class JobCount(models.Model):
    """How many visible jobs there are per pipeline, type and status; kept by each transition."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    pipeline = models.ForeignKey(Pipeline, null=True, on_delete=models.CASCADE, related_name="job_counts")
    type = models.CharField(max_length=JOB_TYPE_LENGTH)
    status = models.CharField(max_length=10)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "pipeline", "type", "status"],
                condition=Q(pipeline__isnull=False),
                name="one_count_per_kind",
            ),
            models.UniqueConstraint(
                fields=["workspace", "type", "status"],
                condition=Q(pipeline__isnull=True),
                name="one_count_per_workspace_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.status}: {self.count}"


class DayCount(models.Model):
    """How many runs of a workspace ended per day (UTC) and status; kept by the finish, for charts."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="day_counts")
    day = models.DateField()
    status = models.CharField(max_length=10)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "day", "status"], name="one_count_per_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.status}: {self.count}"
