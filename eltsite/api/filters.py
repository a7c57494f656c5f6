"""Ordering and filtering of collections by query parameters."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy
from django_filters import FilterSet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from eltsite.errors import FieldError, Invalid

DIRECTIONS = ("asc", "desc")


class SortFilter(BaseFilterBackend):
    """`sort=<property>,asc|desc`, repeated for further properties.

    A view names what can be sorted by in `sort_fields`: property to column. The id comes last in every order, so
    that pages neither repeat nor miss a row.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        wanted = [text for text in request.query_params.getlist("sort") if text.strip()]
        if not wanted:
            return queryset
        order: list[OrderBy] = []
        for text in wanted:
            order += self._read(text, view.sort_fields)
        order.append(OrderBy(F("pk"), descending=order[-1].descending))
        return queryset.order_by(*order)

    def _read(self, text: str, fields: dict[str, str]) -> list[OrderBy]:
        names = [part.strip() for part in text.split(",")]
        descending = names[-1].lower() == "desc"
        if len(names) > 1 and names[-1].lower() in DIRECTIONS:
            names.pop()
        unknown = next((name for name in names if name not in fields), None)
        if unknown is not None:
            raise Invalid.field(
                "sort",
                f"'{unknown}' is not a property to sort by. Choose from {', '.join(fields)}, and asc or desc.",
                value=text,
                code="choice",
            )
        return [_ordering(fields[name], descending) for name in names]


def _ordering(column: str, descending: bool) -> OrderBy:
    # Rows without a value come last on every database. `created_at` always has one, and the plain form of its
    # order is the one the indexes have.
    return OrderBy(F(column), descending=descending, nulls_last=None if column == "created_at" else True)


class FilterBackend(DjangoFilterBackend):
    """A view's FilterSet over the query string. A faulty value is an error that names it."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        if not filterset.is_valid():
            raise faults_of(filterset)
        view.filterset = filterset
        return filterset.qs


def faults_of(filterset: FilterSet) -> Invalid:
    """The form's faults, each with the value that was sent."""
    form: forms.Form = filterset.form
    faults = [
        FieldError(field=name, message=error.messages[0], code=error.code or "invalid", value=_sent(form, name))
        for name, errors in form.errors.as_data().items()
        for error in errors
    ]
    return Invalid(" ".join(fault.message for fault in faults), errors=faults)


def _sent(form: forms.Form, name: str) -> Any:
    values = form.data.getlist(name) if hasattr(form.data, "getlist") else [form.data.get(name)]
    return values[0] if len(values) == 1 else values
