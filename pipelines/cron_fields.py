"""The fields of a cron expression: what may stand in each, and what it means. Pure.

Six fields begin with seconds, five with minutes. They differ as Spring's cron and crontab differ: in six, day of
month and day of week must both match, and a star in day of week counts from Monday; in five, either day suffices
unless one of them begins with a star, and the star counts from Sunday.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * SUN",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
NEVER = ("", "-")
LONGEST = 120


class CronFault(ValueError):
    """An expression is not a schedule; the message names the field, the value's fault and the remedy."""

    def __init__(self, message: str, *, field: str = "", value: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.value = value


@dataclass(frozen=True)
class Kind:
    """One of the six fields: its name, the numbers it takes and the names for them."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0  # the number of the first name
    example: str = ""

    def number(self, text: str, value: str) -> int:
        """The number behind a number or name; `value` is the whole field, for the message."""
        word = text.upper()
        if word in self.names:
            return self.names.index(word) + self.first
        if word[:3] in self.names and len(word) > 3 and word.isalpha():
            raise self.fault(value, f"{text} is written out", f"Write {word[:3]}.")
        if not re.fullmatch("[0-9]{1,4}", text):
            reason = "a part is empty" if not text else f"{text} is not a number it knows"
            raise self.fault(value, reason, f"Write numbers from {self.low} to {self.high}, such as {self.example}.")
        if not self.low <= int(text) <= self.high:
            raise self.fault(value, f"{text} is out of range", f"Write numbers from {self.low} to {self.high}.")
        return int(text)

    def fault(self, value: str, reason: str, remedy: str) -> CronFault:
        """The error for a value of this field."""
        return CronFault(
            f"The {self.name} field of the schedule is {value}: {reason}. {remedy}", field=self.name, value=value
        )


SECOND = Kind("second", 0, 59, example="0 or */15")
MINUTE = Kind("minute", 0, 59, example="30 or */5")
HOUR = Kind("hour", 0, 23, example="2 or 9-17")
DAY = Kind("day of month", 1, 31, example="1, 15 or L")
MONTH = Kind("month", 1, 12, MONTH_NAMES, 1, example="1 or JAN")
WEEKDAY = Kind("day of week", 0, 7, DAY_NAMES, 0, example="MON-FRI")
KINDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True)
class Schedule:
    """A parsed expression. The last three fields stay texts, for cronsim to step through."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str
    months: str
    weekdays: str
    both_days: bool  # six fields: day of month and day of week must both match
    is_wild: bool  # hours or minutes begin with a star
    texts: tuple[str, ...]  # the six fields as written, in upper case


@functools.lru_cache(maxsize=1024)
def parse(expression: str) -> Schedule | None:
    """The schedule an expression describes; None for "-" and the empty text, which are never. Raises CronFault."""
    text = expression.strip()
    if len(text) > LONGEST:
        raise CronFault(f"The schedule is {len(text)} characters long. Write at most {LONGEST}.", value=text[:LONGEST])
    if text in NEVER:
        return None
    if text.startswith("@"):
        known = MACROS.get(text.lower())
        remedy = f"Write {known} instead." if known else "Write six fields, such as 0 30 2 * * *."
        raise CronFault(f"The schedule {text} is a macro, which is not supported. {remedy}", value=text)
    parts = text.upper().replace("?", "*").split()
    if len(parts) not in (5, 6):
        count = f"{len(parts)} field" + ("" if len(parts) == 1 else "s")
        raise CronFault(
            f"The schedule {text} has {count}. Write six (second, minute, hour, day of month, month, "
            "day of week), such as 0 30 2 * * * for 02:30 each day; or the five of crontab, without the second.",
            value=text,
        )
    six = len(parts) == 6
    fields = parts if six else ["0", *parts]
    return Schedule(
        seconds=_numbers(SECOND, fields[0]),
        minutes=_numbers(MINUTE, fields[1]),
        hours=_numbers(HOUR, fields[2]),
        days=_terms(DAY, fields[3], six),
        months=_terms(MONTH, fields[4], six),
        weekdays=_terms(WEEKDAY, fields[5], six),
        both_days=six,
        is_wild=fields[1].startswith("*") or fields[2].startswith("*"),
        texts=tuple(fields),
    )


def _numbers(kind: Kind, value: str) -> tuple[int, ...]:
    found: set[int] = set()
    for term in value.split(","):
        _refuse_specials(kind, term, value)
        found.update(_span(kind, term, value))
    return tuple(sorted(found))


def _terms(kind: Kind, value: str, six: bool) -> str:
    """The field as numbers, with its special terms kept and a leading star kept where it changes the meaning."""
    return ",".join(_term(kind, term, value, six) for term in value.split(","))


def _term(kind: Kind, term: str, value: str, six: bool) -> str:
    special = _special(kind, term, value)
    if special:
        return special
    numbers = _span(kind, term, value)
    if term == "*":
        return "*"
    if term.startswith("*"):
        if kind is not WEEKDAY or not six:
            return term
        numbers = [number for number in numbers if number > 0]
        step = _step(kind, term, value)
        numbers = list(range(1, 8, step))
    return ",".join(str(number) for number in numbers)


def _special(kind: Kind, term: str, value: str) -> str | None:
    """L of the days of month, 5L and 5#2 of the days of week, with names as numbers; None for a plain term."""
    _refuse_specials(kind, term, value)
    if kind is DAY and term == "L":
        return "L"
    if kind is WEEKDAY and re.fullmatch(r".+L", term):
        return f"{kind.number(term[:-1], value)}L"
    if kind is WEEKDAY and "#" in term:
        day, _, nth = term.partition("#")
        if not re.fullmatch("[1-5]", nth):
            raise kind.fault(value, f"after # stands {nth or 'nothing'}", "Write a number from 1 to 5, such as MON#2.")
        return f"{kind.number(day, value)}#{nth}"
    return None


def _refuse_specials(kind: Kind, term: str, value: str) -> None:
    """Raise for the terms that other crons know and this one does not."""
    if kind in (DAY, WEEKDAY) and re.fullmatch(r"L?W|[0-9]+W|W[0-9]+", term):
        raise kind.fault(
            value,
            f"{term} means a nearest weekday, which is not supported",
            "Name the days, or use L for the last day.",
        )
    if kind is DAY and re.fullmatch(r"L[-/+].*", term):
        raise kind.fault(
            value, f"{term} counts from the end, which is not supported", "Only L, the last day, can stand here."
        )
    if kind is WEEKDAY and term == "L":
        raise kind.fault(value, "L needs a day before it", "Write FRIL for the last Friday of the month.")
    if (kind not in (DAY, WEEKDAY) and term == "L") or (kind is not WEEKDAY and "#" in term):
        raise kind.fault(value, f"{term} cannot stand here", f"Write numbers, such as {kind.example}.")


def _step(kind: Kind, term: str, value: str) -> int:
    step = term.partition("/")[2]
    if not re.fullmatch("[0-9]{1,4}", step) or int(step) == 0:
        raise kind.fault(
            value, f"after / stands {step or 'nothing'}", f"Write how many steps to go on, such as {kind.low}/5."
        )
    return int(step)


def _span(kind: Kind, term: str, value: str) -> list[int]:
    """The numbers of `*`, `n`, `a-b`, and each of these with `/step`."""
    base, slash, _ = term.partition("/")
    step = _step(kind, term, value) if slash else 1
    if base == "*":
        low, high = kind.low, kind.high
    elif "-" in base:
        low, high = _range(kind, base, value)
    else:
        low = kind.number(base, value)
        high = kind.high if slash else low
    return list(range(low, high + 1, step))


def _range(kind: Kind, base: str, value: str) -> tuple[int, int]:
    first, _, last = base.partition("-")
    low, high = kind.number(first, value), kind.number(last, value)
    if kind is WEEKDAY:  # Sunday begins a week as 0 and ends it as 7
        low = 0 if low == 7 else low
        high = 7 if high == 0 and low > 0 else high
    if low > high:
        raise kind.fault(
            value, f"{base} ends before it begins", f"Write two parts, such as {first}-{kind.high},{kind.low}-{last}."
        )
    return low, high
