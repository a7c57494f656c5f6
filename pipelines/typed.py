"""Texts to the typed values that settings take, and the defaults of those that are not given. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.plugins import Plugin, Setting, SettingKind, applies, must_be_given
from pipelines.values import (
    ValueFault,
    decimal_of,
    email_of,
    integer_of,
    json_of,
    list_of,
    moment_of,
    option_of,
    truth_of,
)

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)


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


def _decimal(setting: Setting, given: Any) -> int | float:
    return decimal_of(given, minimum=setting.minimum, maximum=setting.maximum)


def _choice(setting: Setting, given: Any) -> Any:
    """The option as its definition has it, so that a number stays one."""
    text = given if isinstance(given, str) else _text_of(replace(setting, kind=SettingKind.STRING), given)
    chosen = option_of(text, [option.value for option in setting.options])
    return next(
        option.value if option.raw is None else option.raw for option in setting.options if option.value == chosen
    )


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
    SettingKind.DECIMAL: _decimal,
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
    SettingKind.DECIMAL: "a number",
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


# ---------- defaults ----------


def with_defaults(
    plugin: Plugin, settings: Mapping[str, Any], variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The typed settings with the defaults of those that are not given; those that do not apply are left out."""
    defaults = {each.name: default_of(plugin, each, variables or {}) for each in plugin.settings}
    given = {name: value for name, value in defaults.items() if value is not None} | dict(settings)
    silent = {each.name for each in plugin.settings if not applies(each, given)}
    return {name: value for name, value in given.items() if name not in silent}


def default_of(plugin: Plugin, setting: Setting, variables: Mapping[str, str]) -> Any:
    """The default of a setting in its type; None where it has none.

    A connector's default may hold variables, as in Meltano: `$NAME` or `${NAME}` anywhere in a text. One of them
    that does not exist leaves the setting without a default. A text of the wrong form is left as it is, for the
    connector to judge.
    """
    default = setting.default
    if plugin.is_native or not isinstance(default, str):
        return default
    names = [first or second for first, second in _VARIABLE.findall(default)]
    if any(name not in variables for name in names):
        return None
    text = _VARIABLE.sub(lambda match: variables[match[1] or match[2]], default)
    try:
        return typed_value(setting, text) if text else text
    except ValueFault:
        return text
