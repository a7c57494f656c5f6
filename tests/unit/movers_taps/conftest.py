"""A workspace in which movers speak Singer, count and look; and a check of what they say against its own schema."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import pytest

from tests.unit.movers.conftest import ROOT, Ended, Workspace, events_of, place, server

__all__ = ["place", "server"]  # fixtures

TARGET = {"plugin": "target-orchard", "name": "Orchard", "settings": {}}
EXACT = Context(prec=100)
FORMATS = {
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "time": re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}


def type_of(value: Any) -> set[str]:
    """The types of JSON Schema a value has."""
    if value is None or isinstance(value, bool):
        return {"null" if value is None else "boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    return {{Decimal: "number", str: "string", list: "array", dict: "object"}[type(value)]}


def fault_of(value: Any, schema: dict[str, Any]) -> str | None:
    """Why a value does not fit the schema; None where it does."""
    if not type_of(value) & set(schema["type"]):
        return f"{value!r} is not of {schema['type']}"
    if value is None:
        return None
    if "multipleOf" in schema and EXACT.remainder(Decimal(value), Decimal(str(schema["multipleOf"]))):
        return f"{value} is no multiple of {schema['multipleOf']}"
    if "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        return f"{value} is out of bounds"
    if "format" in schema and not FORMATS[schema["format"]].fullmatch(value):
        return f"{value!r} is no {schema['format']}"
    if schema.get("contentEncoding") == "base64":
        base64.b64decode(value, validate=True)
    return None


@dataclass
class Said(Ended):
    """What a tap wrote to standard output, besides its events."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def records(self, stream: str) -> list[dict[str, Any]]:
        """A stream's records in order."""
        return [m["record"] for m in self.messages if m["type"] == "RECORD" and m["stream"] == stream]

    def schema(self, stream: str) -> dict[str, Any]:
        """A stream's one SCHEMA message."""
        (found,) = [m for m in self.messages if m["type"] == "SCHEMA" and m["stream"] == stream]
        return found

    def properties(self, stream: str) -> dict[str, Any]:
        """A stream's columns and their schemas."""
        return self.schema(stream)["schema"]["properties"]

    @property
    def kinds(self) -> list[str]:
        """The types of the messages, records of one stream as one."""
        kinds = [f"{m['type']} {m.get('stream', '')}".strip() for m in self.messages]
        return [kind for number, kind in enumerate(kinds) if not number or kind != kinds[number - 1]]

    @property
    def last_state(self) -> dict[str, Any]:
        """The value of the last STATE message."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"][-1]

    def check(self) -> None:
        """Each record fits the schema that came before it, and has all of its columns."""
        schemas: dict[str, dict[str, Any]] = {}
        for message in self.messages:
            if message["type"] == "SCHEMA":
                schemas[message["stream"]] = message["schema"]["properties"]
            elif message["type"] == "RECORD":
                properties, record = schemas[message["stream"]], message["record"]
                assert list(record) == list(properties)
                faults = [fault for name, value in record.items() if (fault := fault_of(value, properties[name]))]
                assert not faults


def start(place: Workspace, verb: str, spec: dict[str, Any], *, stdout: Any, events: Any) -> subprocess.Popen[bytes]:
    """A mover whose specification and events have descriptors of their own."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(spec).encode() + b"\n")
    os.close(writing)
    needs = [":".join(filter(None, (end["plugin"], end["settings"].get("dialect")))) for end in [spec["extractor"]]]
    argv = [sys.executable, "-m", "jobs.engine.movers", verb, "--folder", str(place.folder), "--needs", ",".join(needs)]
    argv += ["--spec-fd", str(reading), "--events-fd", str(events.fileno())]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TZ": "UTC"}
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=(reading, events.fileno()),
        )
    finally:
        os.close(reading)


def tap(place: Workspace, extractor: dict[str, Any], **more: Any) -> Said:
    """Run singer_tap to its end, whatever that is."""
    spec = place.spec(extractor, more.pop("loader", TARGET), **more)
    with open(place.folder / "events", "w+", encoding="utf-8") as events:
        process = start(place, "singer_tap", spec, stdout=subprocess.PIPE, events=events)
        stdout, stderr = process.communicate(timeout=120)
        events.seek(0)
        said = events_of(events.read())
    messages = [json.loads(line, parse_float=Decimal) for line in stdout.decode().split("\n") if line]
    return Said(process.returncode, said, stderr.decode(), messages)


def read(place: Workspace, extractor: dict[str, Any], **more: Any) -> Said:
    """Run singer_tap, which must succeed and keep to its schemas."""
    said = tap(place, extractor, **more)
    assert said.exit_code == 0, (said.of("error"), said.log, said.stderr)
    assert said.stderr == ""
    said.check()
    counted = {event["stream"]: event["rows_read"] for event in said.of("stream") if event["done"]}
    assert counted == {stream: len(said.records(stream)) for stream in counted}
    assert said.of("result") == [{"event": "result", "streams": len(counted), "rows": sum(counted.values())}]
    return said


def run_verb(place: Workspace, verb: str, spec: dict[str, Any], messages: Sequence[dict[str, Any]] = ()) -> Ended:
    """Run a mover on standard input and output; `messages` follow the specification."""
    argv = [sys.executable, "-m", "jobs.engine.movers", verb, "--folder", str(place.folder)]
    done = subprocess.run(
        argv,
        input="".join(json.dumps(line) + "\n" for line in [spec, *messages]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TZ": "UTC"},
    )
    return Ended(done.returncode, events_of(done.stdout), done.stderr)


@pytest.fixture
def sqlite_file(place: Any) -> Any:
    """Where a SQLite file of the workspace is to be."""
    return place.files / "shop.sqlite"


def tap_sqlite(*tables: dict[str, Any]) -> dict[str, Any]:
    """An extractor of that file."""
    settings = {"dialect": "sqlite", "path": "shop.sqlite", "tables": list(tables)}
    return {"plugin": "tap-sql", "name": "Shop", "settings": settings}
