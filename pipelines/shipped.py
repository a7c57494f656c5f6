"""The plugins that come with the product, as rows; and the versions their environments are held to."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from pipelines.environments import sync_locks
from pipelines.models import DataPlugin, PluginEnvironment
from pipelines.plugins import parse, shipped_definitions


def after_migrate(**_: Any) -> None:
    """Answer to each migration, also one back to before there was a table."""
    tables = connection.introspection.table_names()
    if DataPlugin._meta.db_table in tables:
        sync_catalogue()
    if PluginEnvironment._meta.db_table in tables:
        sync_locks()


@transaction.atomic
def sync_catalogue() -> None:
    """Make the shipped rows equal to the catalogue; those no longer shipped are hidden."""
    shipped = []
    for definition in shipped_definitions():
        plugin = parse(definition)
        shipped.append(plugin.id)
        values = {
            "workspace": None,
            "plugin_type": plugin.plugin_type,
            "name": plugin.name,
            "variant": plugin.variant,
            "label": plugin.label,
            "definition": dict(definition),
            "is_hidden": False,
        }
        if not DataPlugin.objects.filter(pk=plugin.id, **values).exists():
            DataPlugin.objects.update_or_create(pk=plugin.id, defaults=values)
    DataPlugin.objects.filter(workspace__isnull=True, is_hidden=False).exclude(pk__in=shipped).update(is_hidden=True)
