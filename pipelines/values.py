"""Texts to values: numbers, booleans, dates, lists and objects, with a sentence for each fault. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
SHOWN_LENGTH = 60


class ValueFault(ValueError):
    """A value does not fit its setting; the message says how and what to write instead.

    `where` leads to the faulty part of a list or object, such as (2, "path").
    """

    def __init__(self, message: str, *, where: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.where = where


def shown(value: Any) -> str:
    """A value as a message quotes it, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a person most likely meant."""
    names = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def integer_of(given: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """A whole number within its bounds."""
    text = str(given).strip()
    if isinstance(given, bool) or not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueFault(f"{shown(given)} is not a whole number. Write digits only, such as 5432.")
    number = int(text)
    if minimum is not None and number < minimum:
        raise ValueFault(f"{number} is too small. Write {minimum} or more.")
    if maximum is not None and number > maximum:
        raise ValueFault(f"{number} is too large. Write {maximum} or less.")
    return number


def decimal_of(given: Any, *, minimum: int | None = None, maximum: int | None = None) -> int | float:
    """A number within its bounds; a whole one stays whole."""
    text = str(given).strip()
    if isinstance(given, bool) or not re.fullmatch(
        r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,2})?", text, re.ASCII
    ):
        raise ValueFault(f"{shown(given)} is not a number. Write digits with a point, such as 0.5.")
    number = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if minimum is not None and number < minimum:
        raise ValueFault(f"{number} is too small. Write {minimum} or more.")
    if maximum is not None and number > maximum:
        raise ValueFault(f"{number} is too large. Write {maximum} or less.")
    return number


def truth_of(given: Any) -> bool:
    """True or false."""
    if isinstance(given, bool):
        return given
    text = str(given).strip().lower()
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueFault(f"{shown(given)} is neither true nor false. Write true or false.")


def option_of(given: Any, options: Sequence[str]) -> str:
    """One of the options; case does not matter."""
    text = str(given).strip()
    for option in options:
        if option.lower() == text.lower():
            return option
    raise ValueFault(f"{shown(given)} is not one of the choices. Write one of {', '.join(options)}.")


def moment_of(given: Any) -> str:
    """A date or an instant in ISO 8601, as it was written."""
    text = str(given).strip()
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueFault(
            f"{shown(given)} is not a date. Write it as 2026-12-01, or with a time as 2026-12-01T08:30:00Z."
        ) from None
    return text


def email_of(given: Any) -> str:
    """An e-mail address."""
    text = str(given).strip()
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", text):
        raise ValueFault(f"{shown(given)} is not an e-mail address. Write it as name@example.com.")
    return text


def json_of(given: Any, kind: type) -> Any:
    """A JSON list or object, from its text or as it is."""
    words = "a list, such as [1, 2]" if kind is list else 'an object, such as {"name": "value"}'
    value = given
    if isinstance(given, str):
        try:
            value = json.loads(given)
        except ValueError as error:
            place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise ValueFault(f"{shown(given)} is not JSON: {reason}{place}. Write {words}.") from None
    if not isinstance(value, kind):
        raise ValueFault(f"{shown(value)} is not {words.split(',')[0]}. Write {words}.")
    return value


def list_of(given: Any) -> list[Any]:
    """A list, as JSON or as words between commas."""
    if isinstance(given, str) and not given.lstrip().startswith("["):
        return [word for word in (part.strip() for part in given.split(",")) if word]
    found: list[Any] = json_of(given, list)
    return found
