"""Connectors as the engine runs them: from components, plugins and environments to plain values."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.crypto import salted_hmac

from jobs.definitions import End, Ends
from jobs.engine.interface import Connector, Environment
from pipelines.connector_config import config_of, metadata_rules_of, selection_of, variables_of_process
from pipelines.models import ComponentCatalog, PluginEnvironment
from pipelines.plugins import store_of
from pipelines.services import environment_for

CATALOG_LASTS = timedelta(hours=24)
# What the installer may see of eltsite's own environment: how to reach an index, and whom to trust.
INSTALLER_VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_HTTP_TIMEOUT",
    "UV_NATIVE_TLS",
)


def connectors_of(ends: Ends) -> list[End]:
    """Those of the ends that run in an environment of their own."""
    return [end for end in ends.both if not end.plugin.is_native]


def environments_of(ends: Ends) -> list[Environment]:
    """What is to be installed for the connectors, each once, as it was recorded."""
    found: dict[str, Environment] = {}
    for end in connectors_of(ends):
        row = environment_for(end.plugin)
        known = found.get(row.fingerprint)
        name = f"{known.name}, {end.plugin.name}" if known else end.plugin.name
        found[row.fingerprint] = Environment(
            name=name,
            fingerprint=row.fingerprint,
            requirements=row.requirements,
            python=row.python,
            lock=row.lock,
            replaces="" if row.lock else row.previous_lock,
        )
    return list(found.values())


def connector_of(end: End) -> Connector:
    """A tap or target with its settings opened."""
    plugin, settings = end.plugin, end.settings
    return Connector(
        name=end.component.name,
        plugin=plugin.name,
        executable=plugin.executable,
        fingerprint=plugin.fingerprint,
        config=config_of(plugin, settings),
        variables=variables_of_process(plugin, settings),
        capabilities=frozenset(word.lower() for word in plugin.capabilities),
        select=tuple(selection_of(plugin, settings)),
        metadata=metadata_rules_of(plugin, settings),
        store=store_of(plugin, settings),
    )


def discovers(end: End) -> bool:
    """Whether its source can be asked for its streams, and is told which of them to read."""
    words = {word.lower() for word in end.plugin.capabilities}
    return "discover" in words and bool(words & {"catalog", "properties"})


def catalog_key(end: End) -> str:
    """What a catalog depends on: settings and versions. Another key means that the source is to be asked anew.

    Keyed with eltsite's own secret: whoever reads the database cannot try passwords on it.
    """
    settings = {name: value for name, value in end.settings.items() if not name.startswith("_")}
    versions = environment_for(end.plugin).lock if not end.plugin.is_native else ""
    text = json.dumps([end.plugin.full_name, settings, versions], sort_keys=True, default=str)
    return salted_hmac("jobs.connectors.catalog_key", text, algorithm="sha256").hexdigest()


def known_catalog(end: End, *, now: datetime | None = None) -> dict[str, Any] | None:
    """The catalog found last, where settings and versions are still the same and it is not older than a day."""
    row = ComponentCatalog.objects.filter(component=end.component, key=catalog_key(end)).first()
    if row is None or (now or timezone.now()) - row.discovered_at > CATALOG_LASTS:
        return None
    return row.catalog


def installer_environment() -> dict[str, str]:
    """How the installer reaches an index: what eltsite's own environment says."""
    return {name: os.environ[name] for name in INSTALLER_VARIABLES if os.environ.get(name)}


def used_locks() -> set[str]:
    """The locks that jobs may still use: the present ones, and those a step back returns to."""
    rows = PluginEnvironment.objects.values_list("lock", "previous_lock")
    return {lock for pair in rows for lock in pair if lock}
