"""API routes that answer with workspaces and profiles."""

from eltsite.api.routes import route
from workspaces import viewsets

urlpatterns = [
    *route("workspaces", viewsets.WorkspacesView.as_view(), name="api-workspaces"),
    *route("workspaces/<id:workspace_id>", viewsets.WorkspaceView.as_view(), name="api-workspace"),
    *route("profiles", viewsets.ProfilesView.as_view(), name="api-profiles"),
    *route("profiles/<str:profile_id>", viewsets.ProfileView.as_view(), name="api-profile"),
]
