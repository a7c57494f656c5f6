"""Plugin definitions: what a plugin is called and which settings it takes, of which kind. Pure.

A definition is a mapping in the contract's shape (`pluginType`, `settings`, ...), kept whole in the database and,
for the plugins shipped with the product, in catalogue/*.yaml. Beside the contract's keys a setting may have
`items` (the settings of each object of an ARRAY_OBJECT), `when` and `required_when` (other settings' values under
which it applies, or must be given), `minimum` and `maximum`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from pipelines.values import ValueFault, email_of, integer_of, json_of, list_of, moment_of, option_of, truth_of

CATALOGUE = Path(__file__).parent / "catalogue"
MASK = "***"
RESERVED = ("_select", "_metadata")  # of every extractor: which streams and columns, and notes on them


class SettingKind(StrEnum):
    """What values a setting takes, as the contract names it."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"
    OPTIONS = "OPTIONS"
    PASSWORD = "PASSWORD"
    HIDDEN = "HIDDEN"
    DATE_ISO8601 = "DATE_ISO8601"
    EMAIL = "EMAIL"
    OAUTH = "OAUTH"
    FILE = "FILE"
    ARRAY = "ARRAY"
    ARRAY_OBJECT = "ARRAY_OBJECT"
    OBJECT = "OBJECT"


SECRET_KINDS = frozenset({SettingKind.PASSWORD, SettingKind.OAUTH})
JSON_KINDS = frozenset({SettingKind.ARRAY, SettingKind.ARRAY_OBJECT, SettingKind.OBJECT})


@dataclass(frozen=True)
class Option:
    """One choice of an OPTIONS setting."""

    value: str
    label: str


@dataclass(frozen=True)
class Setting:
    """One setting of a plugin. `default` is None where there is none."""

    name: str
    kind: SettingKind = SettingKind.STRING
    label: str = ""
    description: str = ""
    placeholder: str = ""
    documentation: str = ""
    default: Any = None
    required: bool = False
    sensitive: bool = False
    protected: bool = False
    hidden: bool = False
    env: str = ""
    aliases: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    items: tuple[Setting, ...] = ()
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    required_when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    minimum: int | None = None
    maximum: int | None = None

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown: passwords, and what the definition calls sensitive or protected."""
        own = self.kind in SECRET_KINDS or self.sensitive or self.protected
        return own or any(item.is_secret for item in self.items)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.label or self.name


@dataclass(frozen=True)
class Plugin:
    """A plugin's definition, parsed."""

    id: str
    plugin_type: str
    name: str
    variant: str
    namespace: str = ""
    label: str = ""
    description: str = ""
    monogram: str = ""
    capabilities: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def full_name(self) -> str:
        """The contract's fully qualified name, such as `extractors/tap-files--eltsite`."""
        return f"{self.plugin_type.lower()}s/{self.name}--{self.variant}"

    @property
    def is_extractor(self) -> bool:
        """Whether it reads a source."""
        return self.plugin_type == "EXTRACTOR"

    @property
    def is_loader(self) -> bool:
        """Whether it writes a store."""
        return self.plugin_type == "LOADER"

    def setting(self, name: str) -> Setting | None:
        """The setting of that name or alias."""
        return next((found for found in self.settings if name == found.name or name in found.aliases), None)

    @property
    def secret_names(self) -> frozenset[str]:
        """The names of the settings whose values are never shown."""
        return frozenset(name for found in self.settings if found.is_secret for name in (found.name, *found.aliases))

    def env_name(self, setting: Setting) -> str:
        """The environment variable that carries a setting, such as TAP_ORCHARD_API_KEY."""
        return setting.env or re.sub(r"\W", "_", f"{self.namespace or self.name}_{setting.name}").upper()


# ---------- reading definitions ----------


def parse(definition: Mapping[str, Any]) -> Plugin:
    """A plugin from its definition. Unknown keys are left alone; an unknown kind is read as STRING."""
    name = str(definition["name"])
    return Plugin(
        id=str(definition.get("id", "")),
        plugin_type=str(definition["pluginType"]).upper(),
        name=name,
        variant=str(definition["variant"]),
        namespace=str(definition.get("namespace") or re.sub(r"\W", "_", name)),
        label=str(definition.get("label") or name),
        description=str(definition.get("description") or ""),
        monogram=str(definition.get("monogram") or _monogram(name)),
        capabilities=tuple(str(word).upper() for word in definition.get("capabilities") or ()),
        settings=tuple(parse_setting(each) for each in definition.get("settings") or ()),
    )


def parse_setting(definition: Mapping[str, Any]) -> Setting:
    """A setting from its definition."""
    kind = str(definition.get("kind") or "STRING").upper()
    return Setting(
        name=str(definition["name"]),
        kind=SettingKind(kind) if kind in SettingKind.__members__ else SettingKind.STRING,
        label=str(definition.get("label") or ""),
        description=str(definition.get("description") or ""),
        placeholder=str(definition.get("placeholder") or ""),
        documentation=str(definition.get("documentation") or ""),
        default=definition.get("value"),
        required=_flag(definition, "required"),
        sensitive=_flag(definition, "sensitive"),
        protected=_flag(definition, "protected"),
        hidden=_flag(definition, "hidden"),
        env=str(definition.get("env") or ""),
        aliases=tuple(str(alias) for alias in definition.get("aliases") or ()),
        options=tuple(_option(each) for each in definition.get("options") or ()),
        items=tuple(parse_setting(each) for each in definition.get("items") or ()),
        when=_condition(definition.get("when")),
        required_when=_condition(definition.get("required_when")),
        minimum=definition.get("minimum"),
        maximum=definition.get("maximum"),
    )


def _flag(definition: Mapping[str, Any], key: str) -> bool:
    """A boolean; the contract writes `required` as a text."""
    return str(definition.get(key, "")).lower() == "true"


def _condition(given: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {str(name): tuple(map(str, values)) for name, values in (given or {}).items()}


def _option(given: Any) -> Option:
    if isinstance(given, Mapping):
        return Option(value=str(given["value"]), label=str(given.get("label") or given["value"]))
    return Option(value=str(given), label=str(given))


def _monogram(name: str) -> str:
    return re.sub(r"^(tap|target)-", "", name)[:2].upper()


@functools.cache
def shipped_definitions() -> tuple[Mapping[str, Any], ...]:
    """The definitions of the plugins that come with the product, by file name."""
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CATALOGUE.glob("*.yaml")))


@functools.cache
def shipped_plugins() -> tuple[Plugin, ...]:
    """The plugins that come with the product."""
    return tuple(parse(definition) for definition in shipped_definitions())


# ---------- typed values ----------


def typed_value(setting: Setting, given: Any) -> Any:
    """The value of a setting in its type; the API carries texts.

    Raises ValueFault with a sentence that names the value (unless secret), its fault and the remedy.
    """
    read: Callable[[Setting, Any], Any] = _READERS.get(setting.kind, _text_of)
    try:
        return read(setting, given)
    except ValueFault as fault:
        if setting.is_secret:
            raise ValueFault(f"{setting.title} does not have the form of {KIND_WORDS[setting.kind]}.") from None
        raise fault


def _text_of(setting: Setting, given: Any) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if not isinstance(given, str | int | float):
        raise ValueFault(f"{setting.title} takes a text, not a list or an object. Write it in quotes.")
    text = str(given)
    if "\0" in text:
        raise ValueFault(f"{setting.title} holds a zero byte, which no program takes. Remove it.")
    if setting.kind == SettingKind.FILE and "\n" in text:
        raise ValueFault(f"{setting.title} is a path and holds a line break. Write the path in one line.")
    return text


def _number(setting: Setting, given: Any) -> int:
    return integer_of(given, minimum=setting.minimum, maximum=setting.maximum)


def _choice(setting: Setting, given: Any) -> str:
    return option_of(given, [option.value for option in setting.options])


def _objects(setting: Setting, given: Any) -> list[dict[str, Any]]:
    found = json_of(given, list)
    rows = []
    for position, item in enumerate(found):
        if not isinstance(item, dict):
            raise ValueFault(f"Entry {position + 1} is not an object. Write it as {{...}}.", where=(position,))
        rows.append(_object_items(setting, item, position))
    return rows


def _object_items(setting: Setting, item: dict[str, Any], position: int) -> dict[str, Any]:
    """One object of a list, its fields typed by the setting's `items` where it has any."""
    if not setting.items:
        return item
    known = {each.name: each for each in setting.items}
    result: dict[str, Any] = {}
    for name, value in item.items():
        if name not in known:
            names = ", ".join(known)
            raise ValueFault(
                f"Entry {position + 1} has the field {name}, which is not known. It takes {names}.",
                where=(position, name),
            )
        if value is None:
            continue
        try:
            result[name] = typed_value(known[name], value)
        except ValueFault as fault:
            raise ValueFault(f"Entry {position + 1}, {name}: {fault}", where=(position, name, *fault.where)) from None
    for each in setting.items:
        if must_be_given(each, _item_defaults(setting) | result) and result.get(each.name) in (None, "", []):
            raise ValueFault(f"Entry {position + 1} has no {each.name}. Give it one.", where=(position, each.name))
    return result


def _item_defaults(setting: Setting) -> dict[str, Any]:
    return {each.name: each.default for each in setting.items if each.default is not None}


_READERS: Mapping[SettingKind, Callable[[Setting, Any], Any]] = {
    SettingKind.INTEGER: _number,
    SettingKind.BOOLEAN: lambda setting, given: truth_of(given),
    SettingKind.OPTIONS: _choice,
    SettingKind.DATE_ISO8601: lambda setting, given: moment_of(given),
    SettingKind.EMAIL: lambda setting, given: email_of(given),
    SettingKind.ARRAY: lambda setting, given: list_of(given),
    SettingKind.ARRAY_OBJECT: _objects,
    SettingKind.OBJECT: lambda setting, given: json_of(given, dict),
}
KIND_WORDS: Mapping[SettingKind, str] = {
    SettingKind.STRING: "a text",
    SettingKind.INTEGER: "a whole number",
    SettingKind.BOOLEAN: "true or false",
    SettingKind.OPTIONS: "one of its options",
    SettingKind.PASSWORD: "a text",
    SettingKind.HIDDEN: "a text",
    SettingKind.DATE_ISO8601: "a date such as 2026-12-01",
    SettingKind.EMAIL: "an e-mail address",
    SettingKind.OAUTH: "a text",
    SettingKind.FILE: "a path",
    SettingKind.ARRAY: "a list",
    SettingKind.ARRAY_OBJECT: "a list of objects",
    SettingKind.OBJECT: "an object",
}


# ---------- what settings mean together ----------


def applies(setting: Setting, settings: Mapping[str, Any]) -> bool:
    """Whether a setting means anything beside these (typed) values of the others."""
    return _holds(setting.when, settings)


def must_be_given(setting: Setting, settings: Mapping[str, Any]) -> bool:
    """Whether a setting needs a value beside these (typed) values of the others."""
    if not applies(setting, settings):
        return False
    return setting.required or bool(setting.required_when and _holds(setting.required_when, settings))


def _holds(condition: Mapping[str, tuple[str, ...]], settings: Mapping[str, Any]) -> bool:
    return all(
        str("" if settings.get(other) is None else settings[other]) in wanted for other, wanted in condition.items()
    )


def with_defaults(plugin: Plugin, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The typed settings with the defaults of those that are not given; those that do not apply are left out."""
    given = {each.name: each.default for each in plugin.settings if each.default is not None} | dict(settings)
    silent = {each.name for each in plugin.settings if not applies(each, given)}
    return {name: value for name, value in given.items() if name not in silent}


def paths_of(plugin: Plugin, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The local files and folders that the typed settings name, as (where, path). Web addresses are none."""
    found: list[tuple[str, str]] = []
    for setting in plugin.settings:
        value = settings.get(setting.name)
        if value is None or not applies(setting, settings):
            continue
        if setting.kind == SettingKind.FILE:
            found.append((setting.name, str(value)))
        for item in setting.items:
            if item.kind == SettingKind.FILE:
                found += [
                    (f"{setting.name}[{position}].{item.name}", str(row[item.name]))
                    for position, row in enumerate(value)
                    if row.get(item.name)
                ]
    return [(where, path) for where, path in found if path and not re.match(r"https?://", path, re.IGNORECASE)]


def is_local(plugin: Plugin, settings: Mapping[str, Any]) -> bool:
    """Whether the plugin touches a file or folder of the host with these typed settings."""
    return bool(paths_of(plugin, settings))
