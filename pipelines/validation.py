"""Properties against settings: names, kinds, what is missing, paths, secrets, and circles of triggers.

Properties are what people write: setting name to text. Settings are what a run gets: setting name to typed value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eltsite.errors import FieldError, Invalid
from pipelines.plugins import (
    MASK,
    RESERVED,
    Plugin,
    Setting,
    must_be_given,
    paths_of,
)
from pipelines.selection import metadata_of, metadata_warnings, select_of, select_warnings
from pipelines.typed import with_defaults
from pipelines.values import ValueFault, nearest
from pipelines.variables import resolved_value

MOST_NAMED = 12  # names in one sentence
READERS = {"_select": select_of, "_metadata": metadata_of}
SHORTEST_MASKED = 4  # characters: shorter secrets are not masked in logs, they would blot out ordinary text


@dataclass(frozen=True)
class Surroundings:
    """What properties are checked against beside their plugin: the workspace's variables, the allowed folders."""

    variables: Mapping[str, str] = field(default_factory=dict)
    allowed_folders: Sequence[str] = ()


@dataclass(frozen=True)
class Part:
    """A component of a pipeline, as the checks see it: its own properties, and what the pipeline sets over them."""

    name: str
    plugin: Plugin
    properties: Mapping[str, str]
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def merged(self) -> dict[str, str]:
        """The pipeline's properties over the component's. Empty ones count as not given."""
        given = {name: text for name, text in self.overrides.items() if text != ""}
        return {name: text for name, text in self.properties.items() if text != ""} | given


# ---------- names ----------


def split_property(key: str, component_names: Iterable[str]) -> tuple[str, str] | None:
    """`<component>.<setting>` split at the component's name: both may hold dots. None when no component fits."""
    fitting = [name for name in component_names if key.startswith(name + ".") and len(key) > len(name) + 1]
    if not fitting:
        return None
    component = max(fitting, key=len)
    return component, key[len(component) + 1 :]


def split_properties(
    properties: Mapping[str, str], component_names: Collection[str]
) -> tuple[dict[str, dict[str, str]], list[FieldError]]:
    """Properties by component, and an error for each key that names none of them."""
    found: dict[str, dict[str, str]] = {name: {} for name in component_names}
    errors = []
    for key, value in properties.items():
        parts = split_property(key, component_names)
        if parts is None:
            names = " or ".join(f"{name}." for name in component_names) or "a component's name and a dot"
            errors.append(
                _error(key, f"{key} names no component of this pipeline. Begin it with {names}", code="unknown")
            )
        else:
            found[parts[0]][parts[1]] = value
    return found, errors


def canonical(plugin: Plugin, properties: Mapping[str, Any]) -> dict[str, str]:
    """Properties with aliases replaced by the names of their settings, and values as texts."""
    result = {}
    for name, value in properties.items():
        setting = plugin.setting(name)
        result[setting.name if setting else name] = text_of(value)
    return result


def text_of(value: Any) -> str:
    """A property's value as the text it is stored as; None is the empty text, which counts as not given."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False)


# ---------- values ----------


def check_properties(
    plugin: Plugin, properties: Mapping[str, str], around: Surroundings, *, prefix: str = ""
) -> list[FieldError]:
    """Faults of properties on their own: unknown names, values of the wrong kind, paths that lead outside."""
    errors, typed = [], {}
    for name, text in properties.items():
        key = prefix + name
        if name in RESERVED and plugin.is_extractor:
            errors += _check_reserved(key, name, text)
            continue
        setting = plugin.setting(name)
        if setting is None:
            errors.append(_unknown(plugin, key, name))
        elif text != "":
            try:
                typed[setting.name] = resolved_value(setting, text, around.variables)
            except ValueFault as fault:
                message = f"{key}: {fault}"
                errors.append(_error(key, message, value=None if setting.is_secret else text, code="value"))
    return errors + _check_paths(plugin, typed, around, prefix, properties)


def load_settings(part: Part, variables: Mapping[str, str]) -> dict[str, Any]:
    """What a run of the plugin gets: defaults, then the component's properties, then the pipeline's; typed.

    Raises Invalid with an error for each setting that is missing or wrong.
    """
    settings, errors = _load(part, Surroundings(variables))
    if errors:
        raise Invalid(summary(errors), errors=errors)
    return settings


def check_part(part: Part, around: Surroundings) -> list[FieldError]:
    """Faults of a component as a pipeline uses it: those of the pipeline's properties, and what is missing."""
    errors = check_properties(part.plugin, part.overrides, around, prefix=f"{part.name}.")
    seen = {error.field for error in errors}
    return errors + [error for error in _load(part, around)[1] if error.field not in seen]


def _load(part: Part, around: Surroundings) -> tuple[dict[str, Any], list[FieldError]]:
    errors, typed = [], {}
    for name, text in part.merged.items():
        setting = part.plugin.setting(name)
        if name in RESERVED and part.plugin.is_extractor:
            try:
                typed[name] = READERS[name](text)
            except ValueFault as fault:
                errors.append(_error(f"{part.name}.{name}", f"{part.name}.{name}: {fault}", value=text, code="value"))
        elif setting is not None:
            try:
                typed[setting.name] = resolved_value(setting, text, around.variables)
            except ValueFault as fault:
                key = f"{part.name}.{name}"
                errors.append(_error(key, f"{key}: {fault}", value=None if setting.is_secret else text, code="value"))
    settings = with_defaults(part.plugin, typed, around.variables)
    faulty = {error.field for error in errors}
    for setting in part.plugin.settings:
        key = f"{part.name}.{setting.name}"
        empty = settings.get(setting.name) in (None, "", [], {})
        if must_be_given(setting, settings) and empty and f"properties.{key}" not in faulty:
            message = (
                f"{key} is missing: {part.plugin.label} needs its {setting.title}. Give it here or on {part.name}."
            )
            errors.append(_error(key, message, code="required"))
    return settings, errors or _check_groups(part, settings)


def _check_groups(part: Part, settings: Mapping[str, Any]) -> list[FieldError]:
    """An error where the definition wants one of several groups of settings, and none is given whole."""
    known = {setting.name for setting in part.plugin.settings}
    given = {name for name, value in settings.items() if value not in (None, "", [], {})}

    def missing(group: Sequence[str]) -> list[str]:
        # A group may also name what others lie in (`oauth` for `oauth.client_id`), or what no setting is called.
        inside = [name for name in group if not any(other.startswith(f"{name}.") for other in given)]
        return [name for name in inside if name in known and name not in given]

    lacking = [missing(group) for group in part.plugin.groups]
    if not lacking or [] in lacking:
        return []
    closest = min(lacking, key=len)
    groups = ", or ".join(" and ".join(group) for group in part.plugin.groups)
    message = (
        f"{part.name}.{closest[0]} is missing: {part.plugin.label} needs {groups}. "
        f"Give {' and '.join(closest)} here or on {part.name}."
    )
    return [_error(f"{part.name}.{closest[0]}", message, code="required")]


def _check_reserved(key: str, name: str, text: str) -> list[FieldError]:
    try:
        if text:
            READERS[name](text)
    except ValueFault as fault:
        return [_error(key, f"{key}: {fault}", value=text, code="value")]
    return []


def _unknown(plugin: Plugin, key: str, name: str) -> FieldError:
    known = [setting.name for setting in plugin.settings if not setting.hidden]
    meant = nearest(name, known)
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    takes = f"It takes {', '.join(known[:MOST_NAMED])}{more}." if known else "It takes no settings."
    remedy = f"Did you mean {meant}?" if meant else takes
    return _error(key, f"{key}: {plugin.label} ({plugin.name}) has no setting {name}. {remedy}", code="unknown")


def _check_paths(
    plugin: Plugin, typed: Mapping[str, Any], around: Surroundings, prefix: str, written: Mapping[str, str]
) -> list[FieldError]:
    """Paths that lead outside whatever the links on the host say; those are looked at when a run opens the path."""
    errors = []
    for where, path in paths_of(plugin, with_defaults(plugin, typed)):
        name = where.partition("[")[0]
        if name in typed and not _may_lie_inside(path, around.allowed_folders):
            seen = path if path in written.get(name, "") else "the path behind its variables"
            message = (
                f"{prefix}{where}: {seen} is outside the allowed folders. Use a path inside the workspace, "
                "or have an administrator add its folder to ELTSITE_ALLOWED_FOLDERS."
            )
            errors.append(_error(prefix + name, message, code="path-outside"))
    return errors


def _may_lie_inside(path: str, allowed: Sequence[str]) -> bool:
    normal = os.path.normpath(path)
    if not os.path.isabs(normal):
        return normal != ".." and not normal.startswith("../")
    # Both as they are written and with their links followed, so that /data may be a link.
    roots = {os.path.normpath(folder) for folder in allowed} | {os.path.realpath(folder) for folder in allowed}
    return any(normal == root or normal.startswith(root.rstrip("/") + "/") for root in roots)


# ---------- secrets ----------


def mask(plugin: Plugin, properties: Mapping[str, str]) -> dict[str, str]:
    """Properties as they may be shown: a secret that has a value is `***`."""
    secret = plugin.secret_names
    return {name: MASK if name in secret and text else text for name, text in properties.items()}


def unmask(
    plugin: Plugin,
    properties: Mapping[str, str],
    stored: Mapping[str, str],
    *,
    prefix: str = "",
    noted: Collection[str] = (),
) -> tuple[dict[str, str], list[FieldError]]:
    """Properties with each secret's `***` replaced by its stored value, and an error where there is none.

    `noted` names what was stored as a secret and is none by the present definition; it is shown as `***` too.
    """
    result, errors = dict(properties), []
    for name in (plugin.secret_names | set(noted)) & properties.keys():
        if properties[name] != MASK:
            continue
        if name in stored:
            result[name] = stored[name]
        else:
            message = f"{prefix}{name}: {MASK} stands for the stored value, and none is stored. Write the value itself."
            errors.append(_error(prefix + name, message, code="no-stored-value"))
    return result, errors


def changed_secrets(plugin: Plugin, properties: Mapping[str, str], stored: Mapping[str, str]) -> set[str]:
    """The names of the secrets that have a new value."""
    return {
        name
        for name in plugin.secret_names & properties.keys()
        if properties[name] and properties[name] != stored.get(name)
    }


# ---------- warnings ----------


def warnings_of(part: Part, variables: Mapping[str, str]) -> list[str]:
    """What is allowed and probably not meant, as sentences."""
    found = []
    for name, text in part.merged.items():
        setting = part.plugin.setting(name)
        if name in RESERVED and "CATALOG" not in part.plugin.capabilities:
            found.append(
                f"{part.name}.{name} has no effect: {part.plugin.label} reads what its own settings name. Take it out."
            )
        elif name in RESERVED:
            found += [f"{part.name}.{name} {words}" for words in _reserved_warnings(name, text)]
        if setting and setting.is_secret and len(_resolved_or_empty(setting, text, variables)) < SHORTEST_MASKED:
            found.append(
                f"{part.name}.{setting.name} is shorter than {SHORTEST_MASKED} characters, so it is not masked in logs. "
                "Choose a longer one."
            )
    return found


def _reserved_warnings(name: str, text: str) -> list[str]:
    try:
        return select_warnings(select_of(text)) if name == "_select" else metadata_warnings(metadata_of(text))
    except ValueFault:
        return []  # reported as an error elsewhere


def _resolved_or_empty(setting: Setting, text: str, variables: Mapping[str, str]) -> str:
    try:
        return str(resolved_value(setting, text, variables))
    except ValueFault:
        return " " * SHORTEST_MASKED  # reported as an error elsewhere


def pair_warnings(extractor: Mapping[str, Any], loader: Mapping[str, Any]) -> list[str]:
    """What the typed settings of a native extractor and a native loader, each fine alone, will do together."""
    found = []
    for row in [*extractor.get("tables", []), *extractor.get("files", [])]:
        stream = row.get("stream") or row.get("table")
        if loader.get("load_method") == "merge" and not row.get("primary_keys"):
            found.append(f"Stream {stream} has no primary key, which merge needs. Name its columns in primary_keys.")
        if (
            loader.get("load_method") == "append"
            and "path" not in row
            and row.get("replication_method", "FULL_TABLE") == "FULL_TABLE"
        ):
            found.append(
                f"Stream {stream} is read in full and appended, so each run adds all its rows again. "
                "Use replace or merge, or make it incremental."
            )
    return found


# ---------- triggers ----------


def find_circle(start: Any, upstream: Mapping[Any, Collection[Any]]) -> list[Any] | None:
    """The shortest way from `start` over what triggers it back to itself, `start` first and last; None without one."""
    ways: list[list[Any]] = [[start]]
    seen = set()
    for way in ways:  # grows while it is walked: breadth first
        for other in upstream.get(way[-1], ()):
            if other == start:
                return [*way, start]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None


def summary(errors: Sequence[FieldError]) -> str:
    """One line over several errors."""
    return errors[0].message if len(errors) == 1 else f"{len(errors)} settings need attention. {errors[0].message}"


def _error(key: str, message: str, *, value: Any = None, code: str) -> FieldError:
    return FieldError(field=f"properties.{key}", message=message, code=code, value=value)
