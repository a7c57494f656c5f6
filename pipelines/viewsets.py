"""API views that answer with pipelines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from rest_framework.request import Request
from rest_framework.response import Response

from pipelines.models import Pipeline
from pipelines.serializers import PipelineSerializer
from workspaces.models import Workspace
from workspaces.viewsets import CollectionView, ResourceView


def for_bodies(pipelines: QuerySet) -> QuerySet:
    """Pipelines with the related rows their bodies name."""
    return pipelines.prefetch_related("steps__component__plugin", "triggered_by")


def with_runs(pipelines: QuerySet) -> QuerySet:
    """Pipelines with `has_active_run` and `latest_job_id`, which their links need."""
    jobs = Pipeline._meta.get_field("jobs").related_model.objects.filter(pipeline=OuterRef("pk"))  # type: ignore[union-attr]
    latest = jobs.filter(deleted_at__isnull=True).order_by("-created_at", "-id").values("pk")[:1]
    active = jobs.active().filter(type="PIPELINE_RUN")
    return pipelines.annotate(has_active_run=Exists(active), latest_job_id=Subquery(latest))


class WorkspacePipelinesView(CollectionView):
    """GET /api/workspaces/{id}/pipelines"""

    collection_name = "pipelines"
    serializer_class = PipelineSerializer
    sort_fields = {
        "label": "label",
        "name": "name",
        "created": "created_at",
        "lastModified": "modified_at",
        "status": "status",
        "number": "number",
        "nextRun": "next_run_at",
    }

    def get(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        return self.list(request, Pipeline.objects.alive().filter(workspace=workspace))

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return with_runs(for_bodies(Pipeline.objects.filter(pk__in=ids)))


class PipelineView(ResourceView):
    """GET /api/pipelines/{id}"""

    def get(self, request: Request, pipeline_id: Any) -> Response:
        pipeline = self.find(with_runs(for_bodies(Pipeline.objects.all())), pipeline_id)
        return Response(self.shape(PipelineSerializer, pipeline))
