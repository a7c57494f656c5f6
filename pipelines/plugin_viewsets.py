"""API views that answer with plugin definitions: the catalogue, and a workspace's own."""

from __future__ import annotations

import codecs
import uuid
from collections.abc import Iterable
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django_filters import filters
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.links import absolute, href, link
from eltsite.errors import Conflict
from pipelines import services
from pipelines.hub import asked_type
from pipelines.models import DataPlugin
from pipelines.plugin_serializers import DataPluginSerializer, discovery_of
from workspaces.models import Workspace
from workspaces.viewsets import CollectionView, ResourceView

YAML = "application/yaml; charset=utf-8"


class PluginFilter(django_filters.FilterSet):
    """Filter by example: a field's value, or words with `q`."""

    name = filters.CharFilter(lookup_expr="iexact", max_length=200)
    variant = filters.CharFilter(lookup_expr="iexact", max_length=200)
    label = filters.CharFilter(lookup_expr="iexact", max_length=200)
    namespace = filters.CharFilter(field_name="definition__namespace", max_length=200)
    pluginType = filters.CharFilter(method="by_type", max_length=40)
    q = filters.CharFilter(method="by_words", max_length=200)

    class Meta:
        model = DataPlugin
        fields: tuple[str, ...] = ()

    def by_type(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """A type in any case, singular or plural."""
        return rows.filter(plugin_type=asked_type(name, value))

    def by_words(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Each word in the name, the label or the variant."""
        for word in value.split():
            rows = rows.filter(Q(name__icontains=word) | Q(label__icontains=word) | Q(variant__icontains=word))
        return rows


class PluginCollectionView(CollectionView):
    """What lists of plugins have in common."""

    collection_name = "dataplugins"
    serializer_class = DataPluginSerializer
    filterset_class = PluginFilter
    sort_fields = {
        "name": "name",
        "variant": "variant",
        "label": "label",
        "pluginType": "plugin_type",
        "created": "created_at",
        "lastModified": "modified_at",
    }

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return DataPlugin.objects.filter(pk__in=ids)


class PluginsView(PluginCollectionView):
    """GET /api/dataplugins: the catalogue that every workspace may use"""

    def get(self, request: Request) -> Response:
        return self.list(request, DataPlugin.objects.shipped())


class WorkspacePluginsView(PluginCollectionView):
    """GET and POST /api/workspaces/{id}/dataplugins: what a workspace may use; a new definition's id"""

    def get(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        return self.list(request, DataPlugin.objects.usable_in(workspace).filter(is_hidden=False))

    def post(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        fresh = uuid.uuid4()
        place = href(request, "api-workspace-dataplugin", workspace.pk, fresh)
        links = {"self": link(href(request, "api-dataplugin", fresh)), "create dataplugin": link(place, "PUT")}
        return Response({"id": str(fresh), "hidden": False, "capabilities": [], "settings": [], "_links": links})


class WorkspacePluginView(ResourceView):
    """PUT /api/workspaces/{id}/dataplugins/{id}"""

    def put(self, request: Request, workspace_id: Any, plugin_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        row = DataPlugin.objects.filter(pk=plugin_id).first()
        saved = services.save_plugin(
            workspace, plugin=row, plugin_id=plugin_id, definition=dict(request.data), user=request.user
        )
        return Response(self.shape(DataPluginSerializer, saved), status=201 if row is None else 200)


class PluginView(ResourceView):
    """GET and DELETE /api/dataplugins/{id}"""

    def get(self, request: Request, plugin_id: Any) -> Response:
        row = DataPlugin.objects.filter(pk=plugin_id, workspace__isnull=True).first()
        row = row or self.find(DataPlugin.objects.filter(workspace__isnull=False), plugin_id)
        return Response(self.shape(DataPluginSerializer, row))

    def delete(self, request: Request, plugin_id: Any) -> Response:
        row = DataPlugin.objects.filter(pk=plugin_id, workspace__isnull=True).first()
        if row is not None:
            raise Conflict(f"{row.full_name} comes with eltsite and stays as it is.")
        row = self.find(DataPlugin.objects.filter(workspace__isnull=False), plugin_id)
        services.delete_plugin(row, user=request.user)
        return Response(status=204)


class DiscoveryView(ResourceView):
    """GET /api/discovery.yml: the catalogue as Meltano reads it"""

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(discovery_of(DataPlugin.objects.shipped()), content_type=YAML)


class WorkspacePublicationView(ResourceView):
    """POST /api/workspaces/{id}/discovery: definitions to publish in a workspace"""

    def post(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        made = services.import_definitions(workspace, text_of(request), request.user)
        bodies = self.shape(DataPluginSerializer, made, many=True)
        links = {"self": link(absolute(request, request.path))}
        return Response({"_embedded": {"dataplugins": bodies}, "_links": links}, status=201)


class WorkspaceDiscoveryView(WorkspacePublicationView):
    """GET /api/workspaces/{id}/discovery.yml: what a workspace may use; and POST, as under the other address"""

    def get(self, request: Request, workspace_id: Any) -> HttpResponse:
        workspace = self.find(Workspace.objects, workspace_id)
        plugins = DataPlugin.objects.usable_in(workspace).filter(is_hidden=False)
        return HttpResponse(discovery_of(plugins), content_type=YAML)


def text_of(request: Request) -> str:
    """The body as text, whatever its content type says."""
    try:
        return codecs.decode(request._request.body, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8: byte {error.start} cannot be read. Send UTF-8.") from None
