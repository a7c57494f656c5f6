"""What a tap's source holds: its catalog, and a few rows of each selected stream."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any

from jobs.engine.interface import DiscoverStep, Failure, ProbeStep, SampleStep, StopRequest, TargetTestStep
from jobs.engine.process import Child
from jobs.engine.singer import apply_selection, check_catalog, streams_of
from jobs.engine.steps.context import CannotStart, RunContext, not_started
from jobs.engine.steps.programs import (
    Program,
    failure_of,
    program_path,
    selected_in,
    selection_arguments,
    start_connector,
)

KILL_SECONDS = 5.0  # between TERM and KILL for a tap that gave enough rows
LARGEST_CATALOG = 256 << 20  # bytes
SHOWN = 200  # characters of a sample's value
EMPTY = b""


class ConnectorRunner:
    """What the steps of one connector have in common."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._program: Program | None = None
        self._failure: Failure | None = None
        self.is_said = False

    @property
    def children(self) -> Sequence[Child]:
        """The connector's process."""
        return [self._program.child] if self._program else []

    def tick(self) -> bool:
        """Over when it has ended."""
        return self._context.processes.is_done(self.children)

    def stop(self, why: StopRequest | None) -> None:
        """Nothing more is started, and nothing is to be saved."""

    def close(self) -> None:
        """Nothing is held."""

    def _check(self, name: str, *, ok: bool, text: str) -> None:
        self._context.control.progress({"event": "check", "name": name, "ok": ok, "text": text})


class DiscoverRunner(ConnectorRunner):
    """Runs a tap with --discover and keeps the catalog for later steps, and through the control port for later runs."""

    def __init__(self, step: DiscoverStep, context: RunContext) -> None:
        super().__init__(context)
        self._step = step
        self._file: IO[bytes] | None = None

    def start(self) -> None:
        """The catalog may be one line of many mebibytes: it goes into a file without a name, that nobody else opens."""
        tap = self._step.extractor
        try:
            self._file = tempfile.TemporaryFile(dir=self._context.spec.run_folder)  # noqa: SIM115 - until `close`
            self._program = start_connector(self._context, tap, ["--discover"], stdout=self._file.fileno())
        except CannotStart as error:
            self._failure = error.failure
        except OSError as error:
            self._failure = not_started(tap.plugin, error).failure

    def close(self) -> None:
        """The file goes with its descriptor."""
        if self._file is not None:
            self._file.close()

    def judge(self) -> Failure | None:
        """Why there is no catalog."""
        failure = self._failure or self._read()
        name = f"Streams of {self._step.extractor.name}"
        if failure is not None:
            self._check(name, ok=False, text=failure.headline)
        return failure

    def _read(self) -> Failure | None:
        program, tap = self._program, self._step.extractor
        assert program is not None and self._file is not None
        if program.exit_code:
            return failure_of(program, doing="say what its source holds")
        size = os.fstat(self._file.fileno()).st_size
        if size > LARGEST_CATALOG:
            return _bad_catalog(tap.plugin, f"It is larger than {LARGEST_CATALOG >> 20} MiB")
        try:
            catalog = json.loads(os.pread(self._file.fileno(), size, 0))
        except (ValueError, RecursionError) as error:
            return _bad_catalog(tap.plugin, f"It is not JSON: {error}")
        if fault := check_catalog(catalog):
            return _bad_catalog(tap.plugin, fault)
        self._context.catalogs[tap.name] = catalog
        streams = streams_of(apply_selection(catalog, tap.select, tap.metadata))
        selected = selected_in(streams)
        event = {"event": "catalog", "component": self._step.component, "key": self._step.key}
        rules = {"select": list(tap.select), "metadata": dict(tap.metadata)}
        self._context.control.progress({**event, "catalog": catalog, **rules})
        self._check(
            f"Streams of {tap.name}", ok=True, text=f"{counted(len(streams), 'stream')}, {len(selected):,} selected"
        )
        return None


class SampleRunner(ConnectorRunner):
    """Reads the selected streams until there are enough rows of each, and ends the tap. Nothing is loaded."""

    def __init__(self, step: SampleStep, context: RunContext) -> None:
        super().__init__(context)
        self._step = step
        self._rows: dict[str, list[dict[str, str | None]]] = {}  # as they are shown, for a value may be large
        self._wanted: set[str] = set()
        self._until = 0.0
        self._asked_at = 0.0

    def start(self) -> None:
        """As a run would start it, without state."""
        tap = self._step.extractor
        self._until = time.monotonic() + self._step.seconds
        try:
            arguments, selected = selection_arguments(self._context, tap, self._step.catalog)
            self._wanted = set(selected)
            self._program = start_connector(self._context, tap, arguments, on_stdout=self._on_line)
        except CannotStart as error:
            self._failure = error.failure

    def _on_line(self, line: str) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        stream, kind = str(message.get("stream") or ""), message.get("type")
        if kind == "SCHEMA":
            self._rows.setdefault(stream, [])
        elif kind == "RECORD" and isinstance(message.get("record"), dict):
            rows = self._rows.setdefault(stream, [])
            if len(rows) < self._step.rows:
                rows.append({str(name): _shown(value) for name, value in message["record"].items()})

    def tick(self) -> bool:
        """Enough is enough: a tap is ended when each stream gave its rows, or its time is up."""
        program = self._program
        if program is None:
            return True
        now = time.monotonic()
        if not program.has_ended and (self._is_enough() or now > self._until):
            if not program.child.was_ended:
                program.child.was_ended, self._asked_at = True, now
                program.child.signal(signal.SIGTERM)
            elif now - self._asked_at > KILL_SECONDS:
                program.child.signal(signal.SIGKILL)
        return super().tick()

    def _is_enough(self) -> bool:
        wanted = self._wanted or set(self._rows)
        return bool(wanted) and all(len(self._rows.get(stream, ())) >= self._step.rows for stream in wanted)

    def judge(self) -> Failure | None:
        """A tap that failed before it gave anything has failed; one that we ended has not."""
        tap, program = self._step.extractor, self._program
        failure = self._failure
        if failure is None and program is not None and program.exit_code and not program.child.was_ended:
            failure = failure_of(program, doing="read its source")
        for stream, rows in self._rows.items():
            columns = list(dict.fromkeys(name for row in rows for name in row))
            shown = [[row.get(name) for name in columns] for row in rows]
            self._context.control.progress({"event": "sample", "stream": stream, "columns": columns, "rows": shown})
        count = sum(len(rows) for rows in self._rows.values())
        is_silent = failure is None and not count and program is not None and program.child.was_ended
        text = (
            failure.headline
            if failure
            else f"no row came within {self._step.seconds:.0f} s"
            if is_silent
            else f"{counted(count, 'row')} of {counted(len(self._rows), 'stream')}; none was loaded"
        )
        self._check(f"Sample rows of {tap.name}", ok=failure is None, text=text)
        return failure


class ProbeRunner(ConnectorRunner):
    """Looks whether a connector's program is in its environment. Opens nothing, starts nothing."""

    def __init__(self, step: ProbeStep, context: RunContext) -> None:
        super().__init__(context)
        self._step = step

    def start(self) -> None:
        """Only the file is looked for."""
        try:
            program_path(self._context, self._step.connector)
        except CannotStart as error:
            self._failure = error.failure

    def judge(self) -> Failure | None:
        """Why it could not be started."""
        connector, failure = self._step.connector, self._failure
        text = failure.headline if failure else f"{connector.plugin} is installed"
        self._check(connector.name, ok=failure is None, text=text)
        return failure


class TargetTestRunner(ConnectorRunner):
    """Starts a target on an empty input: it reads its settings, and says what is wrong with them."""

    def __init__(self, step: TargetTestStep, context: RunContext) -> None:
        super().__init__(context)
        self._step = step

    def start(self) -> None:
        """No message comes, so nothing is written."""
        try:
            self._program = start_connector(self._context, self._step.loader, [], stdin=EMPTY)
        except CannotStart as error:
            self._failure = error.failure

    def judge(self) -> Failure | None:
        """Whether it took its settings."""
        failure, program = self._failure, self._program
        if failure is None and program is not None and program.exit_code:
            failure = failure_of(program, doing="start with its settings")
        text = failure.headline if failure else "it starts with these settings"
        self._check(f"Settings of {self._step.loader.name}", ok=failure is None, text=text)
        return failure


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _bad_catalog(plugin: str, fault: str) -> Failure:
    return Failure(
        f"{plugin} did not say what its source holds",
        reason=f"Its answer to --discover is no catalog. {fault.rstrip('.')}.",
        remedy="Use another version of it, or take the capability DISCOVER out of its definition.",
        details={"code": "catalog-invalid"},
    )
