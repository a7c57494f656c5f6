"""Numbers, times and sizes as people read them. Pure: time comes in as `now`, zones as tzinfo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

NOT_KNOWN = "n/a"
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def grouped(value: float | None) -> str:
    """1284119 as "1,284,119"; unknown as "n/a"."""
    return NOT_KNOWN if value is None else f"{round(value):,}"


def counted(count: int, one: str, many: str = "") -> str:
    """A grouped number with its noun: "1 stream", "1,200 rows"."""
    return f"{grouped(count)} {one if count == 1 else many or one + 's'}"


def number_word(count: int) -> str:
    """Small numbers as words, as a sentence begins with them."""
    return NUMBER_WORDS[count] if 0 <= count < len(NUMBER_WORDS) else grouped(count)


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def duration(seconds: float | None) -> str:
    """ "0.4 s", "41 s", "2 min 14 s", "3 h 05 min", "2 d 4 h"."""
    if seconds is None:
        return NOT_KNOWN
    seconds = max(0.0, float(seconds))
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(whole / 3600)
    return f"{hours // 24} d {hours % 24} h"


def rough_duration(seconds: float) -> str:
    """A duration as one speaks of it: "12 s", "34 min", "5 h 38 min", "2 days"."""
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 6 and rest:
        return f"{hours} h {rest} min"
    if hours < 48:
        return f"{hours} h"
    return f"{hours // 24} days"


def clock_mark(seconds: float) -> str:
    """A place on a time axis: "0:00", "1:40", "1:00:00"."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def relative(at: datetime | None, now: datetime) -> str:
    """ "12 s ago", "in 16 min", "just now"."""
    if at is None:
        return NOT_KNOWN
    seconds = (now - at).total_seconds()
    if abs(seconds) < 5:
        return "just now" if seconds >= 0 else "now"
    return f"{rough_duration(seconds)} ago" if seconds > 0 else f"in {rough_duration(-seconds)}"


def clock(at: datetime, now: datetime, zone: tzinfo) -> str:
    """A moment as a clock says it: "02:34", "Yesterday 02:34", "Sun 02:34", "21 Oct 02:34"."""
    there, today = at.astimezone(zone), now.astimezone(zone).date()
    days = (there.date() - today).days
    time = f"{there:%H:%M}"
    if days == 0:
        return time
    if days in (-1, 1):
        return f"{'Tomorrow' if days == 1 else 'Yesterday'} {time}"
    if abs(days) < 7:
        return f"{there:%a} {time}"
    return f"{there.day} {there:%b} {time}" if there.year == today.year else f"{there.day} {there:%b %Y} {time}"


def exact(at: datetime, zone: tzinfo) -> str:
    """ "Mon 23 Nov 2026, 02:34:10 EET": the exact moment in a zone."""
    there = at.astimezone(zone)
    return f"{there:%a} {there.day} {there:%b %Y, %H:%M:%S %Z}"


def size(count: float | None) -> str:
    """Bytes: "0 B", "12 kB", "3.1 MB"."""
    if count is None:
        return NOT_KNOWN
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or (unit == "kB" and amount >= 100) else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def short_number(value: float) -> str:
    """A number on an axis: "500", "20k", "1.5M"."""
    for limit, mark in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if value >= limit:
            return f"{value / limit:g}{mark}"
    return f"{value:g}"


def sentence(text: str) -> str:
    """The text with a capital at its start and a full stop at its end. A path, or another name, keeps its letters."""
    text = text.strip()
    if not text:
        return ""
    first = text.split(maxsplit=1)[0].rstrip(",:;.")
    if first.isalpha():
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?:" else f"{text}."
