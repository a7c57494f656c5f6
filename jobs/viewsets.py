"""API views that answer with jobs and their logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.exceptions import Unavailable
from eltsite.api.links import href
from eltsite.api.pagination import read_number
from eltsite.api.renderers import NDJSONRenderer, StreamJSONRenderer, TextRenderer
from eltsite.errors import Invalid
from jobs.filters import JobFilter
from jobs.log_streams import FOLLOWERS, FollowedLog, as_ndjson, as_text, end_of_log, written_so_far
from jobs.models import Job
from jobs.serializers import EMBEDS, LONG_COLUMNS, JobDetailSerializer, JobSerializer, read_new_job
from jobs.services import create_component_test, create_job, delete_job, request_stop
from jobs.status import JobStatus, JobType, Trigger
from pipelines.models import DataComponent, Pipeline
from workspaces.models import Workspace
from workspaces.permissions import RUN, WRITE
from workspaces.viewsets import CollectionView, ResourceView

MAX_SEQUENCE = 2**53  # beyond it not every number is exact in JSON


class JobCollectionView(CollectionView):
    """What lists of jobs have in common; newest first."""

    collection_name = "jobs"
    serializer_class = JobSerializer
    filterset_class = JobFilter
    filterset: JobFilter
    sort_fields = {
        "created": "created_at",
        "startTime": "started_at",
        "endTime": "ended_at",
        "status": "status",
        "type": "type",
        "number": "number",
        "attempt": "attempt",
        "exitCode": "exit_code",
        "rowsRead": "rows_read",
        "rowsWritten": "rows_written",
    }

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return Job.objects.filter(pk__in=ids).defer(*LONG_COLUMNS).prefetch_related(*EMBEDS)


class WorkspaceJobsView(JobCollectionView):
    """GET /api/workspaces/{id}/jobs"""

    def get(self, request: Request, workspace_id: Any) -> Response:
        self.workspace = self.find(Workspace.objects, workspace_id)
        return self.list(request, Job.objects.visible().filter(workspace=self.workspace))

    def count(self, queryset: QuerySet) -> int:
        return self.filterset.total(workspace=self.workspace)


class PipelineJobsView(JobCollectionView):
    """GET and POST /api/pipelines/{id}/jobs"""

    verbs = {"POST": RUN}

    def get(self, request: Request, pipeline_id: Any) -> Response:
        self.pipeline = self.find(Pipeline.objects.select_related("workspace"), pipeline_id)
        return self.list(request, Job.objects.visible().filter(pipeline=self.pipeline))

    def count(self, queryset: QuerySet) -> int:
        return self.filterset.total(workspace=self.pipeline.workspace, pipeline=self.pipeline)

    def post(self, request: Request, pipeline_id: Any) -> Response:
        pipeline = self.find(Pipeline.objects.select_related("workspace"), pipeline_id)
        full_refresh = read_new_job(request.data)
        job = create_job(pipeline, trigger=Trigger.API, user=request.user, full_refresh=full_refresh)
        headers = {"Location": href(request, "api-job", job.pk)}
        return Response(self.shape(JobDetailSerializer, job), status=201, headers=headers)


class PipelineVerificationView(ResourceView):
    """POST /api/pipelines/{id}/verification: a job that shows the environment, tests both ends and samples rows."""

    verbs = {"POST": RUN}

    def post(self, request: Request, pipeline_id: Any) -> Response:
        pipeline = self.find(Pipeline.objects.select_related("workspace"), pipeline_id)
        job = create_job(pipeline, type=JobType.PIPELINE_ENV, trigger=Trigger.API, user=request.user)
        return Response(self.shape(JobDetailSerializer, job))


class ComponentVerificationView(ResourceView):
    """POST /api/datacomponents/{id}/verification: the same of one component by itself."""

    verbs = {"POST": RUN}

    def post(self, request: Request, component_id: Any) -> Response:
        component = self.find(DataComponent.objects.select_related("workspace"), component_id)
        job = create_component_test(component, user=request.user, trigger=Trigger.API)
        return Response(self.shape(JobDetailSerializer, job))


class JobView(ResourceView):
    """GET and DELETE /api/jobs/{id}"""

    verbs = {"DELETE": WRITE}

    def get(self, request: Request, job_id: Any) -> Response:
        job = self.find(Job.objects.prefetch_related(*EMBEDS), job_id)
        return Response(self.shape(JobDetailSerializer, job))

    def delete(self, request: Request, job_id: Any) -> Response:
        delete_job(self.find(Job.objects, job_id), user=request.user)
        return Response(status=204)


class JobStoppedView(ResourceView):
    """PUT /api/jobs/{id}/stopped"""

    verbs = {"PUT": RUN}

    def put(self, request: Request, job_id: Any) -> Response:
        job = request_stop(self.find(Job.objects, job_id), user=request.user)
        state = "is stopped" if job.status == JobStatus.STOPPED else "is being stopped"
        return Response({"message": f"Job {job.number} {state}."}, status=202)


class JobLogsView(ResourceView):
    """GET /api/jobs/{id}/logs: text or NDJSON by Accept; with follow=true as it is written."""

    renderer_classes = (TextRenderer, NDJSONRenderer, StreamJSONRenderer)

    def get(self, request: Request, job_id: Any) -> HttpResponseBase:
        job = self.find(Job.objects, job_id)
        sequence = read_number(request, "sequence", default=0, minimum=0, maximum=MAX_SEQUENCE)
        encode = as_text if isinstance(request.accepted_renderer, TextRenderer) else as_ndjson
        if request.method == "HEAD":
            return self._stream(request, ())
        if read_flag(request, "follow"):
            followed = FollowedLog.acquire(job, encode, sequence=sequence)
            if followed is None:
                raise Unavailable(
                    f"{FOLLOWERS} logs are being followed here, the most at once. Try again in a moment, or ask"
                    " without follow.",
                    wait_seconds=5,
                )
            return self._stream(request, followed)
        end = end_of_log(job)
        if sequence >= end:
            return HttpResponse(status=204)
        return self._stream(request, written_so_far(job, encode, sequence=sequence, end=end))

    def _stream(self, request: Request, body: Iterable[bytes]) -> StreamingHttpResponse:
        renderer = request.accepted_renderer
        kind = f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else renderer.media_type
        # A proxy that gathers the body before it passes it on would defeat following.
        return StreamingHttpResponse(body, content_type=kind, headers={"X-Accel-Buffering": "no"})


def read_flag(request: Request, name: str) -> bool:
    """true or false from the query string; absent is false."""
    text = request.query_params.get(name, "").strip().lower()
    if text in ("", "false", "true"):
        return text == "true"
    raise Invalid.field(name, f"{name} is to be true or false, not '{text[:80]}'.", value=text[:80], code="boolean")
