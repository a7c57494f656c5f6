"""What a connector gets of its settings: its config file, the variables of its process, its selection. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.plugins import RESERVED, Plugin


def config_of(plugin: Plugin, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The config file's content from the typed settings, defaults included.

    A dotted name is nested, as in Meltano: `oauth.client_id` becomes {"oauth": {"client_id": ...}}; beside it an
    object setting `oauth` is filled up, and the dotted name wins. None, `_select` and `_metadata` are left out.
    """
    config: dict[str, Any] = {}
    given = {name: value for name, value in settings.items() if value is not None and name not in RESERVED}
    for name in sorted(given, key=lambda each: each.count(".")):  # objects first, then what is set inside them
        *parents, last = name.split(".")
        place = config
        for parent in parents:
            inner = place.get(parent)
            # A copy, for it may be the object of a setting; and what is no object gives way to its parts.
            place[parent] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[parent]
        value, present = given[name], place.get(last)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            place[last] = _merged(present, value)
        else:
            place[last] = value
    return config


def _merged(below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `below`, object by object."""
    result = dict(below)
    for key, value in over.items():
        present = result.get(key)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(present, value)
        else:
            result[key] = value
    return result


def variables_of_process(plugin: Plugin, settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings as environment variables of the connector's process, such as TAP_X_API_KEY.

    Booleans are true and false, lists and objects JSON, numbers digits. None, `_select` and `_metadata` are left out.
    """
    found = {}
    for setting in plugin.settings:
        value = settings.get(setting.name)
        if value is not None and setting.name not in RESERVED:
            found[plugin.env_name(setting)] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def selection_of(plugin: Plugin, settings: Mapping[str, Any]) -> list[str]:
    """The selection rules of an extractor: those of its settings, else its definition's; empty: what its catalog says."""
    return list(settings.get("_select") or plugin.select)


def metadata_rules_of(plugin: Plugin, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The metadata rules of an extractor: those of its definition, and over them those of its settings."""
    rules = {name: dict(values) for name, values in plugin.metadata.items()}
    for name, values in (settings.get("_metadata") or {}).items():
        rules[name] = rules.get(name, {}) | dict(values)
    return rules


def meltano_variables(extractor: Plugin | None, loader: Plugin | None) -> dict[str, str]:
    """The variables that defaults of published definitions refer to, such as `$MELTANO_EXTRACT__LOAD_SCHEMA`."""
    found = {}
    if extractor is not None:
        found["MELTANO_EXTRACTOR_NAME"] = extractor.name
        found["MELTANO_EXTRACTOR_NAMESPACE"] = extractor.namespace
        found["MELTANO_EXTRACT__LOAD_SCHEMA"] = extractor.namespace
    if loader is not None:
        found["MELTANO_LOADER_NAME"] = loader.name
        found["MELTANO_LOADER_NAMESPACE"] = loader.namespace
    return found
