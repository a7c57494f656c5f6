"""Pages of a collection: zero-based number and size in, HAL links and the page object out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from eltsite.api.links import Link, absolute, link
from eltsite.errors import Invalid

DEFAULT_SIZE = 20
MAX_SIZE = 1000
MAX_NUMBER = 2**31 - 1


def read_number(request: Request, name: str, *, default: int, minimum: int, maximum: int | None = None) -> int:
    """A whole number from the query string. Above `maximum` it becomes the maximum."""
    text = request.query_params.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text[:30]) < minimum:
        raise Invalid.field(
            name,
            f"{name} is to be a whole number from {minimum} on, not '{text[:80]}'.",
            value=text[:80],
            code="number",
        )
    number = int(text[:30])
    return number if maximum is None else min(number, maximum)


class HALPagination(BasePagination):
    """`page` and `size`. A page far into a long list costs one walk over an index: ids first, then only their rows."""

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.name = view.collection_name
        self.size = read_number(request, "size", default=DEFAULT_SIZE, minimum=1, maximum=view.largest_size)
        self.number = read_number(request, "page", default=0, minimum=0, maximum=MAX_NUMBER)
        self.total = view.count(queryset)
        start = self.number * self.size
        if start >= self.total:
            return []
        ids = list(queryset.values_list("pk", flat=True)[start : start + self.size])
        rows = {row.pk: row for row in view.rows(ids)}
        return [rows[pk] for pk in ids if pk in rows]

    def get_paginated_response(self, data: list[Any]) -> Response:
        return Response(self.body(data))

    def body(self, data: list[Any]) -> dict[str, Any]:
        """The collection; an empty one has no `_embedded`."""
        page = {"size": self.size, "totalElements": self.total, "totalPages": self.pages, "number": self.number}
        body: dict[str, Any] = {"_embedded": {self.name: data}} if data else {}
        return {**body, "_links": self.links(), "page": page}

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.size)

    def links(self) -> dict[str, Link]:
        """`self`, and the neighbours where there is more than one page."""
        links = {"self": self._link(self.number)}
        last = self.pages - 1
        if last > 0:
            links["first"] = self._link(0)
            if self.number > 0:
                links["prev"] = self._link(min(self.number - 1, last))
            if self.number < last:
                links["next"] = self._link(self.number + 1)
            links["last"] = self._link(last)
        return links

    def _link(self, number: int) -> Link:
        query = self.request.query_params.copy()
        query.pop("page", None)
        query.pop("size", None)
        query["page"], query["size"] = str(number), str(self.size)
        return link(absolute(self.request, f"{self.request.path}?{query.urlencode(safe=',:')}"))
