"""All addresses: the admin, the API and the pages."""

from django.contrib import admin
from django.urls import include, path, re_path

from eltsite.api.exceptions import bad_request, not_found, permission_denied, server_error, unknown_address
from workspaces.viewsets import RootView

handler400 = bad_request
handler403 = permission_denied
handler404 = not_found
handler500 = server_error

api_root = RootView.as_view()
urlpatterns = [
    path("admin/", admin.site.urls),
    path("api", api_root, name="api-root"),
    path("api/", api_root),
    path("api/", include("workspaces.urls")),
    path("api/", include("pipelines.urls")),
    path("api/", include("jobs.urls")),
    re_path(r"^api/", unknown_address),
    path("", include("eltsite.page_urls")),
]
