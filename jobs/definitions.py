"""A pipeline's two ends as values: which component, which plugin, which typed settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eltsite.errors import Invalid
from pipelines.components import definition_of, part_of, variables_of
from pipelines.connector_config import meltano_variables
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
        """The values that must never be seen; of an object or a list, such as an account's key file, each text in it."""
        names = self.plugin.secret_names
        return [text for name, value in self.settings.items() if name in names for text in _texts_of(value)]


def _texts_of(value: Any) -> Iterator[str]:
    """All texts of a value, at any depth. A number stands for itself only where it is the whole value."""
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            if isinstance(inner, str | Mapping | list):
                yield from _texts_of(inner)
    elif value not in (None, ""):
        yield str(value)


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
    extractor, loader = (_first(components, kind) for kind in (PluginType.EXTRACTOR, PluginType.LOADER))
    # Defaults of published definitions refer to the other end; a variable of the workspace comes before ours.
    known = meltano_variables(*(definition_of(each.plugin) if each else None for each in (extractor, loader)))
    variables = known | variables_of(pipeline.workspace)

    def end_of(component: DataComponent | None) -> End | None:
        if component is None:
            return None
        part = part_of(component, overrides[component.name])
        return End(component, part.plugin, load_settings(part, variables))

    return Ends(end_of(extractor), end_of(loader))


def _first(components: Sequence[DataComponent], kind: Any) -> DataComponent | None:
    return next((component for component in components if component.plugin.plugin_type == kind), None)


def ends_of_component(component: DataComponent) -> Ends:
    """A component tested by itself. Raises Invalid where its settings have faults."""
    part = part_of(component)
    end = End(component, part.plugin, load_settings(part, variables_of(component.workspace)))
    return Ends(end if part.plugin.is_extractor else None, end if part.plugin.is_loader else None)
