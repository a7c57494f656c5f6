"""Variables in properties: `$NAME` as a whole text, `${NAME}` anywhere in one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.plugins import JSON_KINDS, Setting
from pipelines.typed import KIND_WORDS, typed_value
from pipelines.values import ValueFault, shown

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
    """The typed value of a setting with its variables in place.

    Raises ValueFault, never with the value of a variable or of a secret setting.
    """
    if not isinstance(given, str):
        return typed_value(setting, given)
    names = [name for name in _names_in(setting, given) if name not in variables]
    if names and setting.is_secret:
        raise ValueFault(
            "It reads like the name of a variable, and this workspace has no such variable. Make the variable, or "
            "double the dollar sign when the text itself is meant."
        )
    if setting.kind in JSON_KINDS and not _WHOLE.fullmatch(given):
        # Substituted after parsing, so that a value with a quote in it cannot break or change the JSON.
        resolved = _substitute_inside(typed_value(_untyped(setting), given), variables)
    else:
        resolved = substitute(given, variables)
    try:
        return typed_value(setting, resolved)
    except ValueFault:
        names = _names_in(setting, given)
        if not names:
            raise
        words, form = " and ".join(f"${name}" for name in names), KIND_WORDS[setting.kind]
        text = "it" if setting.is_secret else shown(given)
        raise ValueFault(
            f"With the present value of {words}, {text} does not have the form of {form}. Change one of them."
        ) from None


def _names_in(setting: Setting, given: str) -> list[str]:
    """The variables that a property refers to, inside its list or object too."""
    if setting.kind not in JSON_KINDS or _WHOLE.fullmatch(given):
        return references(given)
    texts = _texts_of(typed_value(_untyped(setting), given))
    return list(dict.fromkeys(name for each in texts for name in references(each)))


def _texts_of(value: Any) -> list[str]:
    """All texts in a list or object, however deep."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts_of(each)]


def _untyped(setting: Setting) -> Setting:
    """The same kind of list or object, whatever its items."""
    return Setting(name=setting.name, label=setting.label, kind=setting.kind, sensitive=setting.is_secret)


def _substitute_inside(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return substitute(value, variables)
    if isinstance(value, list):
        return [_substitute_inside(each, variables) for each in value]
    if isinstance(value, dict):
        return {key: _substitute_inside(each, variables) for key, each in value.items()}
    return value
