"""SVG pictures, made on the server. Pure: plain values in, markup out.

Places are SVG attributes, never styles, as the content security policy wants it. x and width are per cent where a
picture stretches, so that text keeps its size. Colour comes from the class of a status; a shape says the same:
triangle = error, square = stopped, hollow = running, dashed = queued, a short dash = skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from html import escape
from math import ceil, floor, log10

from eltsite import words

HOLLOW = {"running", "queued"}


@dataclass(frozen=True)
class Bar:
    """One run in a strip."""

    number: int
    status: str  # lower case
    seconds: float | None
    href: str


@dataclass(frozen=True)
class Day:
    """How many jobs ended on a day."""

    day: date
    complete: int
    error: int
    stopped: int
    href: str


@dataclass(frozen=True)
class Span:
    """A stretch of time in a Gantt lane, in seconds from the start."""

    start: float
    end: float
    status: str


def _n(value: float) -> str:
    """A number as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def summary(statuses: Sequence[str]) -> str:
    """ "28 complete, 2 error": what a picture shows, in words."""
    order = ("complete", "error", "stopped", "skipped", "queued", "running")
    return ", ".join(f"{count} {status}" for status in order if (count := list(statuses).count(status)))


def tallest(values: Sequence[float]) -> float:
    """The 95th percentile: what full height stands for, so that one long run does not flatten the rest."""
    ordered = sorted(value for value in values if value)
    return ordered[min(len(ordered) - 1, floor(len(ordered) * 0.95))] if ordered else 1.0


def _title(bar: Bar) -> str:
    length = f", {words.duration(bar.seconds)}" if bar.seconds is not None else ""
    return f"<title>#{bar.number} {escape(bar.status.replace('_', ' '))}{length}</title>"


def _heights(bars: Sequence[Bar], full: int) -> list[int]:
    top = tallest([bar.seconds or 0 for bar in bars])
    return [max(3, min(full, round(full * (bar.seconds or 0) / top))) for bar in bars]


def strip(bars: Sequence[Bar], *, label: str = "") -> str:
    """The last runs as bars of 8 px, height = duration; notches below say how a run ended."""
    width = max(8, 10 * len(bars) - 2)
    parts = []
    for index, (bar, height) in enumerate(zip(bars, _heights(bars, 30), strict=True)):
        x = index * 10
        parts.append(f'<a href="{escape(bar.href)}" tabindex="-1">{_title(bar)}<rect class="hit" x="{x - 1}"/>')
        if bar.status == "skipped":
            parts.append(f'<path class="b is-skipped" d="M{x} 28h8v2h-8z"/></a>')
            continue
        if bar.status in HOLLOW:
            parts.append(
                f'<rect class="b hollow is-{bar.status}" x="{x + 0.6:g}" y="{30 - height}" width="6.8" height="{height}" rx="1.5"/>'
            )
        else:
            parts.append(
                f'<rect class="b is-{bar.status}" x="{x}" y="{30 - height}" width="8" height="{height}" rx="1.5"/>'
            )
        if bar.status == "error":
            parts.append(f'<path class="b is-error" d="M{x + 4} 33l3.5 5.5h-7z"/>')
        elif bar.status == "stopped":
            parts.append(f'<rect class="b is-stopped" x="{x + 1}" y="33" width="5" height="5"/>')
        parts.append("</a>")
    name = label or f"Last {len(bars)} runs: {summary([bar.status for bar in bars])}"
    return f'<svg class="strip" width="{width}" height="39" viewBox="0 0 {width} 39" role="group" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def wide_strip(bars: Sequence[Bar], *, slots: int = 60) -> str:
    """The strip across a whole panel: `slots` places, the newest run at the right end of those used."""
    step = 100 / max(slots, len(bars), 1)
    parts = []
    for index, (bar, height) in enumerate(zip(bars, _heights(bars, 56), strict=True)):
        x, wide = _n(index * step), _n(step * 0.8)
        parts.append(
            f'<a href="{escape(bar.href)}" tabindex="-1">{_title(bar)}<rect class="hit" x="{x}%" y="-2" width="{_n(step)}%" height="67"/>'
        )
        if bar.status == "skipped":
            parts.append(f'<rect class="b is-skipped" x="{x}%" y="54" width="{wide}%" height="2"/></a>')
            continue
        hollow = " hollow" if bar.status in HOLLOW else ""
        parts.append(
            f'<rect class="b is-{bar.status}{hollow}" x="{x}%" y="{56 - height}" width="{wide}%" height="{height}" rx="1.5"/>'
        )
        middle = _n(index * step + step * 0.4)
        if bar.status == "error":
            parts.append(f'<svg x="{middle}%" y="59"><path class="b is-error" d="M0 0l4 5.5h-8z"/></svg>')
        elif bar.status == "stopped":
            parts.append(
                f'<svg x="{middle}%" y="59"><rect class="b is-stopped" x="-2.5" y="0" width="5" height="5"/></svg>'
            )
        parts.append("</a>")
    name = f"Last {len(bars)} runs: {summary([bar.status for bar in bars])}"
    return f'<svg class="chart" height="65" role="group" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def nice_step(top: float, parts: int = 2) -> float:
    """A round step (1, 2 or 5 times a power of ten) of which `parts` reach about up to `top`."""
    rough = max(top, 1e-9) / parts
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.75)


def days(items: Sequence[Day], *, today: date) -> str:
    """Jobs by day: good ones above the line, errors below it on a scale of their own, stopped as squares."""
    good = max([item.complete for item in items] + [1])
    bad = max([item.error for item in items] + [1])
    step = max(1, round(nice_step(good)))
    scale_up, scale_down = 92 / max(good, step), 36 / max(bad, 10)
    marks = [value * step for value in range(int(good // step) + 1)]
    left = "".join(
        f'<text class="end-t" x="100%" y="{_n(116 - mark * scale_up)}">{words.short_number(mark)}</text>'
        for mark in marks
    )
    left += f'<text class="end-t" x="100%" y="160">{max(bad, 10)}</text>'
    body = ['<line class="axis" x1="0" x2="100%" y1="112" y2="112"/>']
    body += [
        f'<line class="rule" x1="0" x2="100%" y1="{_n(112 - m * scale_up)}" y2="{_n(112 - m * scale_up)}"/>'
        for m in marks[1:]
    ]
    body.append('<line class="rule" x1="0" x2="100%" y1="156" y2="156"/>')
    wide = 100 / max(len(items), 1)
    for index, item in enumerate(items):
        body.append(_day(item, index * wide, wide, scale_up, scale_down))
        if item.day == today:
            body.append('<text class="end-t strong" x="100%" y="184">Today</text>')
        elif item.day.weekday() == 0 and index < len(items) - 2:
            body.append(
                f'<text class="mid-t" x="{_n((index + 0.5) * wide)}%" y="184">{item.day.day} {item.day:%b}</text>'
            )
    total = ", ".join(
        f"{sum(getattr(item, kind) for item in items):,} {kind}" for kind in ("complete", "error", "stopped")
    )
    label = f"Jobs by day, last {len(items)} days: {total}"
    return (
        f'<svg height="190" aria-hidden="true">{left}</svg>'
        f'<svg height="190" role="group" aria-label="{escape(label)}">{"".join(body)}</svg>'
    )


def _day(item: Day, x: float, wide: float, scale_up: float, scale_down: float) -> str:
    counts = {"complete": item.complete, "error": item.error, "stopped": item.stopped}
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "no jobs"
    left, bar = _n(x + wide * 0.12), _n(wide * 0.75)
    parts = [
        f'<a href="{escape(item.href)}" tabindex="-1"><title>{item.day:%a} {item.day.day} {item.day:%b}: {said}</title>',
        f'<rect class="hit" x="{_n(x)}%" y="0" width="{_n(wide)}%" height="156"/>',
    ]
    if item.complete:
        high = max(1.5, item.complete * scale_up)
        parts.append(
            f'<rect class="b is-complete" x="{left}%" y="{_n(112 - high)}" width="{bar}%" height="{_n(high)}" rx="1.5"/>'
        )
    if item.error:
        high = max(3.0, item.error * scale_down)
        parts.append(f'<rect class="b is-error" x="{left}%" y="120" width="{bar}%" height="{_n(high)}" rx="1"/>')
    if item.stopped:
        parts.append(
            f'<svg x="{_n(x + wide * 0.495)}%" y="162"><rect class="b is-stopped" x="-2.5" width="5" height="5"/></svg>'
        )
    return "".join(parts) + "</a>"


def fires(times: Sequence[datetime], *, now: datetime, hours: int, zone: tzinfo) -> str:
    """The coming fires on a time line, one square each, stacked where several share five minutes."""
    span = hours * 3600.0
    parts = []
    hour = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    for ahead in range(1, hours + 1):
        x = ((hour + timedelta(hours=ahead)) - now).total_seconds() / span * 100
        if 0 <= x <= 100:
            at = _n(x)
            place = "end-t" if x > 96 else "mid-t" if x > 2 else ""
            parts.append(f'<line class="rule" x1="{at}%" x2="{at}%" y1="0" y2="38"/>')
            parts.append(
                f'<text class="{place}" x="{at}%" y="50">{(hour + timedelta(hours=ahead)).astimezone(zone):%H:%M}</text>'
            )
    parts.append('<line class="axis" x1="0" x2="100%" y1="34" y2="34"/>')
    stacked: dict[int, int] = {}
    for time in sorted(times):
        seconds = (time - now).total_seconds()
        if 0 <= seconds <= span and stacked.get(int(seconds // 300), 0) < 4:
            place_index = int(seconds // 300)
            level = stacked[place_index] = stacked.get(place_index, 0) + 1
            x = min(seconds / span * 100, 99.4)
            parts.append(f'<rect class="b is-queued" x="{_n(x)}%" y="{34 - level * 8}" width="5" height="6" rx="1.5"/>')
    parts.append(
        '<path class="b is-running" d="M-4 0h8l-4 6z"/><line x1="0" x2="0" y1="0" y2="34" class="trend is-running"/>'
    )
    label = f"Fires in the next {hours} hours: {len(times)}"
    return f'<svg class="chart" height="54" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def axis_marks(total: float) -> list[float]:
    """Places of the time marks of a Gantt: three to five, on round seconds, minutes or hours."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if total / step <= 4.6), ceil(total / 4 / 86400) * 86400)
    return [index * step for index in range(int(total // step) + 1)]


def lane(span: Span | None, *, total: float, usual_end: float | None = None, note: str = "", note_at: float = 0) -> str:
    """One row of a Gantt: the bar of a step, with rules at the time marks and, while it runs, the usual length.

    Without a span there is a note instead, at `note_at` seconds.
    """
    rules = "".join(
        f'<line class="rule" x1="{_n(mark / total * 100)}%" x2="{_n(mark / total * 100)}%" y1="0" y2="30"/>'
        for mark in axis_marks(total)[1:]
    )
    if span is None:
        return f'<svg aria-hidden="true">{rules}<text x="{_n(min(note_at / total * 100, 85))}%" y="19">{escape(note)}</text></svg>'
    start = min(span.start / total * 100, 99.5)
    width = max(0.5, min(100 - start, (span.end - span.start) / total * 100))
    band = ""
    if usual_end is not None and usual_end > span.end:
        band = f'<rect class="band" x="{_n(start)}%" y="9" width="{_n(min(100, usual_end / total * 100) - start)}%" height="12" rx="3"/>'
    return (
        f'<svg aria-hidden="true">{rules}{band}<rect class="b is-{span.status}" x="{_n(start)}%" y="9" '
        f'width="{_n(width)}%" height="12" rx="3"/></svg>'
    )


def axis(total: float) -> str:
    """The time marks under a Gantt."""
    texts = []
    for mark in axis_marks(total):
        x = mark / total * 100
        place = "" if mark == 0 else "end-t" if x > 95 else "mid-t"
        text = f"{mark:g} s" if total < 10 else words.clock_mark(mark)
        texts.append(f'<text class="{place}" x="{_n(x)}%" y="12">{text}</text>')
    return f'<svg aria-hidden="true">{"".join(texts)}</svg>'


def meter(share: float, status: str) -> str:
    """How far something has come, as a thin bar."""
    width = _n(max(0.0, min(1.0, share)) * 100)
    return (
        '<svg class="meter" aria-hidden="true"><rect class="ground" width="100%" height="6" rx="3"/>'
        f'<rect class="b is-{status}" width="{width}%" height="6" rx="3"/></svg>'
    )


def _points(values: Sequence[float], top: float, high: float, pad: float) -> list[str]:
    step = 100 / max(len(values) - 1, 1)
    return [f"{_n(index * step)},{_n(high - value / top * (high - pad))}" for index, value in enumerate(values)]


def spark(values: Sequence[float], status: str, *, height: int = 24) -> str:
    """A small trend line with the ground filled; zero is the lower edge."""
    if len(values) < 2:
        return ""
    points = " ".join(_points(values, max(values) or 1, height, 2))
    mark = (
        f'<svg x="100%" y="{height - 2}"><path class="dot is-error" d="M0-5l5 9h-10z"/></svg>'
        if status == "error"
        else ""
    )
    return (
        f'<svg class="chart" height="{height}" aria-hidden="true"><svg viewBox="0 0 100 {height}" width="100%" height="{height}" '
        f'preserveAspectRatio="none"><polygon class="area" points="0,{height} {points} 100,{height}"/>'
        f'<polyline class="trend" points="{points}"/></svg>{mark}</svg>'
    )


def trend(
    values: Sequence[float],
    statuses: Sequence[str],
    *,
    band: tuple[float, float] | None,
    ends: tuple[str, str],
    is_time: bool,
) -> str:
    """A line over runs with the usual range behind it; triangle and square where a run ended badly."""
    if len(values) < 2:
        return ""
    most = max([*values, *(band or ())]) or 1
    step = _time_step(most) if is_time else nice_step(most)
    top = ceil(most / step) * step
    scale = 98 / top
    marks = [index * step for index in range(int(top // step) + 1)]
    name = (lambda value: words.rough_duration(value) if value else "0") if is_time else words.short_number
    left = "".join(f'<text class="end-t" x="100%" y="{_n(114 - mark * scale)}">{name(mark)}</text>' for mark in marks)
    body = []
    if band:
        high, low = _n(110 - band[1] * scale), _n((band[1] - band[0]) * scale)
        body.append(f'<rect class="band" x="0" y="{high}" width="100%" height="{low}"/>')
    body.append('<line class="axis" x1="0" x2="100%" y1="110" y2="110"/>')
    body += [
        f'<line class="rule" x1="0" x2="100%" y1="{_n(110 - m * scale)}" y2="{_n(110 - m * scale)}"/>'
        for m in marks[1:]
    ]
    across = 100 / (len(values) - 1)
    points = " ".join(f"{_n(index * across)},{_n(110 - value * scale)}" for index, value in enumerate(values))
    body.append(
        '<svg viewBox="0 0 100 132" width="100%" height="132" preserveAspectRatio="none">'
        f'<polyline class="trend" points="{points}"/></svg>'
    )
    for index, (value, status) in enumerate(zip(values, statuses, strict=True)):
        shape = {
            "error": '<path class="dot is-error" d="M0-6l6 10.5h-12z"/>',
            "stopped": '<rect class="dot is-stopped" x="-4.5" y="-4.5" width="9" height="9"/>',
        }
        if status in shape:
            body.append(f'<svg x="{_n(index * across)}%" y="{_n(110 - value * scale)}">{shape[status]}</svg>')
    body.append(
        f'<text x="0" y="128">{escape(ends[0])}</text><text class="end-t strong" x="100%" y="128">{escape(ends[1])}</text>'
    )
    return (
        f'<svg height="132" aria-hidden="true">{left}</svg><svg height="132" aria-hidden="true">{"".join(body)}</svg>'
    )


def _time_step(top: float) -> float:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    return next((step for step in steps if top / step < 3.2), 86400)


def minimap(errors: Sequence[tuple[int, int]], *, total: int) -> str:
    """Where the errors of a log lie: `errors` are (first line, line count) of stretches that hold some."""
    marks = []
    seen: set[int] = set()
    for first, count in errors:
        place = round((first + count / 2) / max(total, 1) * 390)
        if place not in seen:  # many stretches in one pixel are one mark
            seen.add(place)
            marks.append(
                f'<rect class="b is-error" x="3" y="{_n(min(place / 390 * 100, 99.2))}%" width="9" height="3"/>'
            )
    said = f"{len(seen)} places" if seen else "none"
    return (
        f'<svg class="minimap" id="minimap" role="img" aria-label="Where the errors lie: {said}">{"".join(marks)}'
        '<rect class="view" x="1" y="0" width="12" height="100%"/></svg>'
    )
