"""Filters and small marks of the pages: numbers, times, glyphs, badges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from eltsite import words
from jobs.status import JobStatus, JobType, StopReason, Trigger

register = template.Library()

GLYPHS = {
    "complete": "g-ok",
    "ready": "g-ok",
    "error": "g-bad",
    "failed": "g-bad",
    "running": "g-live",
    "provisioning": "g-live",
    "queued": "g-wait",
    "stopped": "g-halt",
    "timed_out": "g-halt",
    "late": "g-late",
    "stale": "g-stale",
}
TYPE_NAMES: dict[str, str] = {
    JobType.WORKSPACE_INIT: "Workspace set-up",
    JobType.PIPELINE_CONFIG: "Set-up",
    JobType.PIPELINE_ENV: "Test",
    JobType.COMPONENT_TEST: "Component test",
    JobType.PIPELINE_RUN: "Run",
}
TRIGGER_NAMES: dict[str, str] = {
    Trigger.MANUAL: "A person",
    Trigger.API: "API",
    Trigger.SCHEDULE: "Schedule",
    Trigger.PIPELINE: "Another pipeline",
    Trigger.RETRY: "Retry",
    Trigger.SYSTEM: "eltsite",
}
STOP_NAMES: dict[str, str] = {
    StopReason.USER: "by a person",
    StopReason.TIMEOUT: "by the time limit",
    StopReason.SHUTDOWN: "by a shutdown of the worker",
    StopReason.SUPERSEDED: "for a newer run",
}
# Words of the engine and the movers for what pages show in one way.
STATUS_CLASSES = {"timed_out": "stopped", "not_run": "skipped", "": "none"}
STATUS_NAMES = {"timed_out": "Timed out", "none": "Not run", "late": "Late", "stale": "Stale"}


def status_class(status: str) -> str:
    """ "ERROR" as "error": the word in class names."""
    word = str(status).lower()
    return STATUS_CLASSES.get(word, word)


def status_name(status: str) -> str:
    """ "ERROR" as "Error"."""
    word = str(status).lower()
    return STATUS_NAMES.get(word, word.replace("_", " ").capitalize())


def _of_number(say: Callable[[float | None], str]) -> Callable[[Any], str]:
    """A number's words; what a JSON value does not hold reaches a filter as an empty text, and is not known."""
    return lambda value: say(None if value == "" else value)


register.filter("grouped", _of_number(words.grouped))
register.filter("duration", _of_number(words.duration))
register.filter("size", _of_number(words.size))
register.filter("sentence", words.sentence)
register.filter("status_class", status_class)
register.filter("status_name", status_name)


@register.filter
def type_name(value: str) -> str:
    """A job's type in plain words; an unknown one as the API writes it."""
    return TYPE_NAMES.get(value, value)


@register.filter
def trigger_name(value: str) -> str:
    """What started a job, in plain words."""
    return TRIGGER_NAMES.get(value, value)


@register.filter
def started_by(job: Any) -> str:
    """Who or what started a job: a name where it was a person."""
    if job.created_by_id and job.trigger in (Trigger.MANUAL, Trigger.API, Trigger.RETRY):
        name = job.created_by.display_name
        return name if job.trigger == Trigger.MANUAL else f"{name}, {trigger_name(job.trigger)}"
    return trigger_name(job.trigger)


@register.filter
def usual_of(value: float | None, usual: float | None) -> str:
    """ "+2 %" against the usual; nothing where either is unknown."""
    if value is None or not usual:
        return ""
    share = round((value - usual) / usual * 100)
    return f"{'+' if share >= 0 else '−'}{abs(share)} %"


@register.simple_tag
def percent(part: int, whole: int) -> str:
    """ "93 %"; it says 100 % only when all are in."""
    return f"{part * 100 // whole} %" if whole else words.NOT_KNOWN


@register.simple_tag
def glyph(status: str, extra: str = "") -> SafeString:
    """The 14 px shape of a status."""
    word = status_class(status)
    return format_html(
        '<svg class="gl is-{}{}" aria-hidden="true"><use href="#{}"/></svg>',
        word,
        f" {extra}" if extra else "",
        GLYPHS.get(word, "g-skip"),
    )


@register.simple_tag
def icon(name: str) -> SafeString:
    """A small picture on a button."""
    return format_html('<svg class="gl" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.simple_tag
def badge(status: str, extra: str = "") -> SafeString:
    """Shape and word of a status."""
    return format_html(
        '<span class="badge is-{}{}">{}{}</span>',
        status_class(status),
        f" {extra}" if extra else "",
        glyph(status),
        status_name(status),
    )


@register.simple_tag
def named(status: str, name: str) -> SafeString:
    """A name with the shape of its status before it; the word is there for readers."""
    return format_html(
        '<span class="named">{}<span class="vh">{}: </span>{}</span>', glyph(status), status_name(status), name
    )


def time_element(at: datetime | None, text: str) -> SafeString:
    """A moment in words, exact on hover and for programs."""
    if at is None:
        return mark_safe(words.NOT_KNOWN)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        words.exact(at, timezone.get_current_timezone()),
        text,
    )


@register.simple_tag
def ago(at: datetime | None, now: datetime | None = None) -> SafeString:
    """ "5 h 38 min ago", exact on hover."""
    return time_element(at, words.relative(at, now or timezone.now()))


@register.simple_tag
def ago_text(at: datetime | None, now: datetime) -> str:
    """The same as plain text, where the exact time stands beside it."""
    return words.relative(at, now)


@register.simple_tag
def clock(at: datetime | None, now: datetime | None = None) -> SafeString:
    """ "Tomorrow 02:30" in the person's zone, exact on hover."""
    text = words.clock(at, now or timezone.now(), timezone.get_current_timezone()) if at else ""
    return time_element(at, text)


@register.filter
def log_time(at: datetime) -> str:
    """ "02:36:10.204" in the person's zone."""
    return at.astimezone(timezone.get_current_timezone()).strftime("%H:%M:%S.%f")[:-3]


@register.filter
def level_name(level: str) -> str:
    """ "Warn" and the like: four or five letters, so that the column stays narrow."""
    return "Warn" if level == "warning" else level.capitalize()


@register.filter
def stop_name(reason: str) -> str:
    """Who or what stopped a job."""
    return STOP_NAMES.get(reason, reason.lower())


@register.filter
def is_final(status: str) -> bool:
    """Whether a job in this status will not move any more."""
    return status in (JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED)
