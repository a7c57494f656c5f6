"""Plugin definitions as they are published, read into the stored camelCase shape. Pure.

Three forms, as YAML or JSON: a Meltano discovery document (lists by plugin type, with variants or flat), a Meltano Hub
definition (snake_case), and the contract's own (camelCase). Keys that are not known are kept as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from eltsite.errors import FieldError, Invalid
from pipelines.definition_checks import PLUGIN_TYPES, faults_of
from pipelines.values import shown

LARGEST_BYTES = 2 * 1024 * 1024
DEEPEST = 30
MOST_DEFINITIONS = 1000
ORIGINAL = "original"  # Meltano's name of the variant that is not told apart from others

LISTS: Mapping[str, str] = {
    "extractors": "EXTRACTOR",
    "loaders": "LOADER",
    "mappers": "MAPPER",
    "transforms": "TRANSFORM",
    "transformers": "TRANSFORMER",
    "models": "MODEL",
    "files": "FILE",
    "orchestrators": "ORCHESTRATOR",
    "utilities": "UTILITY",
}
KEYS: Mapping[str, str] = {
    "plugin_type": "pluginType",
    "type": "pluginType",
    "pip_url": "pipUrl",
    "full_description": "fullDescription",
    "logo_url": "logoUrl",
    "repository_url": "repositoryUrl",
    "inherit_from": "inheritFrom",
    "matatika_hidden": "matatikaHidden",
    "settings_group_validation": "settingsGroupValidation",
    "domain_url": "domainUrl",
    "signup_url": "signupUrl",
    "maintenance_status": "maintenanceStatus",
    "settings_preamble": "settingsPreamble",
    "next_steps": "nextSteps",
}
# Of an answer that is sent back, or made by us.
DROPPED = ("id", "_links", "_embedded", "created", "lastModified", "fullName", "variants", "config")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _PlainLoader(_Loader):  # type: ignore[misc]
    """The safe loader, which leaves dates as texts: JSON has none."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }


def definitions_from(text: str, *, allowed_folders: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The definitions in a document, in its order. Raises Invalid with every fault, each led to by its place."""
    entries = list(_entries(document_of(text)))
    if not entries:
        raise Invalid.field("document", "There is no plugin in it. " + FORMS, code="empty")
    if len(entries) > MOST_DEFINITIONS:
        message = f"It holds {len(entries)} plugins, and at most {MOST_DEFINITIONS} are taken at once. Split it."
        raise Invalid.field("document", message, code="too-large")
    found, errors = [], []
    seen: dict[tuple[Any, ...], str] = {}
    for where, kind, entry in entries:
        definition = normalised(entry, plugin_type=kind)
        prefix = f"{where}." if where else ""
        faults = faults_of(definition, allowed_folders=allowed_folders, where=prefix)
        identity = tuple(shown(definition.get(key)) for key in ("pluginType", "name", "variant"))
        if not faults and identity in seen:
            message = (
                f"{definition['name']}: the variant {definition['variant']} is there twice, also at {seen[identity]}."
            )
            faults = [FieldError(f"{prefix}variant", f"{message} Take one of them out.", code="taken")]
        seen.setdefault(identity, where or "the top")
        errors += faults
        found.append(definition)
    if errors:
        raise Invalid(_summary(errors), errors=errors)
    return found


FORMS = (
    "It takes a Meltano discovery document (extractors:, loaders:, ... with lists of plugins), the definition of one "
    "plugin as the Meltano Hub publishes it, or a list of them."
)


# ---------- the document ----------


def document_of(text: str) -> Any:
    """The JSON or YAML in a text, as JSON values. Raises Invalid; aliases, tags and deep nesting are refused."""
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        message = (
            f"The document is larger than {LARGEST_BYTES // (1024 * 1024)} MiB. Split it, or send one plugin at a time."
        )
        raise Invalid.field("document", message, code="too-large")
    try:
        value = _json_or_none(text)
        if value is None:
            _refuse_aliases(text)
            value = yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = ", ".join(filter(None, (error.context, error.problem))) or "it cannot be read"
        raise Invalid.field("document", f"This is neither JSON nor YAML: {reason}{place}. Mend it there.") from None
    except RecursionError:
        _refuse_depth()
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).partition("\n")[0] or "it cannot be read"
        raise Invalid.field("document", f"This is neither JSON nor YAML: {reason}. Mend it there.") from None
    _refuse_odd_values(value)
    return value


def _json_or_none(text: str) -> Any:
    if text.lstrip("\ufeff \t\r\n")[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text.lstrip("\ufeff"))
    except json.JSONDecodeError:
        return None  # YAML may begin with a bracket too


def _refuse_aliases(text: str) -> None:
    """A few lines of aliases can stand for billions of values; no published definition needs them."""
    depth = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            message = f"Line {_line(event)} uses the alias *{event.anchor}, and aliases are not read here. Write the value out."
            raise Invalid.field("document", message, code="alias")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > DEEPEST:
                _refuse_depth(_line(event))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _refuse_depth(line: int | None = None) -> None:
    where = f"Line {line}" if line else "It"
    raise Invalid.field(
        "document", f"{where} is nested more than {DEEPEST} levels deep. A definition never is; send only that."
    )


def _refuse_odd_values(value: Any, depth: int = 0, where: str = "") -> None:
    """Only what JSON knows: keys are texts, numbers are finite, nothing binary."""
    if depth > DEEPEST:
        _refuse_depth()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                message = f"{where or 'The document'} has the key {key!r}, which is no text. Put it into quotes."
                raise Invalid.field("document", message)
            _refuse_odd_values(inner, depth + 1, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _refuse_odd_values(inner, depth + 1, f"{where}[{position}]")
    elif not isinstance(value, str | int | float | bool | None) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise Invalid.field(
            "document", f"{where} holds {str(value)[:60]}, which JSON does not know. Write it as a text."
        )


# ---------- its plugins ----------


def _entries(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each plugin of the document with its place and, where a list says it, its type."""
    if isinstance(document, list):
        for position, entry in enumerate(document):
            yield from _variants(f"[{position}]", "", entry)
        return
    if not isinstance(document, dict):
        raise Invalid.field("document", f"The document is {shown(document)[:60]}, not an object. {FORMS}")
    embedded = document.get("_embedded")
    if "name" not in document and isinstance(embedded, dict) and isinstance(embedded.get("dataplugins"), list):
        document = embedded["dataplugins"]
        yield from _entries(document)
        return
    if "name" in document:
        yield from _variants("", "", document)
        return
    inner = document.get("plugins")
    place, lists = ("plugins.", inner) if isinstance(inner, dict) else ("", document)
    if not LISTS.keys() & lists.keys():
        raise Invalid.field("document", f"The document has no list of plugins. {FORMS}", code="empty")
    for name, kind in LISTS.items():
        entries = lists.get(name) or []
        if not isinstance(entries, list):
            raise Invalid.field(f"{place}{name}", f"{name} is {shown(entries)}, not a list of plugins. {FORMS}")
        for position, entry in enumerate(entries):
            yield from _variants(f"{place}{name}[{position}]", kind, entry)


def _variants(where: str, kind: str, entry: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A plugin's variants, each with what the plugin has for all of them; itself where it is flat."""
    if not isinstance(entry, dict):
        raise Invalid.field(
            where or "document", f"{where} is {shown(entry)}, not a plugin. Write it as an object with a name."
        )
    variants = entry.get("variants")
    # The contract's own form may list the names of a plugin's other variants.
    if (
        not isinstance(variants, list)
        or not all(isinstance(each, dict) and "name" in each for each in variants)
        or not variants
    ):
        yield where, kind, {"variant": ORIGINAL, **entry} if kind else entry
        return
    common = {key: value for key, value in entry.items() if key not in ("variants", "default")}
    for position, variant in enumerate(variants):
        place = f"{where}.variants[{position}]" if where else f"variants[{position}]"
        yield place, kind, {**common, **variant, "name": entry.get("name"), "variant": variant["name"]}


# ---------- one definition ----------


def normalised(given: Mapping[str, Any], *, plugin_type: str = "") -> dict[str, Any]:
    """A definition of any of the forms in the stored one. Not checked: what cannot be read stays as it is.

    The keys of `config`, which an old discovery document or a meltano.yml may have, become settings; its values, which
    may be secrets, are left out.
    """
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = KEYS.get(key, key)
        if name == "pluginType" and not type_of(value):
            name = key  # `type` may be something else
        if name not in DROPPED and (name not in found or key == name):
            found[name] = value
    kind = plugin_type or type_of(found.get("pluginType")) or _guessed_type(given)
    if kind:
        found["pluginType"] = kind
    if isinstance(found.get("capabilities"), list):
        found["capabilities"] = [_word(each) for each in found["capabilities"]]
    if isinstance(found.get("settings"), list):
        found["settings"] = [_setting(each) if isinstance(each, dict) else each for each in found["settings"]]
    if isinstance(given.get("config"), dict):
        found["settings"] = _with_config(found.get("settings"), given["config"])
    if isinstance(found.get("commands"), dict):
        found["commands"] = {name: _command(value) for name, value in found["commands"].items()}
    for key in ("pipUrl", "executable", "python", "name", "variant"):
        if isinstance(found.get(key), str):
            found[key] = found[key].strip()
    return {key: value for key, value in found.items() if value is not None}


def type_of(value: Any) -> str:
    """A plugin type in any case, singular or plural."""
    text = str(value or "").strip().upper()
    return text if text in PLUGIN_TYPES else LISTS.get(text.lower(), "")


def asked_type(field: str, value: str) -> str:
    """The plugin type that a query's field asks for. Raises Invalid."""
    kind = type_of(value)
    if not kind:
        message = f"'{value[:80]}' is no plugin type. Choose from {', '.join(LISTS.values())}."
        raise Invalid.field(field, message, value=value, code="choice")
    return kind


def _guessed_type(given: Mapping[str, Any]) -> str:
    """The type where a definition does not say it: the Hub's has it in addresses and in the name's prefix."""
    for key in ("docs", "logo_url", "logoUrl"):
        found = re.search(rf"/({'|'.join(LISTS)})/", str(given.get(key) or ""))
        if found:
            return LISTS[found[1]]
    name = str(given.get("name") or "")
    return "EXTRACTOR" if name.startswith("tap-") else "LOADER" if name.startswith("target-") else ""


def _word(value: Any) -> Any:
    return value.strip().upper().replace("-", "_") if isinstance(value, str) else value


def _setting(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {{"env_aliases": "envAliases"}.get(key, key): value for key, value in given.items()}
    if "kind" in found:
        found["kind"] = _word(found["kind"])
    if "required" in found:
        found["required"] = str(found["required"]).strip().lower()
    if isinstance(found.get("items"), list):
        found["items"] = [_setting(each) if isinstance(each, dict) else each for each in found["items"]]
    return {key: value for key, value in found.items() if value is not None}


def _with_config(settings: Any, config: Mapping[str, Any]) -> list[Any]:
    """The settings, and one for each key of `config` that is none of them."""
    known = list(settings) if isinstance(settings, list) else []
    names = {each.get("name") for each in known if isinstance(each, dict)}
    return known + [{"name": str(name)} for name in config if name not in names and not str(name).startswith("_")]


def _command(value: Any) -> Any:
    if not isinstance(value, dict):
        return {"args": value}
    return {{"container_spec": "containerSpec"}.get(key, key): inner for key, inner in value.items()}


def _summary(errors: Sequence[FieldError]) -> str:
    return errors[0].message if len(errors) == 1 else f"{len(errors)} faults in the definitions. {errors[0].message}"
