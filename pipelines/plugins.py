"""Plugin definitions: what a plugin is called and which settings it takes, of which kind. Pure.

A definition is a mapping in the contract's shape (`pluginType`, `settings`, ...), kept whole in the database and,
for the plugins shipped with the product, in catalogue/*.yaml. Beside the contract's keys a setting may have
`items` (the settings of each object of an ARRAY_OBJECT), `when` and `required_when` (other settings' values under
which it applies, or must be given), `minimum` and `maximum`; and a loader's definition `store`: where its rows are.

A plugin is native (variant eltsite, no pipUrl: a mover runs it) or a connector: a Singer program in an environment of
its own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = Path(__file__).parent / "catalogue"
MASK = "***"
NATIVE = "eltsite"  # the variant of the plugins that movers run
FILE_STORES = ("duckdb", "jsonl", "csv")  # kinds of `store` that are a file of the host
RESERVED = ("_select", "_metadata")  # of every extractor: which streams and columns, and notes on them


class SettingKind(StrEnum):
    """What values a setting takes, as the contract names it."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
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
    """One choice of an OPTIONS setting. `value` is its text; `raw` is what the plugin gets, which may be a number."""

    value: str
    label: str
    raw: Any = None


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
    """A plugin's definition, parsed. `select` and `metadata` are the defaults of an extractor's `_select`, `_metadata`."""

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
    groups: tuple[tuple[str, ...], ...] = ()  # of setting names; one of them must be given whole
    pip_url: str = ""
    executable: str = ""
    python: str = ""  # such as 3.11; empty: any
    select: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, Any] = field(default_factory=dict)
    store: Mapping[str, str] = field(default_factory=dict)
    store_when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # other settings' values: else not counted

    @property
    def is_native(self) -> bool:
        """Whether a mover runs it; else it is a connector, a program in an environment of its own."""
        return self.variant == NATIVE and not self.pip_url

    @property
    def fingerprint(self) -> str:
        """Of the environment it needs; plugins with the same requirements and Python share one."""
        return fingerprint_of(self.pip_url, self.python)

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


def fingerprint_of(requirements: str, python: str) -> str:
    """What an environment is called before it is resolved: a SHA-256 over its pip arguments and its Python.

    White space between the arguments does not matter.
    """
    text = json.dumps([" ".join(requirements.split()), python], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# ---------- reading definitions ----------


def parse(definition: Mapping[str, Any]) -> Plugin:
    """A plugin from its definition. Unknown keys are left alone; an unknown kind is read as STRING."""
    name = str(definition["name"])
    store = definition.get("store") or {}
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
        groups=tuple(tuple(map(str, group)) for group in definition.get("settingsGroupValidation") or ()),
        pip_url=str(definition.get("pipUrl") or "").strip(),
        executable=str(definition.get("executable") or name),
        python=str(definition.get("python") or "").strip().removeprefix("python"),
        select=tuple(str(rule) for rule in definition.get("select") or ()),
        metadata=dict(definition.get("metadata") or {}),
        commands=dict(definition.get("commands") or {}),
        store={str(key): str(value) for key, value in store.items() if key != "when"},
        store_when=_condition(store.get("when")),
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
    raw = given["value"] if isinstance(given, Mapping) else given
    text = raw if isinstance(raw, str) else json.dumps(raw)
    label = given.get("label") if isinstance(given, Mapping) else None
    return Option(value=text, label=str(label or text), raw=raw)


def _monogram(name: str) -> str:
    return re.sub(r"^(tap|target)-", "", name)[:2].upper()


@functools.cache
def shipped_definitions() -> tuple[Mapping[str, Any], ...]:
    """The definitions of the plugins that come with the product, by file name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it
    return tuple(
        yaml.load(path.read_text(encoding="utf-8"), Loader=loader) for path in sorted(CATALOGUE.glob("*.yaml"))
    )


@functools.cache
def shipped_plugins() -> tuple[Plugin, ...]:
    """The plugins that come with the product."""
    return tuple(parse(definition) for definition in shipped_definitions())


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
    return all(_as_text(settings.get(other)) in wanted for other, wanted in condition.items())


def _as_text(value: Any) -> str:
    """A typed value as conditions write it."""
    if value is None or value == {} or value == []:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def store_of(plugin: Plugin, settings: Mapping[str, Any]) -> dict[str, str]:
    """Where a target's rows can be counted with these typed settings; {} where nobody can say."""
    return dict(plugin.store) if _holds(plugin.store_when, settings) else {}


def paths_of(plugin: Plugin, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The local files and folders that the typed settings name, as (where, path). Web addresses are none.

    Those are settings of the kind FILE, and the one that a connector's `store` begins its path with.
    """
    store = _path_setting_of(plugin)
    found: list[tuple[str, str]] = []
    for setting in plugin.settings:
        value = settings.get(setting.name)
        if value is None or not applies(setting, settings):
            continue
        if setting.kind == SettingKind.FILE or setting.name == store:
            found.append((setting.name, str(value)))
        for item in setting.items:
            if item.kind == SettingKind.FILE:
                found += [
                    (f"{setting.name}[{position}].{item.name}", str(row[item.name]))
                    for position, row in enumerate(value)
                    if row.get(item.name)
                ]
    if not plugin.is_native:
        found = [(where, re.sub(r"^file://", "", path, flags=re.IGNORECASE)) for where, path in found]
    return [(where, path) for where, path in found if path and not _is_remote(plugin, path)]


def _path_setting_of(plugin: Plugin) -> str:
    """The setting that says where a connector's store lies; empty where its rows are in no file."""
    if plugin.store.get("kind") not in FILE_STORES:
        return ""
    leading = re.match(r"\{([^{}]+)\}", plugin.store.get("path", ""))
    return leading[1] if leading else ""


def _is_remote(plugin: Plugin, path: str) -> bool:
    """Movers read http(s) beside files; a connector may know other schemes, such as s3:// or md:."""
    scheme = r"https?://" if plugin.is_native else r"[a-z][a-z0-9+.-]*://|md:"
    return re.match(scheme, path, re.IGNORECASE) is not None


def is_local(plugin: Plugin, settings: Mapping[str, Any]) -> bool:
    """Whether the plugin touches a file or folder of the host with these typed settings."""
    if paths_of(plugin, settings):
        return True
    path = plugin.store.get("path", "") if plugin.store.get("kind") in FILE_STORES else ""
    return bool(path) and not _path_setting_of(plugin) and not _is_remote(plugin, path)
