"""Plugin definitions as HAL bodies, and as a Meltano discovery document. Defaults of secret settings are masked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from eltsite.api.links import HALSerializer, Link, href, link
from pipelines.hub import KEYS, LISTS
from pipelines.models import DataPlugin
from pipelines.plugins import MASK, parse_setting
from workspaces.permissions import ADMIN

# The contract's fields in its order; what else a definition has follows them.
FIELDS = (
    *("id", "pluginType", "name", "variant", "namespace", "label", "description", "fullDescription", "logoUrl"),
    *("docs", "repo", "pipUrl", "executable", "python", "hidden", "capabilities", "select", "update", "vars"),
    *("metadata", "settings", "settingsGroupValidation", "commands", "requires", "inheritFrom", "default"),
)
DISCOVERY_VERSION = 22  # of the form; the last one that Meltano gave it
LIST_OF_TYPE = {kind: name for name, kind in LISTS.items()}
MELTANO_KEYS = {ours: name for name, ours in KEYS.items() if ours != "pluginType"}
OF_THE_PLUGIN = ("name", "namespace", "label")  # in a discovery document; the rest is a variant's
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class DataPluginSerializer(HALSerializer):
    """A definition, whole. `fullName` and `workspace` (of one that a workspace made) are ours."""

    def to_representation(self, plugin: DataPlugin) -> dict[str, Any]:
        given = shown_definition(plugin)
        body = {name: given[name] for name in FIELDS if name in given}
        body |= {name: value for name, value in given.items() if name not in body}
        body["fullName"] = plugin.full_name
        if plugin.workspace_id is not None:
            body["workspace"] = str(plugin.workspace_id)
        if not self.bare:
            body["_links"] = self.links(plugin)
        return body

    def links(self, plugin: DataPlugin) -> dict[str, Link]:
        address = href(self.request, "api-dataplugin", plugin.pk)
        links = {"self": link(address)}
        if plugin.workspace_id is not None:
            if self.context["access"].can(plugin.workspace_id, ADMIN):
                place = href(self.request, "api-workspace-dataplugin", plugin.workspace_id, plugin.pk)
                links["update dataplugin"] = link(place, "PUT")
                links["delete dataplugin"] = link(address, "DELETE")
            links["workspace"] = link(href(self.request, "api-workspace", plugin.workspace_id), "GET")
        return links


def shown_definition(plugin: DataPlugin) -> dict[str, Any]:
    """A plugin's definition as everybody may see it, with the values that the row has."""
    given = {name: value for name, value in plugin.definition.items() if value is not None}
    given |= {"id": str(plugin.pk), "pluginType": plugin.plugin_type, "name": plugin.name, "variant": plugin.variant}
    if plugin.is_hidden:
        given["hidden"] = True
    given["capabilities"] = list(given.get("capabilities") or [])
    given["settings"] = [_shown_setting(setting) for setting in given.get("settings") or []]
    return given


def _shown_setting(given: Mapping[str, Any]) -> dict[str, Any]:
    """A setting: `required` is a text, as the contract has it; the default of a secret is `***`."""
    found = dict(given)
    if "required" in found:
        found["required"] = str(found["required"]).lower()
    if found.get("value") not in (None, "") and parse_setting(given).is_secret:
        found["value"] = MASK
    if isinstance(found.get("items"), list):
        found["items"] = [_shown_setting(item) for item in found["items"]]
    return found


# ---------- Meltano's discovery document ----------


def discovery_of(plugins: Iterable[DataPlugin]) -> str:
    """The definitions as a Meltano discovery document: YAML, variants under their plugin."""
    document: dict[str, Any] = {"version": DISCOVERY_VERSION}
    by_name: dict[tuple[str, str], dict[str, Any]] = {}
    for row in plugins:
        given = _in_meltanos_words(shown_definition(row))
        key = (LIST_OF_TYPE[row.plugin_type], row.name)
        if key not in by_name:
            by_name[key] = {name: given[name] for name in OF_THE_PLUGIN if name in given} | {"variants": []}
            document.setdefault(key[0], []).append(by_name[key])
        plugin = by_name[key]
        variant = {name: value for name, value in given.items() if plugin.get(name, given) != value}
        plugin["variants"].append({"name": row.variant, **variant})
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _in_meltanos_words(given: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("id", "pluginType", "variant", "monogram")
    found = {MELTANO_KEYS.get(name, name): value for name, value in given.items() if name not in left_out}
    found["capabilities"] = [word.lower().replace("_", "-") for word in found["capabilities"]]
    found["settings"] = [_setting_in_meltanos_words(setting) for setting in found["settings"]]
    return found


def _setting_in_meltanos_words(given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "kind" in found:
        found["kind"] = str(found["kind"]).lower()
    if "required" in found:
        found["required"] = found["required"] == "true"
    if found.get("value") == MASK and parse_setting(given).is_secret:
        del found["value"]  # there is no mask in Meltano: it would be taken for the default
    return found


class _Dumper(_SafeDumper):  # type: ignore[misc]
    """Writes a value that stands in two places twice: aliases are refused by readers like our own."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
