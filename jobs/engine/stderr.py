"""What programs write to standard error: levels, Singer's metrics, the line that names a failure. Pure."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.engine.hints import hint_of

__all__ = ["Story", "hint_of", "level_of", "metric_of"]

LONGEST = 300  # characters of the line that names a failure
_LEVELS = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "warning": "warning",
    "err": "error",
    "error": "error",
    "exception": "error",
    "critical": "error",
    "fatal": "error",
}
_NAMES = "TRACE|DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|CRITICAL|FATAL"
_TIME = r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]*\s?(?:Z|UTC|[+-]\d\d:?\d\d)?\]?"
_SEPARATOR = r"\s*[|:\-]?\s*"
_FORMS = tuple(
    re.compile(form, re.DOTALL)
    for form in (
        # time=2026-01-01 10:00:00 name=tap_mysql level=CRITICAL message=...
        r"(?:time=.*?\s)?name=(?P<name>\S+)\s+level=(?P<level>\w+)\s+message=(?P<text>.*)",
        r"(?:time|ts)=\S+\s+level=(?P<level>\w+)\s+(?:msg|message)=(?P<text>.*)",
        # INFO:root:...
        rf"(?P<level>{_NAMES}):(?P<name>[\w.\-]+):(?P<text>.*)",
        # INFO ...; [ERROR] ...; WARNING: ...
        rf"\[?(?P<level>{_NAMES})\]?(?:\s*[:|\-])?\s+(?P<text>.*)",
        # 2026-01-01 10:00:00,123 | WARNING  | tap-x | ...
        rf"{_TIME}\s*\|\s*(?P<level>{_NAMES})\s*\|\s*(?P<name>[\w.\-]+)\s*\|\s*(?P<text>.*)",
        # 2026-01-01T10:00:00Z [error    ] ...
        rf"{_TIME}{_SEPARATOR}\[(?P<level>\w+)\s*\]\s*(?P<text>.*)",
        # 2026-01-01 10:00:00,123 INFO ...
        rf"{_TIME}{_SEPARATOR}(?P<level>{_NAMES})\b{_SEPARATOR}(?P<text>.*)",
        # 2026-01-01 10:00:00,123 - tap - ERROR - ...
        rf"{_TIME}{_SEPARATOR}(?P<name>[\w.\-]+)\s*[|:\-]?\s+\[?(?P<level>{_NAMES})\b\]?{_SEPARATOR}(?P<text>.*)",
    )
)
_PLAIN = re.compile(r"(error|fatal error|fatal|critical|panic|warning)\s?:\s", re.IGNORECASE)
_EXCEPTION = re.compile(r"(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Timeout|Fault|Failure)(?::|$)")
_WARNING = re.compile(r".*:\d+: \w*Warning: ")
_TRACEBACK = "Traceback (most recent call last)"
_FRAME = re.compile(r'\s+File ".*", line \d+')
_BOX = "╭│╰"  # how a traceback is framed by the library rich
# Ends that follow from another error, which is the one to name.
_FOLLOWS = re.compile(r"(SystemExit|KeyboardInterrupt|BrokenPipeError|click\.exceptions\.(Abort|Exit))\b")
_METRIC = re.compile(r"METRIC: (\{.*\})\s*$")


@dataclass(frozen=True)
class _Line:
    """A line taken apart. `level` is "" where the line itself says none."""

    level: str
    name: str  # of its logger
    text: str
    exception: str = ""  # of a JSON line that carries one


def _of_json(line: str) -> _Line | None:
    """A JSON log line; None where it is none."""
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        values = json.loads(line)
    except ValueError:
        return None
    text = next((values[key] for key in ("message", "event", "msg") if isinstance(values.get(key), str)), None)
    if text is None:
        return None
    level = next((values[key] for key in ("level", "levelname", "severity") if isinstance(values.get(key), str)), "")
    name = next((values[key] for key in ("logger_name", "logger", "name") if isinstance(values.get(key), str)), "")
    exception = values.get("exception") or values.get("exc_info") or values.get("stack_trace") or ""
    if isinstance(exception, Mapping):  # the SDK's structured logs
        exception = f"{exception.get('type', 'Error')}: {exception.get('message', '')}"
    exception = exception.strip() if isinstance(exception, str) else ""
    return _Line(_LEVELS.get(level.lower(), ""), name, text, exception)


def _parsed(line: str) -> _Line:
    if (found := _of_json(line.strip())) is not None:
        return found
    for form in _FORMS:
        match = form.match(line)
        if match and (level := _LEVELS.get(match["level"].lower())):
            return _Line(level, match.groupdict().get("name") or "", match["text"])
    return _Line("", "", line)


def _guessed(text: str) -> str:
    """The level of a line that names none."""
    if text.lstrip(_BOX + "─+| ").startswith(_TRACEBACK) or _FRAME.match(text) or _EXCEPTION.match(text):
        return "error"
    if plain := _PLAIN.match(text):
        return "warning" if plain[1].lower() == "warning" else "error"
    return "warning" if _WARNING.match(text) else "info"


def level_of(line: str) -> tuple[str, str]:
    """Level (debug, info, warning, error) and text of a line, without the time and the level that were in it."""
    found = _parsed(line)
    name = "" if found.name in ("", "root") else f"{found.name}: "
    text = f"{name}{found.text}" + (f"\n{found.exception}" if found.exception else "")
    return found.level or _guessed(found.text), text


def metric_of(line: str) -> dict[str, Any] | None:
    """The value of a Singer metric line, {"type", "metric", "value", "tags"}; None of any other line."""
    if "METRIC: " not in line:
        return None
    match = _METRIC.search(_parsed(line).text)
    if not match:
        return None
    try:
        metric = json.loads(match[1])
    except ValueError:
        try:
            metric = ast.literal_eval(match[1])  # older versions of the SDK write Python's own form
        except (ValueError, SyntaxError):
            return None
    return metric if isinstance(metric, dict) else None


class Story:
    """All that one program writes to standard error, read for the one line that names its failure."""

    def __init__(self) -> None:
        self._exception = ""
        self._consequence = ""  # an exception that follows from another error
        self._error = ""
        self._last = ""
        self._is_in_traceback = False
        self._is_in_message = False  # the line before was an exception's; its message may go on

    def add(self, line: str) -> tuple[str, str]:
        """Take a line; its level and text as `level_of` has them, with every line of a traceback an error."""
        found = _parsed(line)
        level, text = level_of(line)
        if not line.strip():
            self._is_in_message = False
            return ("error" if self._is_in_traceback else level), text
        self._last = found.text
        if found.exception:
            self._name(found.exception.splitlines()[-1])
            return level, text
        body = re.sub(r"^\s*[|+] ?", "", found.text) if self._is_in_traceback else found.text
        if body.lstrip(_BOX + "─+| ").startswith(("Traceback (most", "Exception Group Traceback")):
            self._is_in_traceback, self._is_in_message = True, False
            return "error", text
        if self._is_in_traceback:
            if body[:1] in (" ", "\t", *_BOX):
                return "error", text
            self._is_in_traceback = False
            self._name(body)
            self._is_in_message = True
            return "error", text
        if self._is_in_message and not found.level and self._goes_on(body):
            self._exception = f"{self._exception} {body.strip()}"
            return "error", text
        self._is_in_message = False
        if level == "error" and not _FOLLOWS.match(found.text):
            self._error = found.text
        return level, text

    def _name(self, exception: str) -> None:
        if _FOLLOWS.match(exception):
            self._consequence = exception
        else:
            self._exception = exception

    def _goes_on(self, text: str) -> bool:
        """Whether a line belongs to the message of the exception above it."""
        is_open = self._exception.endswith(":") or "validation error" in self._exception
        return bool(self._exception) and len(self._exception) < LONGEST and (is_open or text[:1] in (" ", "\t"))

    @property
    def line(self) -> str:
        """The last exception, else the last error, else the last line that says anything; "" after silence."""
        text = self._exception or self._error or self._consequence or self._last
        text = " ".join(text.split())
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
