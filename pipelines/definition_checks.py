"""What a plugin's definition, in the stored camelCase shape, must hold before it is kept. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eltsite.errors import FieldError
from pipelines.pip_arguments import check_pip_url
from pipelines.plugins import NATIVE, RESERVED, SettingKind
from pipelines.selection import select_of
from pipelines.values import ValueFault, nearest, shown

PLUGIN_TYPES = ("EXTRACTOR", "LOADER", "MAPPER", "TRANSFORM", "TRANSFORMER", "MODEL", "FILE", "ORCHESTRATOR", "UTILITY")
INSTALLED = ("EXTRACTOR", "LOADER")  # types whose pip_url is installed here, so it must be one that can be
STORE_KINDS = ("duckdb", "postgresql", "jsonl", "csv")
STREAM_NAMES = ("stream", "stream_lower", "stream_table", "stream_last", "stream_pipelinewise")  # what a store may name
LONGEST_NAME, LONGEST_LABEL = 120, 160
LARGEST = 256 * 1024  # bytes of a definition as JSON
MOST_SETTINGS = 500
TEXTS = (
    "label",
    "description",
    "fullDescription",
    "namespace",
    "docs",
    "repo",
    "logoUrl",
    "pipUrl",
    "executable",
    "python",
)
# Names a process must have from us, or that would change what the program itself is.
OURS = re.compile(
    r"(ELTSITE|LD|PYTHON|UV|PIP)_.*|PYTHON[A-Z]+|PATH|HOME|TMPDIR|LANG|TZ|SHELL|IFS|BASH_ENV|ENV|VIRTUAL_ENV"
    r"|(JOB|WORKSPACE|PIPELINE)_ID|EXTRACTOR|LOADER",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_SETTING = re.compile(r"[^\s\0=*?\[\]{}\"']+")


def faults_of(
    definition: Mapping[str, Any], *, allowed_folders: Sequence[str] = (), where: str = ""
) -> list[FieldError]:
    """All faults of a definition: the field, led to by `where`, and a sentence that names plugin and setting."""
    checks = (_identity, _texts, _installation, _lists, _groups, _store, _settings)
    label = str(definition.get("name") or "The plugin")[:LONGEST_NAME]
    found = []
    for check in checks:
        for field, message in check(definition):
            found.append(FieldError(f"{where}{field}", f"{label}: {message}"))
    pip_url = definition.get("pipUrl")
    if isinstance(pip_url, str) and pip_url.strip() and definition.get("pluginType") in INSTALLED:
        try:
            check_pip_url(pip_url.strip(), allowed_folders=allowed_folders)
        except ValueFault as fault:
            found.append(FieldError(f"{where}pipUrl", f"{label}: pip_url: {fault}"))
    if not found and len(json.dumps(definition).encode()) > LARGEST:
        message = f"{label}: The definition is larger than {LARGEST // 1024} KiB. Shorten its texts."
        found.append(FieldError(f"{where}definition", message, code="too-large"))
    return found


def _identity(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = definition.get("pluginType")
    if kind not in PLUGIN_TYPES:
        given = f"{shown(kind)} is no plugin type" if kind else "it does not say what it is"
        yield "pluginType", f"{given}. Give it a pluginType: one of {', '.join(PLUGIN_TYPES)}."
    for field, example in (("name", "tap-orchard"), ("variant", "acme")):
        value = definition.get(field)
        if not isinstance(value, str) or not value:
            yield field, f"it has no {field}. Give it one, such as {example}."
        elif len(value) > LONGEST_NAME or not _NAME.fullmatch(value) or "--" in value:
            remedy = (
                f"Write letters, digits, - _ and ., no two dashes together, at most {LONGEST_NAME}, such as {example}."
            )
            yield field, f"{shown(value)} is no {field}. {remedy}"
    if definition.get("variant") == NATIVE:
        yield "variant", f"the variant {NATIVE} is kept for what is built in. Choose a variant of your own."


def _texts(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in TEXTS:
        value = definition.get(field)
        if value is not None and not isinstance(value, str):
            yield field, f"{field} is {shown(value)}, not a text. Write it in quotes."
        elif value and "\0" in value:
            yield field, f"{field} holds a zero byte. Remove it."
    label = definition.get("label")
    if isinstance(label, str) and (len(label) > LONGEST_LABEL or not label.isprintable()):
        yield "label", f"the label is one line of at most {LONGEST_LABEL} characters. Shorten it."


def _installation(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if definition.get("pluginType") in INSTALLED and not definition.get("pipUrl"):
        yield "pipUrl", "it has no pip_url, so it cannot be installed. Give it one, such as tap-orchard==1.2.0."
    executable, python = definition.get("executable"), definition.get("python")
    if isinstance(executable, str) and executable and not _NAME.fullmatch(executable):
        remedy = "Write the name of a command that the package installs, such as tap-orchard."
        yield "executable", f"the executable {shown(executable)} is a path or has spaces. {remedy}"
    if isinstance(python, str) and python and not re.fullmatch(r"(python)?3(\.\d{1,2}){0,2}", python, re.ASCII):
        yield "python", f"{shown(python)} is no version of Python. Write it such as 3.11, or leave it out."


def _lists(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    capabilities = definition.get("capabilities") or []
    if not isinstance(capabilities, list) or not all(isinstance(each, str) for each in capabilities):
        yield "capabilities", "the capabilities are no list of words. Write them such as [catalog, discover, state]."
    try:
        select_of(definition.get("select") or [])
    except ValueFault as fault:
        yield "select", f"select: {fault}"
    for field in ("metadata", "commands", "vars", "update"):
        value = definition.get(field)
        if value is not None and not isinstance(value, dict):
            yield field, f"{field} is {shown(value)}, not an object. Write it such as {{}}."
    metadata = definition.get("metadata")
    for name, values in metadata.items() if isinstance(metadata, dict) else ():
        if not isinstance(values, dict):
            yield "metadata", f"metadata of {name} is {shown(values)}, not an object of keys and values."


def _groups(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    groups = definition.get("settingsGroupValidation") or []
    is_list = isinstance(groups, list) and all(isinstance(group, list) for group in groups)
    if not is_list or not all(isinstance(name, str) for group in groups for name in group):
        yield (
            "settingsGroupValidation",
            "settings_group_validation is no list of lists of settings' names. Write it such as [[user, password], [token]].",
        )


def _store(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    store = definition.get("store")
    if store is None:
        return
    if not isinstance(store, dict) or store.get("kind") not in STORE_KINDS:
        yield "store", f"its store has no kind that is known. Write one of {', '.join(STORE_KINDS)}."
        return
    names = {each.get("name") for each in definition.get("settings") or [] if isinstance(each, dict)}
    when = store.get("when") or {}
    if not isinstance(when, dict) or not all(isinstance(values, list) for values in when.values()):
        yield "store", 'its store\'s when is no object of lists. Write it such as {add_date: ["false"]}.'
    elif unknown := [name for name in when if name not in names]:
        yield "store", f"its store's when names {unknown[0]}, which is no setting. Name one of its settings."
    when = store.get("when")
    if when is not None and not _is_condition(when):
        yield "store", "its store's when is no object of lists. Write it such as {mode: [append]}."
    for key, text in store.items():
        wanted = re.findall(r"\{([^{}]*)\}", text) if isinstance(text, str) else []
        for name in wanted:
            if name not in names and name not in STREAM_NAMES:
                yield "store", f"its store's {key} refers to {{{name}}}, which is no setting. Name one of its settings."


def _settings(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    settings = definition.get("settings") or []
    if not isinstance(settings, list) or len(settings) > MOST_SETTINGS:
        yield (
            "settings",
            f"the settings are no list of at most {MOST_SETTINGS} objects. Write each with a name and a kind.",
        )
        return
    seen: set[str] = set()
    for position, setting in enumerate(settings):
        where = f"settings[{position}]"
        if not isinstance(setting, dict):
            yield (
                where,
                f"setting {position + 1} is {shown(setting)}, not an object. Write it such as {{name: api_key}}.",
            )
            continue
        for field, message in _setting(setting, position):
            yield f"{where}.{field}", message
        aliases = setting.get("aliases") or []
        names = [setting.get("name"), *(aliases if isinstance(aliases, list) else [])]
        for name in [each for each in names if isinstance(each, str)]:
            if name in seen:
                yield f"{where}.name", f"setting {name}: the name is given twice. Take one of them out."
            seen.add(name)


def _setting(setting: Mapping[str, Any], position: int) -> Iterator[tuple[str, str]]:
    """Faults of one setting, each with its field."""
    name, kind = setting.get("name"), setting.get("kind")
    if not isinstance(name, str) or not _SETTING.fullmatch(name) or len(name) > LONGEST_NAME:
        yield "name", f"setting {position + 1} has no name, or one with spaces or signs. Write it such as api_key."
        return
    label = f"setting {name}"
    if name in RESERVED:
        yield "name", f"{label}: the name is kept for the selection of streams. Choose another."
    if kind is not None and kind not in SettingKind.__members__:
        meant = nearest(str(kind), SettingKind.__members__)
        remedy = f"Did you mean {meant}?" if meant else f"Write one of {', '.join(SettingKind.__members__)}."
        yield "kind", f"{label}: the kind {shown(kind)} is not known. {remedy}"
    for field in ("label", "description", "placeholder", "env"):
        if setting.get(field) is not None and not isinstance(setting[field], str):
            yield field, f"{label}: {field} is {shown(setting[field])}, not a text. Write it in quotes."
    aliases = setting.get("aliases")
    if aliases is not None and not (isinstance(aliases, list) and all(isinstance(each, str) for each in aliases)):
        yield "aliases", f"{label}: the aliases are no list of names."
    yield from _environment_name(label, setting.get("env"))
    yield from _options(label, setting)
    items = setting.get("items") or []
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        yield "items", f"{label}: items is no list of settings, each an object with a name."
    else:
        for at, item in enumerate(items):
            yield from ((f"items[{at}].{field}", f"{label}: {words}") for field, words in _setting(item, at))
    for field in ("minimum", "maximum"):
        if setting.get(field) is not None and (isinstance(setting[field], bool) or not isinstance(setting[field], int)):
            yield field, f"{label}: {field} is {shown(setting[field])}, not a whole number."
    for field in ("when", "required_when"):
        value = setting.get(field)
        if value is not None and not _is_condition(value):
            yield field, f"{label}: {field} is no object of lists. Write it such as {{mode: [fast]}}."


def _environment_name(label: str, env: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(env, str) or not env:
        return
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", env):
        yield "env", f"{label}: {shown(env)} is no name of a variable. Write letters, digits and _, such as API_KEY."
    elif OURS.fullmatch(env.upper()):
        yield (
            "env",
            f"{label}: the variable {env} belongs to the process itself. Choose another name, or leave env out.",
        )


def _options(label: str, setting: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = setting.get("options")
    if options is None:
        if setting.get("kind") == "OPTIONS":
            yield (
                "options",
                f"{label}: it is of the kind OPTIONS and has no options. Give it some, or make it a STRING.",
            )
        return
    is_list = isinstance(options, list) and bool(options or setting.get("kind") != "OPTIONS")
    if not is_list or any(_is_no_option(each) for each in options):
        yield (
            "options",
            f"{label}: the options are no list of label and value. Write each such as {{label: Fast, value: fast}}.",
        )


def _is_no_option(option: Any) -> bool:
    return isinstance(option, list) or (isinstance(option, dict) and "value" not in option)


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, list) for each in value.values())
