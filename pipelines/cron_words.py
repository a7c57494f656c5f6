"""A schedule in plain words. Pure."""

from __future__ import annotations

import re

from pipelines.cron_fields import Schedule, parse

DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "", "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NTHS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}
MANY = 4  # times of day that are still listed one by one
ALL_HOURS = tuple(range(24))
ALL_SIXTY = tuple(range(60))


def describe(expression: str) -> str:
    """The schedule in plain words, such as "Monday to Friday at 02:30". Raises CronFault."""
    schedule = parse(expression)
    if schedule is None:
        return "No schedule"
    times, days = _times(schedule), _day_words(schedule)
    if times.startswith("at "):
        return _sentence(f"{days or 'every day'} {times}")
    return _sentence(f"{times}, {days}" if days else times)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


# ---------- times of day ----------


def _times(schedule: Schedule) -> str:
    seconds, minutes, hours = schedule.seconds, schedule.minutes, schedule.hours
    if len(seconds) == 1 and len(minutes) * len(hours) <= MANY:
        tail = f":{seconds[0]:02}" if seconds[0] else ""
        return "at " + _joined([f"{hour:02}:{minute:02}{tail}" for hour in hours for minute in minutes])
    if seconds != (0,):
        return _within(_every(seconds, "second"), _minute_words(minutes), _hour_words(hours))
    if len(minutes) == 1:
        every = _every(hours, "hour")
        past = f"at {minutes[0]} minutes past" if minutes[0] else ""
        if hours != ALL_HOURS and _step(hours, 24) is None:
            run = _run(hours)
            every = f"every hour from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[0]:02}" if run else ""
            return every or "at " + _joined([f"{hour:02}:{minutes[0]:02}" for hour in hours])
        return f"{every} {past}".strip()
    return _within(_every(minutes, "minute"), "", _hour_words(hours))


def _within(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _every(numbers: tuple[int, ...], unit: str) -> str:
    whole = 24 if unit == "hour" else 60
    step = _step(numbers, whole)
    if step == 1:
        return f"every {unit}"
    if step is not None:
        offset = f" from {numbers[0]}" if numbers[0] else ""
        return f"every {step} {unit}s{offset}"
    if len(numbers) == 1:
        return f"at {unit} {numbers[0]}"
    return f"at {unit}s {_numbers(numbers)}"


def _minute_words(minutes: tuple[int, ...]) -> str:
    if minutes == ALL_SIXTY:
        return ""
    step = _step(minutes, 60)
    return f"of every {step} minutes" if step else f"of {_plural('minute', minutes)} {_numbers(minutes)}"


def _hour_words(hours: tuple[int, ...]) -> str:
    if hours == ALL_HOURS:
        return ""
    if _run(hours):
        return f"from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return f"in {_plural('hour', hours)} {_numbers(hours)}"


def _plural(word: str, numbers: tuple[int, ...]) -> str:
    return word if len(numbers) == 1 else word + "s"


def _step(numbers: tuple[int, ...], whole: int) -> int | None:
    """The even distance of numbers that go through the whole range, such as 5 of 0, 5, ... 55."""
    if len(numbers) < 2:
        return None
    step = numbers[1] - numbers[0]
    even = numbers == tuple(range(numbers[0], whole, step))
    return step if even and numbers[0] < step and (step > 1 or len(numbers) == whole) else None


def _run(numbers: tuple[int, ...]) -> bool:
    return numbers == tuple(range(numbers[0], numbers[-1] + 1))


def _numbers(numbers: tuple[int, ...]) -> str:
    if _run(numbers) and len(numbers) > 2:
        return f"{numbers[0]} to {numbers[-1]}"
    return _joined([str(number) for number in numbers])


# ---------- days ----------


def _day_words(schedule: Schedule) -> str:
    """The days in words; empty for every day."""
    by_date = "" if schedule.days == "*" else _dates(schedule.days)
    by_week = "" if schedule.weekdays == "*" else _weekdays(schedule.weekdays)
    months = "" if schedule.months == "*" else _months(schedule.months)
    of_month = f" of {months}" if months else " of every month"
    if by_date and by_week:
        both = schedule.both_days or schedule.days.startswith("*") or schedule.weekdays.startswith("*")
        link = "if it is" if both else "and on"
        return f"on {by_date}{of_month} {link} {by_week.replace('every ', 'a ' if both else 'every ')}"
    if by_date:
        return f"on {by_date}{of_month}"
    if by_week:
        return f"{by_week} in {months}" if months else by_week
    return f"every day in {months}" if months else ""


def _dates(field: str) -> str:
    if field.startswith("*/"):
        return f"every {field[2:]} days from day 1"
    numbers = tuple(int(word) for word in field.split(",") if word.isdigit())
    words = [f"{_plural('day', numbers)} {_numbers(numbers)}"] if numbers else []
    return _joined([*words, *(["the last day"] if "L" in field.split(",") else [])])


def _weekdays(field: str) -> str:
    if field.startswith("*/"):
        return _joined([DAYS[number] for number in range(0, 7, int(field[2:]))])
    plain = sorted({int(word) for word in field.split(",") if word.isdigit()})
    special = [word for word in field.split(",") if not word.isdigit() and word != "*"]
    words = [_last_or_nth(word) for word in special]
    if len(plain) > 2 and _run(tuple(plain)):
        return _joined([f"{DAYS[plain[0]]} to {DAYS[plain[-1]]}", *words])
    names = [DAYS[number] for number in plain]
    if len(names) == 1 and not words:
        return f"every {names[0]}"
    return _joined([*names, *words])


def _last_or_nth(word: str) -> str:
    last = re.fullmatch(r"(\d)L", word)
    if last:
        return f"the last {DAYS[int(last[1])]} of the month"
    day, _, nth = word.partition("#")
    return f"the {NTHS[nth]} {DAYS[int(day)]} of the month"


def _months(field: str) -> str:
    if field.startswith("*/"):
        return _joined([MONTHS[number] for number in range(1, 13, int(field[2:]))])
    numbers = tuple(int(word) for word in field.split(",") if word.isdigit())
    if len(numbers) > 2 and _run(numbers):
        return f"{MONTHS[numbers[0]]} to {MONTHS[numbers[-1]]}"
    return _joined([MONTHS[number] for number in numbers])


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
