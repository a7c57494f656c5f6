"""Links into the administration, only where it is open to the person: a link must not lead to a refusal."""

from __future__ import annotations

from typing import Any

from django import template
from django.apps import apps
from django.contrib.admin import site
from django.contrib.admin.exceptions import NotRegistered
from django.db.models import Model
from django.urls import reverse

register = template.Library()


@register.simple_tag(takes_context=True)
def admin_change(context: dict[str, Any], row: Model) -> str:
    """Where this row is edited; empty where the person may not, or it is not edited there."""
    try:
        model_admin = site.get_model_admin(type(row))
    except NotRegistered:
        return ""
    request = context["request"]
    if not site.has_permission(request) or not model_admin.has_change_permission(request, row):
        return ""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


@register.simple_tag(takes_context=True)
def admin_add(context: dict[str, Any], name: str) -> str:
    """Where a new row of `app.Model` is made; empty where the person may not."""
    model = apps.get_model(name)
    try:
        model_admin = site.get_model_admin(model)
    except NotRegistered:
        return ""
    request = context["request"]
    if not site.has_permission(request) or not model_admin.has_add_permission(request):
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
