"""Components as HAL bodies, and the bodies that make or change one. Values of secret settings are masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from eltsite.api.links import HALSerializer, Link, href, link
from eltsite.api.times import ContractTimeField
from eltsite.errors import FieldError, Invalid
from pipelines.models import DataComponent
from pipelines.plugin_serializers import DataPluginSerializer
from pipelines.plugins import MASK, RESERVED
from pipelines.serializers import parsed_plugin
from pipelines.values import nearest
from workspaces.permissions import WRITE

WRITTEN = ("name", "dataPlugin", "properties")


class DataComponentSerializer(HALSerializer):
    """The contract's fields in its order, then ours. Wants `plugin` selected with the rows."""

    id = serializers.CharField()
    created = ContractTimeField(source="created_at")
    lastModified = ContractTimeField(source="modified_at")
    name = serializers.CharField()
    dataPlugin = serializers.CharField(source="plugin.full_name")
    dataPluginType = serializers.CharField(source="plugin.plugin_type")
    properties = serializers.SerializerMethodField()
    commands = serializers.SerializerMethodField()
    streams = serializers.SerializerMethodField()
    draft = serializers.SerializerMethodField()
    managed = serializers.SerializerMethodField()
    defaultStore = serializers.BooleanField(source="is_default")
    revision = serializers.IntegerField()

    def get_properties(self, component: DataComponent) -> dict[str, str]:
        """Setting name to text; shown are only values of settings known not to be secret."""
        plugin = parsed_plugin(component.plugin, self.context)

        def is_open(name: str) -> bool:
            setting = plugin.setting(name)
            known = name in RESERVED or (setting is not None and not setting.is_secret)
            return known and name not in component.secrets_set

        return {name: text if is_open(name) or not text else MASK for name, text in component.properties.items()}

    def get_commands(self, component: DataComponent) -> dict[str, Any]:
        """Those of its plugin."""
        return dict(parsed_plugin(component.plugin, self.context).commands)

    def get_streams(self, component: DataComponent) -> list[dict[str, Any]] | None:
        """What an extractor's last discovery found, with what of it is selected; absent for others."""
        return component.streams if component.plugin.plugin_type == "EXTRACTOR" else None

    def get_draft(self, component: DataComponent) -> bool:
        """A component that is kept is no draft."""
        return False

    def get_managed(self, component: DataComponent) -> bool:
        """Nobody but the workspace's members runs one."""
        return False

    def embedded(self, component: DataComponent) -> dict[str, Any]:
        known = self.context.setdefault("embedded_plugins", {})
        if component.plugin_id not in known:
            known[component.plugin_id] = DataPluginSerializer(component.plugin, bare=True, context=self.context).data
        return {"dataplugin": known[component.plugin_id]}

    def links(self, component: DataComponent) -> dict[str, Link]:
        address = href(self.request, "api-datacomponent", component.pk)
        links = {"self": link(address)}
        if self.context["access"].can(component.workspace_id, WRITE):
            links["update datacomponent"] = link(address, "PUT")
            links["delete datacomponent"] = link(address, "DELETE")
        links["dataplugin"] = link(href(self.request, "api-dataplugin", component.plugin_id), "GET")
        links["workspace"] = link(href(self.request, "api-workspace", component.workspace_id), "GET")
        return links


@dataclass(frozen=True)
class NewComponent:
    """What a body says a component is to be."""

    name: str
    plugin: str
    properties: Mapping[str, Any]


def read_component(body: Mapping[str, Any]) -> NewComponent:
    """A component from a body. Fields that were read and sent back are ignored; others that are unknown are a fault."""
    known = (*DataComponentSerializer().fields, "_links", "_embedded", "dataPluginLogoUrl", "repositoryPath")
    faults = []
    for name in body:
        if name not in known:
            meant = nearest(name, WRITTEN)
            remedy = f"Did you mean {meant}?" if meant else f"A component takes {', '.join(WRITTEN)}."
            faults.append(FieldError(name, f"There is no field '{name}' here. {remedy}", code="unknown"))
    for name in ("name", "dataPlugin"):
        value = body.get(name)
        if not isinstance(value, str) or not value.strip():
            example = "Shop" if name == "name" else "extractors/tap-sql"
            message = f"{name} is to be a text, such as {example}."
            faults.append(FieldError(name, message, code="required", value=value))
    properties = body.get("properties", {})
    if not isinstance(properties, dict):
        message = 'properties is to be an object of texts, such as {"host": "db.example.com"}.'
        faults.append(FieldError("properties", message, code="type", value=properties))
    if faults:
        raise Invalid(" ".join(fault.message for fault in faults), errors=faults)
    return NewComponent(body["name"], body["dataPlugin"], properties)
