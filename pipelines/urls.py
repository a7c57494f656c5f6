"""API routes that answer with pipelines."""

from eltsite.api.routes import route
from pipelines import state_viewsets, viewsets

urlpatterns = [
    *route(
        "workspaces/<id:workspace_id>/pipelines",
        viewsets.WorkspacePipelinesView.as_view(),
        name="api-workspace-pipelines",
    ),
    *route("pipelines/<id:pipeline_id>", viewsets.PipelineView.as_view(), name="api-pipeline"),
    *route("pipelines/<id:pipeline_id>/state", state_viewsets.PipelineStateView.as_view(), name="api-pipeline-state"),
    *route(
        "pipelines/<id:pipeline_id>/state/export",
        state_viewsets.PipelineStateExportView.as_view(),
        name="api-pipeline-state-export",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes",
        state_viewsets.PipelineStateChangesView.as_view(),
        name="api-pipeline-state-changes",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes/<int:change_id>",
        state_viewsets.PipelineStateChangeView.as_view(),
        name="api-pipeline-state-change",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes/<int:change_id>/undone",
        state_viewsets.PipelineStateChangeUndoneView.as_view(),
        name="api-pipeline-state-change-undone",
    ),
]
