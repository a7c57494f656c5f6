"""What the admin of all apps shares: read-only pages, and pages that write through services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import cached_property

from eltsite.errors import DomainError

MOST_COUNTED = 10_000


class CappedPaginator(Paginator):
    """Counts no further than MOST_COUNTED: a list of a million rows opens as fast as a short one."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[: MOST_COUNTED + 1].count()  # type: ignore[union-attr]


class QuickListAdmin(admin.ModelAdmin):
    """Lists whose cost does not grow with the table."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50


class ReadOnlyAdmin(QuickListAdmin):
    """Rows that the program writes; people look."""

    actions: Any = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ServiceForm(forms.ModelForm):
    """A form whose values go to a service, which checks them and writes; its faults come back to the fields."""

    fault: DomainError | None = None  # of the service, when it refused

    def _post_clean(self) -> None:
        """Leave the instance alone: the service writes it. Show what the service said."""
        if self.fault is None:
            return
        for error in self.fault.errors:
            name = self.field_for(error.field)
            self.add_error(name if name in self.fields else None, error.message)
        if not self.fault.errors:
            self.add_error(None, self.fault.message)

    def field_for(self, name: str) -> str:
        """The form's field for the service's name of it."""
        return name


class ServiceAdmin(QuickListAdmin):
    """Makes, changes and deletes through services: `save_by_service`, `delete_by_service`.

    When the service refuses, the form is shown again with the faults at its fields.
    """

    def save_by_service(self, request: HttpRequest, form: Any, obj: Any, change: bool) -> models.Model:
        """Call the service with the form's cleaned data; the saved row."""
        raise NotImplementedError

    def delete_by_service(self, request: HttpRequest, obj: Any) -> None:
        """Call the service that deletes."""
        raise NotImplementedError

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as fault:
            if request.method != "POST":
                raise
            request.service_fault = fault  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.fault = getattr(request, "service_fault", None)
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        saved = self.save_by_service(request, form, obj, change)
        obj.__dict__.update(saved.__dict__)

    def save_related(self, request: HttpRequest, form: Any, formsets: Iterable[Any], change: bool) -> None:
        """The service has written them."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.delete_by_service(request, obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except DomainError as fault:
            messages.error(request, fault.message)
            return redirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id]))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[Any], list[Any]]:
        """The rows themselves: what hangs on them may be millions of log lines, and the service decides on that."""
        return [str(obj) for obj in objs], {str(self.opts.verbose_name_plural): len(objs)}, set(), []


def run_for_each(request: HttpRequest, rows: Iterable[Any], act: Any, done: str) -> None:
    """Call a service for each selected row; say how many it did, and for each other one why not."""
    count = 0
    for row in rows:
        try:
            act(row)
        except DomainError as fault:
            messages.error(request, fault.message)
        else:
            count += 1
    if count:
        messages.success(request, f"{count} {done}.")
