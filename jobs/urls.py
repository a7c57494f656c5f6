"""API routes that answer with jobs."""

from eltsite.api.routes import route
from jobs import viewsets

urlpatterns = [
    *route("workspaces/<id:workspace_id>/jobs", viewsets.WorkspaceJobsView.as_view(), name="api-workspace-jobs"),
    *route("pipelines/<id:pipeline_id>/jobs", viewsets.PipelineJobsView.as_view(), name="api-pipeline-jobs"),
    *route("jobs/<id:job_id>", viewsets.JobView.as_view(), name="api-job"),
    *route("jobs/<id:job_id>/stopped", viewsets.JobStoppedView.as_view(), name="api-job-stopped"),
    *route("jobs/<id:job_id>/logs", viewsets.JobLogsView.as_view(), name="api-job-logs"),
]
