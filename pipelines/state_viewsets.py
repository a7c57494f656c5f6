"""API views of where a pipeline's next run begins, and of what changed that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.versions import VersionChanged, etag_of, is_matched
from eltsite.errors import Invalid, NotFound
from pipelines import services
from pipelines.locks import ChangedMeanwhile
from pipelines.models import Pipeline, PipelineState, PipelineStateChange
from pipelines.state import ViewedState, changes_of, export_state, view_state
from pipelines.state_serializers import PipelineStates, StateChangeSerializer, StateSerializer, read_new_state
from pipelines.state_values import FORMS, as_text
from workspaces.permissions import RUN, WRITE
from workspaces.viewsets import CollectionView, ResourceView


class StateView(ResourceView):
    """What the views of a pipeline's state have in common."""

    def pipeline(self, pipeline_id: Any) -> Pipeline:
        """The pipeline, if the caller may use it with this method."""
        return self.find(Pipeline.objects.select_related("workspace"), pipeline_id)

    def answer(self, pipeline: Pipeline) -> Response:
        """The state as it is now, with its version."""
        viewed = view_state(pipeline)
        first = viewed[0] if viewed and viewed[0].is_current else ViewedState(PipelineState(pipeline=pipeline), True)
        jobs = pipeline.jobs.visible().filter(pk=first.row.job_id)
        states = PipelineStates(
            pipeline,
            first,
            [each for each in viewed if not each.is_current],
            is_busy=pipeline.jobs.active().filter(type="PIPELINE_RUN").exists(),
            has_job=first.row.job_id is not None and jobs.exists(),
        )
        return Response(self.shape(StateSerializer, states), headers={"ETag": etag_of(first.version)})

    def expected(self, request: Request, pipeline: Pipeline) -> tuple[int, int] | None:
        """The (epoch, sequence) the caller insists on, if any."""
        current = next((each for each in view_state(pipeline) if each.is_current), None)
        if is_matched(request, current.version if current else "") and current is not None:
            return current.row.epoch, current.row.sequence
        return None

    def change(self, pipeline: Pipeline, change_id: int) -> PipelineStateChange:
        """A change of the pipeline's states."""
        found = changes_of(pipeline).filter(pk=change_id).first()
        if found is None:
            raise NotFound(f"The state of {pipeline.label} has no change {change_id}.")
        return found


class PipelineStateView(StateView):
    """GET, PUT and DELETE /api/pipelines/{id}/state"""

    verbs = {"PUT": WRITE, "DELETE": RUN}

    def get(self, request: Request, pipeline_id: Any) -> Response:
        return self.answer(self.pipeline(pipeline_id))

    def put(self, request: Request, pipeline_id: Any) -> Response:
        pipeline = self.pipeline(pipeline_id)
        wanted = read_new_state(request.data, reason=request.query_params.get("reason", ""))
        values = {"user": request.user, "reason": wanted.reason, "expected": self.expected(request, pipeline)}
        try:
            if wanted.is_import:
                services.import_state(pipeline, value=wanted.value, **values)
            else:
                services.edit_state(pipeline, state=wanted.value, **values)
        except ChangedMeanwhile:
            raise VersionChanged() from None
        return self.answer(pipeline)

    def delete(self, request: Request, pipeline_id: Any) -> Response:
        pipeline = self.pipeline(pipeline_id)
        self.expected(request, pipeline)
        services.reset_state(pipeline, user=request.user, streams=request.query_params.getlist("stream") or None)
        return self.answer(pipeline)


class PipelineStateExportView(StateView):
    """GET /api/pipelines/{id}/state/export: a file, in the form that `form` names"""

    def get(self, request: Request, pipeline_id: Any) -> HttpResponse:
        pipeline = self.pipeline(pipeline_id)
        form = request.query_params.get("form", "").strip().lower() or FORMS[0]
        if form not in FORMS:
            message = f"'{form[:80]}' is no form of a state. Choose from {', '.join(FORMS)}."
            raise Invalid.field("form", message, value=form[:80], code="choice")
        text = as_text(export_state(pipeline, form=form))
        name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in pipeline.name)
        headers = {"Content-Disposition": f'attachment; filename="{name[:80]}-state.json"'}
        return HttpResponse(f"{text}\n", content_type="application/json", headers=headers)


class PipelineStateChangesView(CollectionView):
    """GET /api/pipelines/{id}/state/changes, newest first"""

    collection_name = "changes"
    serializer_class = StateChangeSerializer
    sort_fields = {"created": "created_at"}
    largest_size = 100  # each entry holds the whole state twice

    def get(self, request: Request, pipeline_id: Any) -> Response:
        self.pipeline = self.find(Pipeline.objects, pipeline_id)
        return self.list(request, PipelineStateChange.objects.filter(state__pipeline=self.pipeline))

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return changes_of(self.pipeline).filter(pk__in=ids)


class PipelineStateChangeView(StateView):
    """GET /api/pipelines/{id}/state/changes/{change}"""

    def get(self, request: Request, pipeline_id: Any, change_id: int) -> Response:
        return Response(self.shape(StateChangeSerializer, self.change(self.pipeline(pipeline_id), change_id)))


class PipelineStateChangeUndoneView(StateView):
    """PUT /api/pipelines/{id}/state/changes/{change}/undone"""

    verbs = {"PUT": WRITE}

    def put(self, request: Request, pipeline_id: Any, change_id: int) -> Response:
        pipeline = self.pipeline(pipeline_id)
        services.undo_state_change(self.change(pipeline, change_id), user=request.user)
        return self.answer(pipeline)
