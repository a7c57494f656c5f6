"""Jobs as HAL bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from eltsite.api.links import HALSerializer, Link, href, link
from eltsite.api.times import ContractTimeField, ExtensionTimeField
from eltsite.errors import FieldError, Invalid
from jobs.models import Job
from jobs.services import why_queued
from pipelines.serializers import PipelineSerializer
from workspaces.permissions import RUN, WRITE
from workspaces.serializers import ProfileSerializer

EMBEDS = ("pipeline__steps__component__plugin", "pipeline__triggered_by", "created_by")
# Read by no list body, and long.
LONG_COLUMNS = (
    *("error", "steps", "streams", "models_built", "checks", "samples", "environments"),
    *("state_before", "state_after"),
)


class JobSerializer(HALSerializer):
    """A job in a list: the contract's fields in its order, then ours."""

    id = serializers.CharField()
    created = ContractTimeField(source="created_at")
    type = serializers.CharField()
    triggeredBy = serializers.CharField(source="trigger")
    maxAttempts = serializers.IntegerField(source="max_attempts")
    attempt = serializers.IntegerField()
    exitCode = serializers.IntegerField(source="exit_code")
    status = serializers.CharField()
    startTime = ContractTimeField(source="started_at", digits=3)
    endTime = ContractTimeField(source="ended_at", digits=3)
    number = serializers.IntegerField()
    headline = serializers.CharField()
    stopReason = serializers.CharField(source="stop_reason")
    stopRequested = ExtensionTimeField(source="stop_requested_at")
    queuedReason = serializers.SerializerMethodField()
    notBefore = ExtensionTimeField(source="not_before")
    slot = ExtensionTimeField(source="slot_at")
    retryOf = serializers.CharField(source="retry_of_id")
    triggeredByJob = serializers.CharField(source="trigger_job_id")
    fullRefresh = serializers.BooleanField(source="full_refresh")
    host = serializers.CharField()
    rowsRead = serializers.IntegerField(source="rows_read")
    rowsWritten = serializers.IntegerField(source="rows_written")
    logLines = serializers.IntegerField(source="log_lines")
    logErrors = serializers.IntegerField(source="log_errors")
    firstErrorLine = serializers.IntegerField(source="first_error_line")

    def get_queuedReason(self, job: Job) -> str:
        """Why it still waits, as last noted."""
        return job.queued_reason

    def embedded(self, job: Job) -> dict[str, Any]:
        return {
            "pipeline": self._once(PipelineSerializer, job.pipeline),
            "profile": self._once(ProfileSerializer, job.created_by),
        }

    def _once(self, serializer: Callable[..., HALSerializer], row: Any) -> dict[str, Any] | None:
        """The bare body of a row; a list shows the same few pipelines and people again and again."""
        if row is None:
            return None
        known = self.context.setdefault("embedded", {})
        if row.pk not in known:
            known[row.pk] = serializer(row, bare=True, context=self.context).data
        return known[row.pk]

    def links(self, job: Job) -> dict[str, Link]:
        address = href(self.request, "api-job", job.pk)
        access = self.context["access"]
        links = {"self": link(address)}
        if access.can(job.workspace_id, WRITE):
            links["delete job"] = link(address, "DELETE")
        links["logs"] = link(href(self.request, "api-job-logs", job.pk, query={"sequence": 0}), "GET")
        if job.is_active and job.stop_requested_at is None and access.can(job.workspace_id, RUN):
            links["withdraw job"] = link(href(self.request, "api-job-stopped", job.pk), "PUT")
        if job.pipeline_id is not None:
            links["pipeline"] = link(href(self.request, "api-pipeline", job.pipeline_id), "GET")
        links["workspace"] = link(href(self.request, "api-workspace", job.workspace_id), "GET")
        return links


class JobDetailSerializer(JobSerializer):
    """A job by itself: also what it did, step by step and stream by stream."""

    error = serializers.SerializerMethodField()
    steps = serializers.JSONField()
    streams = serializers.JSONField()
    models = serializers.JSONField(source="models_built")
    checks = serializers.JSONField()
    environments = serializers.JSONField()
    samples = serializers.SerializerMethodField()
    bytesRead = serializers.IntegerField(source="bytes_read")
    peakMemoryBytes = serializers.IntegerField(source="peak_memory_bytes")

    def get_samples(self, job: Job) -> list[dict[str, Any]] | None:
        """Sample rows, for those who may run pipelines: they are the source's data."""
        return job.samples if self.context["access"].can(job.workspace_id, RUN) else None

    def get_queuedReason(self, job: Job) -> str:
        """Why it still waits, as things are now."""
        return why_queued(job)

    def get_error(self, job: Job) -> dict[str, Any] | None:
        """What went wrong, where, and what to do; only where something did."""
        return job.error or None


def read_new_job(body: dict[str, Any]) -> bool:
    """Whether a new job is to be a full refresh. Fields of a job that was read and sent back are ignored."""
    known = {*JobDetailSerializer().fields, "_links", "_embedded"}
    faults = [
        FieldError(field=name, message=f"There is no field '{name}' here. A new job takes fullRefresh.", code="unknown")
        for name in body
        if name not in known
    ]
    wanted = body.get("fullRefresh", False)
    if not isinstance(wanted, bool):
        faults.append(
            FieldError(field="fullRefresh", message="fullRefresh is to be true or false.", code="type", value=wanted)
        )
    if faults:
        raise Invalid(" ".join(fault.message for fault in faults), errors=faults)
    return wanted
