"""API routes that answer with pipelines."""

from eltsite.api.routes import route
from pipelines import viewsets

urlpatterns = [
    *route(
        "workspaces/<id:workspace_id>/pipelines",
        viewsets.WorkspacePipelinesView.as_view(),
        name="api-workspace-pipelines",
    ),
    *route("pipelines/<id:pipeline_id>", viewsets.PipelineView.as_view(), name="api-pipeline"),
]
