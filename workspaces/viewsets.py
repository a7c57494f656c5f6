"""The API's base view, its root, workspaces and profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from eltsite.api.filters import FilterBackend, SortFilter
from eltsite.api.links import href, link
from eltsite.api.pagination import MAX_SIZE, HALPagination
from eltsite.api.renderers import LengthRequired
from eltsite.errors import NotFound
from workspaces.models import User, Workspace
from workspaces.permissions import Access, access_of, verb_of
from workspaces.serializers import ProfileSerializer, WorkspaceSerializer, start_links


class ResourceView(APIView):
    """One address. A view finds with `self.find`, which knows the caller and the verb; then it calls one service.

    `verbs` names what a changing method needs: run, write or admin (workspaces/permissions.py).
    """

    verbs: ClassVar[dict[str, str]] = {}

    @property
    def access(self) -> Access:
        """What the caller may do."""
        return access_of(self.request)

    def find(self, rows: Any, pk: Any) -> Any:
        """A row the caller may use with this method, else NotFound or Refused."""
        return self.access.find(rows, pk, verb_of(self.request, self))

    def shape(self, serializer: type[BaseSerializer], instance: Any, **options: Any) -> Any:
        """The HAL body of one row, or of several with many=True."""
        context = {"request": self.request, "access": self.access}
        return serializer(instance, context=context, **options).data

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.META.get("HTTP_TRANSFER_ENCODING") and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequired()

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Which methods there are, in the Allow header."""
        return Response(status=204)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer


class CollectionView(ResourceView):
    """A paged list: `collection` gives the rows, filters and sorting narrow them, ids are read before rows."""

    collection_name: ClassVar[str]
    serializer_class: ClassVar[type[BaseSerializer]]
    sort_fields: ClassVar[dict[str, str]] = {}
    largest_size: ClassVar[int] = MAX_SIZE
    filterset: Any = None

    def list(self, request: Request, queryset: QuerySet) -> Response:
        """The page of `queryset` that the query string asks for."""
        for backend in (FilterBackend(), SortFilter()):
            queryset = backend.filter_queryset(request, queryset, self)
        paginator = HALPagination()
        page = paginator.paginate_queryset(queryset, request, view=self)
        return paginator.get_paginated_response(self.shape(self.serializer_class, page, many=True))

    def count(self, queryset: QuerySet) -> int:
        """How many rows the whole list has."""
        return queryset.count()

    def rows(self, ids: Iterable[Any]) -> Iterable[Any]:
        """The rows of one page, in any order, with what their bodies need."""
        raise NotImplementedError


class RootView(ResourceView):
    """GET /api"""

    def get(self, request: Request) -> Response:
        return Response({"_links": start_links(request)})


class WorkspacesView(CollectionView):
    """GET /api/workspaces"""

    collection_name = "workspaces"
    serializer_class = WorkspaceSerializer
    sort_fields = {"name": "name", "created": "created_at", "lastModified": "modified_at", "status": "status"}

    def get(self, request: Request) -> Response:
        return self.list(request, self.access.visible(Workspace.objects))

    def rows(self, ids: Iterable[Any]) -> QuerySet:
        return Workspace.objects.filter(pk__in=ids)


class WorkspaceView(ResourceView):
    """GET /api/workspaces/{id}"""

    def get(self, request: Request, workspace_id: Any) -> Response:
        return Response(self.shape(WorkspaceSerializer, self.find(Workspace.objects, workspace_id)))


class ProfilesView(ResourceView):
    """GET /api/profiles: a plain collection of the caller alone"""

    def get(self, request: Request) -> Response:
        own = self.shape(ProfileSerializer, request.user)
        return Response({"_embedded": {"profiles": [own]}, "_links": {"self": link(href(request, "api-profiles"))}})


class ProfileView(ResourceView):
    """GET /api/profiles/{id}"""

    def get(self, request: Request, profile_id: str) -> Response:
        user: User = request.user
        if profile_id != user.profile_id:
            raise NotFound(f"There is no profile {profile_id} that you may see; yours is {user.profile_id}.")
        return Response(self.shape(ProfileSerializer, user))
