"""A pipeline's two ends as values: which component, which plugin, which typed settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eltsite.errors import Invalid
from pipelines.models import DataComponent, Pipeline, PluginType, WorkspaceVariable
from pipelines.plugins import Plugin, parse
from pipelines.validation import Part, load_settings, split_properties
from workspaces.models import Workspace


@dataclass(frozen=True)
class End:
    """An extractor or a loader as a run uses it. Its settings hold open secrets."""

    component: DataComponent
    plugin: Plugin
    settings: dict[str, Any]

    @property
    def secrets(self) -> list[str]:
        """The values that must never be seen."""
        names = self.plugin.secret_names
        return [str(value) for name, value in self.settings.items() if name in names and value not in (None, "")]


@dataclass(frozen=True)
class Ends:
    """What a pipeline moves from and to; either may be missing."""

    extractor: End | None
    loader: End | None

    @property
    def both(self) -> list[End]:
        """Those that there are."""
        return [end for end in (self.extractor, self.loader) if end is not None]


def variables_of(workspace: Workspace) -> dict[str, WorkspaceVariable]:
    """The workspace's variables by name."""
    return {variable.name: variable for variable in WorkspaceVariable.objects.filter(workspace=workspace)}


def ends_of(pipeline: Pipeline) -> Ends:
    """The first extractor and the first loader of a pipeline. Raises Invalid where their settings have faults."""
    steps = list(pipeline.steps.select_related("component__plugin").order_by("position"))
    components = [step.component for step in steps]
    overrides, errors = split_properties(pipeline.properties, [component.name for component in components])
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    variables = {name: str(variable.value) for name, variable in variables_of(pipeline.workspace).items()}

    def first(kind: str) -> End | None:
        for component in components:
            if component.plugin.plugin_type == kind:
                plugin = parse(component.plugin.definition)
                part = Part(component.name, plugin, component.properties, overrides[component.name])
                return End(component, plugin, load_settings(part, variables))
        return None

    return Ends(first(PluginType.EXTRACTOR), first(PluginType.LOADER))
