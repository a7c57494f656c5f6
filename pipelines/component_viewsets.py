"""API views that answer with components."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django_filters import filters
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.links import href, link
from eltsite.errors import FieldError, Invalid, NotFound
from pipelines import services
from pipelines.component_serializers import DataComponentSerializer, NewComponent, read_component
from pipelines.hub import asked_type, type_of
from pipelines.models import DataComponent
from workspaces.models import Workspace
from workspaces.permissions import WRITE
from workspaces.viewsets import CollectionView, ResourceView


class ComponentFilter(django_filters.FilterSet):
    """Filter by example: a field's value, or words with `q`."""

    name = filters.CharFilter(lookup_expr="iexact", max_length=200)
    dataPlugin = filters.CharFilter(method="by_plugin", max_length=300)
    dataPluginType = filters.CharFilter(method="by_type", max_length=40)
    q = filters.CharFilter(method="by_words", max_length=200)

    class Meta:
        model = DataComponent
        fields: tuple[str, ...] = ()

    def by_plugin(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """A plugin's name, with or without its type in front and its variant behind."""
        kind, _, rest = value.strip().rpartition("/")
        plugin, _, variant = rest.partition("--")
        found = rows.filter(plugin__name=plugin)
        found = found.filter(plugin__variant=variant) if variant else found
        return found.filter(plugin__plugin_type=type_of(kind)) if kind else found

    def by_type(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """A plugin type in any case, singular or plural."""
        return rows.filter(plugin__plugin_type=asked_type(name, value))

    def by_words(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Each word in the component's name, or in its plugin's."""
        for word in value.split():
            rows = rows.filter(Q(name__icontains=word) | Q(plugin__name__icontains=word))
        return rows


class WorkspaceComponentsView(CollectionView):
    """GET and POST /api/workspaces/{id}/datacomponents: the components; a new one's id"""

    verbs = {"POST": WRITE}
    collection_name = "datacomponents"
    serializer_class = DataComponentSerializer
    filterset_class = ComponentFilter
    sort_fields = {"name": "name", "created": "created_at", "lastModified": "modified_at"}

    def get(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        return self.list(request, DataComponent.objects.filter(workspace=workspace))

    def post(self, request: Request, workspace_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        fresh = uuid.uuid4()
        place = href(request, "api-workspace-datacomponent", workspace.pk, fresh)
        links = {"self": link(href(request, "api-datacomponent", fresh)), "create datacomponent": link(place, "PUT")}
        return Response({"id": str(fresh), "properties": {}, "draft": True, "managed": False, "_links": links})

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return DataComponent.objects.filter(pk__in=ids).select_related("plugin")


class WorkspaceComponentView(ResourceView):
    """PUT /api/workspaces/{id}/datacomponents/{id}"""

    verbs = {"PUT": WRITE}

    def put(self, request: Request, workspace_id: Any, component_id: Any) -> Response:
        workspace = self.find(Workspace.objects, workspace_id)
        row = DataComponent.objects.select_related("plugin").filter(pk=component_id).first()
        if row is not None and row.workspace_id != workspace.pk:
            raise NotFound(f"There is no component {component_id} here.")
        saved = save(workspace, row, component_id, read_component(request.data), request.user)
        return Response(self.shape(DataComponentSerializer, saved), status=201 if row is None else 200)


class ComponentView(ResourceView):
    """GET, PUT and DELETE /api/datacomponents/{id}"""

    verbs = {"PUT": WRITE, "DELETE": WRITE}

    def get(self, request: Request, component_id: Any) -> Response:
        row = self.find(DataComponent.objects.select_related("plugin"), component_id)
        return Response(self.shape(DataComponentSerializer, row))

    def put(self, request: Request, component_id: Any) -> Response:
        row = self.find(DataComponent.objects.select_related("plugin", "workspace"), component_id)
        saved = save(row.workspace, row, None, read_component(request.data), request.user)
        return Response(self.shape(DataComponentSerializer, saved))

    def delete(self, request: Request, component_id: Any) -> Response:
        services.delete_component(self.find(DataComponent.objects, component_id), user=request.user)
        return Response(status=204)


def save(
    workspace: Workspace, row: DataComponent | None, component_id: Any, wanted: NewComponent, user: Any
) -> DataComponent:
    """The component as the body has it; faults under the body's names of the fields."""
    try:
        return services.save_component(
            workspace,
            component=row,
            component_id=component_id,
            name=wanted.name,
            plugin=wanted.plugin,
            properties=wanted.properties,
            user=user,
        )
    except Invalid as fault:
        errors = [
            FieldError("dataPlugin" if each.field == "plugin" else each.field, each.message, each.code, each.value)
            for each in fault.errors
        ]
        raise Invalid(fault.message, errors=errors) from None
