"""Variables in properties: `$NAME` as a whole text, `${NAME}` anywhere in one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.plugins import JSON_KINDS, Setting, typed_value
from pipelines.values import ValueFault

_WHOLE = re.compile(r"\$(\$?)([A-Za-z_]\w*)", re.ASCII)
_EMBEDDED = re.compile(r"\$(\$?)\{([A-Za-z_]\w*)\}", re.ASCII)


def references(text: str) -> list[str]:
    """The names of the variables a text refers to."""
    whole = _WHOLE.fullmatch(text)
    found = [whole] if whole else list(_EMBEDDED.finditer(text))
    return [match[2] for match in found if not match[1]]


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables' values in place: `$NAME` as the whole text, `${NAME}` anywhere in it.

    A dollar sign elsewhere is a dollar sign, so passwords need no care; `$$NAME` and `$${NAME}` stand for the
    texts `$NAME` and `${NAME}` themselves. Raises ValueFault for a variable that does not exist.
    """

    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        if match[2] not in variables:
            raise ValueFault(
                f"There is no variable {match[2]} in this workspace. Make it, or write ${match[0]} when the text "
                f"{match[0]} itself is meant."
            )
        return variables[match[2]]

    whole = _WHOLE.fullmatch(text)
    return value_of(whole) if whole else _EMBEDDED.sub(value_of, text)


def resolved_value(setting: Setting, given: Any, variables: Mapping[str, str]) -> Any:
    """The typed value of a setting with its variables in place. Raises ValueFault."""
    if not isinstance(given, str):
        return typed_value(setting, given)
    if setting.kind in JSON_KINDS and not _WHOLE.fullmatch(given):
        # Substituted after parsing, so that a value with a quote in it cannot break or change the JSON.
        return typed_value(setting, _substitute_inside(typed_value(_untyped(setting), given), variables))
    return typed_value(setting, substitute(given, variables))


def _untyped(setting: Setting) -> Setting:
    """The same kind of list or object, whatever its items."""
    return Setting(name=setting.name, label=setting.label, kind=setting.kind)


def _substitute_inside(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return substitute(value, variables)
    if isinstance(value, list):
        return [_substitute_inside(each, variables) for each in value]
    if isinstance(value, dict):
        return {key: _substitute_inside(each, variables) for key, each in value.items()}
    return value
