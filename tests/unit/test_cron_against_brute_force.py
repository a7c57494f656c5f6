"""Schedules against a matcher that shares nothing with them: it looks at each second or minute in turn."""

from __future__ import annotations

import calendar
import itertools
import random
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from pipelines.cron import CronFault, next_run_at

DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WINDOWS = [  # zone, start of four days around a change of its clock
    ("UTC", "2026-02-26"),
    ("Europe/Berlin", "2026-03-28"),
    ("Europe/Berlin", "2026-10-23"),
    ("America/New_York", "2026-03-06"),
    ("America/New_York", "2026-10-30"),
    ("Australia/Lord_Howe", "2026-04-03"),
    ("Australia/Lord_Howe", "2026-10-02"),
    ("America/Sao_Paulo", "2018-11-02"),
    ("America/Sao_Paulo", "2018-02-16"),
    ("Pacific/Apia", "2011-12-28"),
    ("Asia/Kathmandu", "2026-06-28"),
]


# ---------- the matcher ----------


def number(text: str, names: list[str], first: int) -> int:
    return names.index(text) + first if text in names else int(text)


def allows(field: str, value: int, low: int, high: int, names: list[str] = [], first: int = 0) -> bool:  # noqa: B006
    for term in field.split(","):
        base, _, step = term.partition("/")
        if base == "*":
            begin, end = low, high
        elif "-" in base:
            begin, end = (number(part, names, first) for part in base.split("-"))
        else:
            begin = number(base, names, first)
            end = high if step else begin
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


def day_of_month_fits(field: str, day: datetime) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    plain = ",".join(term for term in field.split(",") if term != "L")
    return ("L" in field.split(",") and day.day == last) or (plain != "" and allows(plain, day.day, 1, 31))


def day_of_week_fits(field: str, day: datetime, low: int) -> bool:
    sunday_last = day.isoweekday()
    for term in field.split(","):
        if term.endswith("L") or "#" in term:
            name = term[:-1] if term.endswith("L") else term.split("#")[0]
            if number(name, DAYS, 0) % 7 != sunday_last % 7:
                continue
            nth = (day.day - 1) // 7 + 1
            is_last = day.day + 7 > calendar.monthrange(day.year, day.month)[1]
            if (term.endswith("L") and is_last) or term.endswith(f"#{nth}"):
                return True
        else:
            term = {"SAT-SUN": "6-7", "FRI-SUN": "5-7"}.get(term, term)
            values = {sunday_last} | ({0} if sunday_last == 7 else set())
            high = 7
            if any(low <= value and allows(term, value, low, high, DAYS) for value in values):
                return True
    return False


@cache
def day_fits(fields: tuple[str, ...], six: bool, day: datetime) -> bool:
    dom, month, dow = fields
    if not allows(month, day.month, 1, 12, MONTHS, 1):
        return False
    by_date, by_week = day_of_month_fits(dom, day), day_of_week_fits(dow, day, 1 if six and dow[0] == "*" else 0)
    both = six or dom.startswith("*") or dow.startswith("*")
    return (by_date and by_week) if both else (by_date or by_week)


def fits(expression: str, local: datetime) -> bool:
    parts = expression.split()
    six = len(parts) == 6
    second, minute, hour, *date = parts if six else ["0", *parts]
    return (
        allows(second, local.second, 0, 59)
        and allows(minute, local.minute, 0, 59)
        and allows(hour, local.hour, 0, 23)
        and day_fits(tuple(date), six, local.replace(hour=0, minute=0, second=0))
    )


@cache
def timeline(zone: str, start: datetime, hours: int, step: int) -> list[tuple[datetime, datetime]]:
    """Each instant with its naive local time."""
    instants = [start + timedelta(seconds=seconds) for seconds in range(0, hours * 3600, step)]
    return [(instant, instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for instant in instants]


def expected(expression: str, zone: str, start: datetime, hours: int, step: int) -> list[datetime]:
    """All instants of the window at which the schedule fires, found by looking at each."""
    line = timeline(zone, start, hours, step)
    minute, hour = expression.split()[-5:-3]
    if minute.startswith("*") or hour.startswith("*"):
        return [instant for instant, local in line if fits(expression, local)]
    first_of: dict[datetime, datetime] = {}
    for instant, local in line:
        first_of.setdefault(local, instant)
    found = {instant for local, instant in first_of.items() if fits(expression, local)}
    for (_, before), (instant, after) in itertools.pairwise(line):
        missing = before + timedelta(seconds=step)
        while missing < after:  # a gap
            if fits(expression, missing):
                found.add(instant)
            missing += timedelta(seconds=step)
    return sorted(found)


def actual(expression: str, zone: str, start: datetime, hours: int) -> list[datetime]:
    end = start + timedelta(hours=hours)
    found, after = [], start - timedelta(seconds=1)
    while True:
        instant = next_run_at(expression, time_zone=zone, after=after)
        if instant is None or instant >= end:
            return found
        assert instant > after
        found.append(instant)
        after = instant


# ---------- expressions ----------


def random_field(rng: random.Random, low: int, high: int, *, star: float) -> str:
    if rng.random() < star:
        return rng.choice(["*", "*", f"*/{rng.choice([2, 3, 5, 7, 15])}"])
    terms = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        begin = rng.randint(low, high)
        end = rng.randint(begin, high)
        step = rng.choice(["", "/2", "/3", "/10"])
        terms.append(rng.choice([str(begin), str(begin), f"{begin}-{end}", f"{begin}-{end}{step}", f"{begin}{step}"]))
    return ",".join(terms)


def random_expression(rng: random.Random, *, seconds: str | None = "0") -> str:
    second = random_field(rng, 0, 59, star=0.4) if seconds is None else seconds
    minute = random_field(rng, 0, 59, star=0.3)
    hour = rng.choice([random_field(rng, 0, 23, star=0.4), "2", "1,2,3", "0", "0-4"])
    date = rng.choice(["*", "*", "*", "L", "1,L", random_field(rng, 1, 31, star=0.3)])
    month = rng.choice(["*", "*", "*", "MAR-APR,OCT", "*/2", "2-12"])
    week = rng.choice(["*", "*", "SUN", "SAT-SUN", "FRI-SUN", "MON-FRI", "SUNL", "6#1", "0,3", "*/2", "7"])
    five = rng.random() < 0.3 and second == "0"
    return " ".join([minute, hour, date, month, week] if five else [second, minute, hour, date, month, week])


def compare(expression: str, zone: str, start: datetime, hours: int, step: int) -> None:
    try:
        found = actual(expression, zone, start, hours)
    except CronFault as fault:
        assert "no such day ever comes" in str(fault), (expression, fault)
        return
    assert found == expected(expression, zone, start, hours, step), expression


@pytest.mark.parametrize(("zone", "day"), WINDOWS)
def test_fires_are_those_found_minute_by_minute(zone, day):
    rng = random.Random(f"{zone} {day}")
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    for _ in range(12):
        compare(random_expression(rng), zone, start, 96, 60)


@pytest.mark.parametrize(
    ("zone", "instant"), [("Europe/Berlin", "2026-03-29T00:00"), ("Australia/Lord_Howe", "2026-04-04T14:00")]
)
def test_fires_are_those_found_second_by_second(zone, instant):
    rng = random.Random(zone)
    start = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    for _ in range(6):
        compare(random_expression(rng, seconds=None), zone, start, 3, 1)
    for expression in ["* * 2 * * *", "*/17 15,45 1-3 * * *", "30 59 1 * * *", "0 0 2 * * *", "1-3 */20 * * * *"]:
        compare(expression, zone, start, 3, 1)
