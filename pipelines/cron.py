"""When a schedule fires. Pure: the time comes in as an argument.

Days are found by cronsim, times of day by the sorted numbers of their fields, both in naive local time. What a
clock change does to them is decided here (a time that does not exist, or that comes twice), because cronsim keeps
crontab's rules for five fields only:

- A schedule whose hours and minutes are fixed fires once at a time that comes twice, at the first; a time that does
  not exist fires at the first instant after the gap, once however many such times there are.
- A schedule whose hours or minutes begin with a star fires at each real time that matches, twice in a repeated
  hour, and not at all for times that do not exist.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pipelines.cron_fields import NEVER, CronFault, Schedule, parse
from pipelines.cron_words import describe

__all__ = ["NEVER", "CronFault", "describe", "next_fires", "next_run_at", "validate", "zone_of"]

SECOND = timedelta(seconds=1)
# Between two samples of a zone's offset: two changes that undo each other are never this close.
SAMPLE = timedelta(hours=12)
REFERENCE = date(2000, 1, 1)  # every date that ever comes, comes within 50 years of it


def next_run_at(expression: str, *, time_zone: str, after: datetime) -> datetime | None:
    """The first instant after `after` (aware) at which the schedule fires, in UTC; None for never. Raises CronFault."""
    schedule = parse(expression)
    zone = zone_of(time_zone)
    if schedule is None:
        return None
    _refuse_days_that_never_come(schedule)
    start = after.astimezone(UTC).replace(microsecond=0)
    return _next_wild(schedule, zone, start) if schedule.is_wild else _next_fixed(schedule, zone, start)


def next_fires(expression: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` instants at which the schedule fires, in UTC; fewer when there are no more."""
    fires: list[datetime] = []
    found = next_run_at(expression, time_zone=time_zone, after=after)
    while found is not None and len(fires) < count:
        fires.append(found)
        found = next_run_at(expression, time_zone=time_zone, after=found)
    return fires


def validate(expression: str, *, time_zone: str = "UTC") -> None:
    """Raise CronFault, with a sentence for people, unless the expression is a schedule or never."""
    zone_of(time_zone)
    schedule = parse(expression)
    if schedule is not None:
        _refuse_days_that_never_come(schedule)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises CronFault."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or a folder of zones
        raise CronFault(
            f"{name or 'The empty text'} is not a time zone. Write a name such as Europe/Berlin or UTC.",
            field="time zone",
            value=name,
        ) from None


# ---------- naive local time ----------


def _days(schedule: Schedule, start: date) -> Iterator[date]:
    """The matching days from `start` on, in order. Ends when none came for fifty years."""
    before = datetime.combine(start, time()) - SECOND
    try:
        if not schedule.both_days:
            for found in CronSim(f"0 0 0 {schedule.days} {schedule.months} {schedule.weekdays}", before):
                yield found.date()
            return
        by_date = CronSim(f"0 0 0 {schedule.days} {schedule.months} *", before)
        by_week = CronSim(f"0 0 0 * {schedule.months} {schedule.weekdays}", before)
        one, other = next(by_date), next(by_week)
        while one.year <= start.year + 100:
            if one == other:
                yield one.date()
                one = next(by_date)
            elif one < other:
                one = next(by_date)
            else:
                other = next(by_week)
    except (StopIteration, CronSimError):
        return


@functools.lru_cache(maxsize=1024)
def _ever_comes(schedule: Schedule) -> bool:
    return next(_days(schedule, REFERENCE), None) is not None


def _refuse_days_that_never_come(schedule: Schedule) -> None:
    if not _ever_comes(schedule):
        days, months, weekdays = schedule.texts[3:]
        value = f"{days} {months} {weekdays}"
        raise CronFault(
            f"The day of month, month and day of week of the schedule are {value}: no such day ever comes. "
            "Choose a day that the month has, or L for its last day.",
            field="day of month",
            value=value,
        )


def _next_local(schedule: Schedule, after: datetime) -> datetime | None:
    """The first naive local time after `after` that matches."""
    for day in _days(schedule, after.date()):
        if day > after.date():
            return datetime.combine(day, time(schedule.hours[0], schedule.minutes[0], schedule.seconds[0]))
        found = _next_time(schedule, after.time())
        if found is not None:
            return datetime.combine(day, found)
    return None


def _next_time(schedule: Schedule, after: time) -> time | None:
    """The first matching time of a day after `after`, on the same day."""
    seconds, minutes, hours = schedule.seconds, schedule.minutes, schedule.hours
    if after.hour in hours:
        if after.minute in minutes:
            at = bisect_left(seconds, after.second + 1)
            if at < len(seconds):
                return time(after.hour, after.minute, seconds[at])
        at = bisect_left(minutes, after.minute + 1)
        if at < len(minutes):
            return time(after.hour, minutes[at], seconds[0])
    at = bisect_left(hours, after.hour + 1)
    return time(hours[at], minutes[0], seconds[0]) if at < len(hours) else None


# ---------- clock changes ----------


def _next_fixed(schedule: Schedule, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The next fire where each matching local time fires once."""
    aware = after.astimezone(zone)
    local = aware.replace(tzinfo=None, fold=0)
    if aware.fold:
        # The second pass through a repeated hour: its times have fired in the first. Go on at the hour's end.
        first, second = _offsets(local, zone)
        local = _change(zone, after - (first - second), after).replace(tzinfo=None) + first - SECOND
    found = _next_local(schedule, local)
    return None if found is None else _instant(found, zone)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a local time: the first of two, and the end of the gap for one that does not exist."""
    first, second = _offsets(local, zone)
    if first < second:  # in a gap; before it the first offset holds, after it the second
        return _change(zone, local.replace(tzinfo=UTC) - second, local.replace(tzinfo=UTC) - first)
    return local.replace(tzinfo=UTC) - first


def _next_wild(schedule: Schedule, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The next instant whose local time matches."""
    while True:
        offset = _offset(after, zone)
        local = _next_local(schedule, after.replace(tzinfo=None) + offset)
        if local is None:
            return None
        found = local.replace(tzinfo=UTC) - offset
        change = _first_change(zone, after, found)
        if change is None:
            return found
        if _matches_at(schedule, change, zone):
            return change
        after = change  # nothing fires up to the change: look again from it on, by the new offset


def _matches_at(schedule: Schedule, instant: datetime, zone: ZoneInfo) -> bool:
    local = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    return _next_local(schedule, local - SECOND) == local


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _offsets(local: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """The offsets of a local time before and after a change; the same ones away from any."""
    aware = local.replace(tzinfo=zone)
    return aware.replace(fold=0).utcoffset() or timedelta(), aware.replace(fold=1).utcoffset() or timedelta()


def _first_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """The first instant in (start, end] at which the zone's offset changes."""
    while start < end:
        stop = min(start + SAMPLE, end)
        if _offset(start, zone) != _offset(stop, zone):
            return _change(zone, start, stop)
        start = stop
    return None


def _change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """The instant in (start, end] at which the offset of `start` ends, by halving."""
    before = _offset(start, zone)
    while end - start > SECOND:
        middle = start + timedelta(seconds=int((end - start).total_seconds()) // 2)
        start, end = (middle, end) if _offset(middle, zone) == before else (start, middle)
    return end
