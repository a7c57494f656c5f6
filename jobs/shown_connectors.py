"""What a pipeline's configuration page says of a connector: its environment, its source's streams and which are selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.engine.singer import apply_selection, streams_of
from jobs.models import Job
from jobs.versions import version_of
from pipelines.components import definition_of
from pipelines.connector_config import metadata_rules_of, selection_of
from pipelines.models import ComponentCatalog, DataComponent, Pipeline, PluginEnvironment, PluginType
from pipelines.plugins import Plugin
from pipelines.selection import metadata_of, select_of
from pipelines.validation import split_properties
from pipelines.values import ValueFault
from workspaces.models import User

MOST_STREAMS = 50  # shown; selected ones first
MOST_COLUMNS = 200  # of each


@dataclass(frozen=True)
class ShownStream:
    """A stream of a source, and what is read of it."""

    name: str
    is_selected: bool
    columns: Sequence[tuple[str, str]]  # name, and AUTOMATIC, SELECTED or EXCLUDED; the first of them
    chosen: int
    total: int
    method: str
    key: str
    keys: Sequence[str]

    @property
    def more(self) -> int:
        """Columns that are not among those shown."""
        return self.total - len(self.columns)


@dataclass(frozen=True)
class ShownEnvironment:
    """Where a connector is installed."""

    row: PluginEnvironment
    version: str
    packages: Sequence[tuple[str, str]]


@dataclass
class ShownConnector:
    """What belongs to a component beside its settings."""

    environment: ShownEnvironment | None = None
    is_extractor: bool = False
    is_native: bool = True
    select: Sequence[str] = ()  # empty: what the source's catalog says
    select_from: str = ""
    metadata: Sequence[tuple[str, Mapping[str, Any]]] = ()
    fault: str = ""  # of the rules
    streams: Sequence[ShownStream] = ()
    selected: int = 0
    total: int = 0
    discovered_at: datetime | None = None
    job: Job | None = None  # that found the streams

    @property
    def more(self) -> int:
        """Streams that are not among those shown."""
        return self.total - len(self.streams)


def shown_connectors(pipeline: Pipeline, user: User) -> dict[Any, ShownConnector]:
    """By component id. Opens no setting but the selection, which is no secret."""
    components = [step.component for step in pipeline.steps.select_related("component__plugin")]  # type: ignore[attr-defined]
    overrides = split_properties(pipeline.properties, [component.name for component in components])[0]
    catalogs = {row.component_id: row for row in ComponentCatalog.objects.filter(component__in=components)}
    plugins = {component.pk: definition_of(component.plugin) for component in components}
    fingerprints = [plugin.fingerprint for plugin in plugins.values() if not plugin.is_native]
    environments = {row.fingerprint: row for row in PluginEnvironment.objects.filter(fingerprint__in=fingerprints)}
    ids = [row.job_id for row in catalogs.values() if row.job_id]
    finders = {job.pk: job for job in Job.objects.visible_to(user).filter(pk__in=ids).only("number")} if ids else {}
    found = {}
    for component in components:
        plugin = plugins[component.pk]
        shown = ShownConnector(is_native=plugin.is_native)
        if row := None if plugin.is_native else environments.get(plugin.fingerprint):
            version = version_of(row.requirements, row.packages)
            shown.environment = ShownEnvironment(row, version, sorted(row.packages.items()))
        if component.plugin.plugin_type == PluginType.EXTRACTOR:
            _add_selection(shown, component, plugin, overrides[component.name])
            if catalog := catalogs.get(component.pk):
                _add_streams(shown, catalog.catalog)
                shown.discovered_at, shown.job = catalog.discovered_at, finders.get(catalog.job_id)
        found[component.pk] = shown
    return found


def _add_selection(shown: ShownConnector, component: DataComponent, plugin: Plugin, over: Mapping[str, str]) -> None:
    """The rules that count: the pipeline's, else the component's, else the definition's."""
    shown.is_extractor = True
    settings: dict[str, Any] = {}
    try:
        for name, read in (("_select", select_of), ("_metadata", metadata_of)):
            text = over.get(name) or component.properties.get(name) or ""
            if text.startswith("$"):
                shown.fault = f"{name} is the workspace's variable {text}, which is not opened here."
                return
            if text:
                settings[name] = read(text)
    except ValueFault as fault:
        shown.fault = f"{name}: {fault}"
        return
    shown.select = selection_of(plugin, settings)
    place = "this pipeline" if over.get("_select") else "the component" if settings.get("_select") else "the definition"
    shown.select_from = place if shown.select else ""
    shown.metadata = sorted(metadata_rules_of(plugin, settings).items())


def _add_streams(shown: ShownConnector, catalog: Mapping[str, Any]) -> None:
    """Which streams there are and which are selected, and the columns of the first of them.

    Columns take their time: of a source with a thousand streams only those are looked at that are shown.
    """
    entries, rules = list(catalog.get("streams") or ()), dict(shown.metadata)
    shown.total, rows = len(entries), None
    if len(entries) > MOST_STREAMS:
        rows = streams_of(apply_selection({"streams": [_bare(entry) for entry in entries]}, shown.select, rules))
        ordered = sorted(zip(rows, entries, strict=True), key=lambda pair: not pair[0]["selected"])
        entries = [entry for _, entry in ordered[:MOST_STREAMS]]
    first = streams_of(apply_selection({**catalog, "streams": entries}, shown.select, rules))
    shown.selected = sum(1 for row in rows or first if row["selected"])
    shown.streams = [_stream(row) for row in sorted(first, key=lambda row: not row["selected"])]


def _bare(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A catalog's stream without its columns."""
    metadata = [each for each in entry.get("metadata") or () if not each.get("breadcrumb")]
    return {**{key: value for key, value in entry.items() if key != "schema"}, "metadata": metadata}


def _stream(row: Mapping[str, Any]) -> ShownStream:
    fields = row["fields"]
    chosen = sum(1 for field in fields if field["selected"] != "EXCLUDED") if row["selected"] else 0
    return ShownStream(
        name=row["name"],
        is_selected=row["selected"],
        columns=[(field["name"], field["selected"]) for field in fields[:MOST_COLUMNS]],
        chosen=chosen,
        total=len(fields),
        method=row["replication_method"].replace("_", " ").capitalize(),
        key=row["replication_key"],
        keys=row["key_properties"],
    )
