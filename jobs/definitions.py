"""A pipeline's two ends as values: which component, which plugin, which typed settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eltsite.errors import Invalid
from pipelines.components import part_of, variables_of
from pipelines.models import DataComponent, Pipeline, PluginType
from pipelines.plugins import Plugin
from pipelines.validation import load_settings, split_properties


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


def ends_of(pipeline: Pipeline) -> Ends:
    """The first extractor and the first loader of a pipeline. Raises Invalid where their settings have faults."""
    components = [step.component for step in pipeline.steps.select_related("component__plugin")]
    overrides, errors = split_properties(pipeline.properties, [component.name for component in components])
    if errors:
        raise Invalid(errors[0].message, errors=errors)
    variables = variables_of(pipeline.workspace)

    def first(kind: Any) -> End | None:
        for component in components:
            if component.plugin.plugin_type == kind:
                part = part_of(component, overrides[component.name])
                return End(component, part.plugin, load_settings(part, variables))
        return None

    return Ends(first(PluginType.EXTRACTOR), first(PluginType.LOADER))


def ends_of_component(component: DataComponent) -> Ends:
    """A component tested by itself. Raises Invalid where its settings have faults."""
    part = part_of(component)
    end = End(component, part.plugin, load_settings(part, variables_of(component.workspace)))
    return Ends(end if part.plugin.is_extractor else None, end if part.plugin.is_loader else None)
