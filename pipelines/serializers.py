"""Pipelines as HAL bodies. Values of secret settings are masked."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from eltsite.api.links import HALSerializer, Link, href, link
from eltsite.api.times import ContractTimeField, ExtensionTimeField
from pipelines.models import DataPlugin, Pipeline, PipelineStatus
from pipelines.plugins import MASK, RESERVED, Plugin, parse
from workspaces.permissions import RUN


class PipelineSerializer(HALSerializer):
    """The contract's fields in its order, then ours.

    Wants `steps__component__plugin` and `triggered_by` prefetched. The links also want the annotations of
    `pipelines.viewsets.with_runs`.
    """

    id = serializers.CharField()
    status = serializers.CharField()
    label = serializers.CharField()
    name = serializers.CharField()
    schedule = serializers.CharField()
    timeout = serializers.IntegerField(source="timeout_seconds")
    maxRetries = serializers.IntegerField(source="max_retries")
    script = serializers.CharField()
    created = ContractTimeField(source="created_at")
    lastModified = ContractTimeField(source="modified_at")
    properties = serializers.SerializerMethodField()
    dataComponents = serializers.SerializerMethodField()
    actions = serializers.JSONField()
    triggeredBy = serializers.SerializerMethodField()
    number = serializers.IntegerField()
    statusReason = serializers.CharField(source="status_reason")
    timeZone = serializers.CharField(source="time_zone")
    nextRun = ExtensionTimeField(source="next_run_at")
    paused = serializers.BooleanField(source="is_paused")
    tags = serializers.JSONField()

    def get_properties(self, pipeline: Pipeline) -> dict[str, str]:
        """`<component>.<setting>` to text; shown are only values of settings known not to be secret."""
        plugins = {
            step.component.name: parsed_plugin(step.component.plugin, self.context) for step in pipeline.steps.all()
        }
        return {
            key: value if is_shown(key, plugins) and key not in pipeline.secrets_set else MASK
            for key, value in pipeline.properties.items()
        }

    def get_dataComponents(self, pipeline: Pipeline) -> list[str]:
        """Names of its components, in order."""
        return [step.component.name for step in pipeline.steps.all()]

    def get_triggeredBy(self, pipeline: Pipeline) -> list[str]:
        """Names of the pipelines whose success starts this one."""
        return sorted(other.name for other in pipeline.triggered_by.all() if other.deleting_at is None)

    def links(self, pipeline: Pipeline) -> dict[str, Link]:
        jobs = href(self.request, "api-pipeline-jobs", pipeline.pk)
        links = {"self": link(href(self.request, "api-pipeline", pipeline.pk))}
        may_run = self.context["access"].can(pipeline.workspace_id, RUN)
        if may_run and pipeline.status == PipelineStatus.READY and not pipeline.has_active_run:  # type: ignore[attr-defined]
            links["new job"] = link(jobs, "POST")
        links["jobs"] = link(jobs, "GET")
        latest = pipeline.latest_job_id  # type: ignore[attr-defined]
        if latest is not None:
            links["latest job"] = link(href(self.request, "api-job", latest), "GET")
        links["state"] = link(href(self.request, "api-pipeline-state", pipeline.pk), "GET")
        links["workspace"] = link(href(self.request, "api-workspace", pipeline.workspace_id), "GET")
        return links


def parsed_plugin(row: DataPlugin, context: dict[str, Any]) -> Plugin:
    """A plugin's definition, parsed once per answer."""
    known = context.setdefault("plugins", {})
    if row.pk not in known:
        known[row.pk] = parse(row.definition)
    return known[row.pk]


def is_shown(key: str, plugins: dict[str, Plugin]) -> bool:
    """Whether a property's value may be shown. Setting names may hold dots, so the longest component name counts."""
    owner = max((name for name in plugins if key.startswith(f"{name}.")), key=len, default=None)
    if owner is None:
        return False
    name = key[len(owner) + 1 :]
    if name in RESERVED:
        return True
    setting = plugins[owner].setting(name)
    return setting is not None and not setting.is_secret and not any(item.is_secret for item in setting.items)
