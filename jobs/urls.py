"""API routes that answer with jobs."""

from eltsite.api.routes import route
from jobs import viewsets

urlpatterns = [
    *route("workspaces/<id:workspace_id>/jobs", viewsets.WorkspaceJobsView.as_view(), name="api-workspace-jobs"),
    *route("pipelines/<id:pipeline_id>/jobs", viewsets.PipelineJobsView.as_view(), name="api-pipeline-jobs"),
    *route(
        "pipelines/<id:pipeline_id>/verification",
        viewsets.PipelineVerificationView.as_view(),
        name="api-pipeline-verification",
    ),
    *route(
        "datacomponents/<id:component_id>/verification",
        viewsets.ComponentVerificationView.as_view(),
        name="api-datacomponent-verification",
    ),
    *route("jobs/<id:job_id>", viewsets.JobView.as_view(), name="api-job"),
    *route("jobs/<id:job_id>/stopped", viewsets.JobStoppedView.as_view(), name="api-job-stopped"),
    *route("jobs/<id:job_id>/logs", viewsets.JobLogsView.as_view(), name="api-job-logs"),
]
