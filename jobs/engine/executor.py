"""Runs the steps of a job in order, under one deadline, and leaves no process behind."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.engine.interface import (
    AnyStep,
    Control,
    DiscoverStep,
    EnvironmentStep,
    ExtractLoadStep,
    Failure,
    LogSink,
    Outcome,
    ProbeStep,
    RunResult,
    RunSpec,
    SampleStep,
    StateStore,
    Step,
    StopRequest,
    TargetTestStep,
)
from jobs.engine.pipe_ends import LONGEST_LINE
from jobs.engine.process import Child, ProcessGroup, exit_code_of
from jobs.engine.redact import Redactor, clean, storable
from jobs.engine.steps.context import RunContext, StepRunner
from jobs.engine.steps.discover import DiscoverRunner, ProbeRunner, SampleRunner, TargetTestRunner
from jobs.engine.steps.environment import EnvironmentRunner
from jobs.engine.steps.extract_load import ExtractLoadRunner
from jobs.engine.steps.mover import MoverStep, sentence_of

# What runs each kind of step.
RUNNERS: dict[type[AnyStep], Callable[[Any, RunContext], StepRunner]] = {
    Step: MoverStep,
    EnvironmentStep: EnvironmentRunner,
    ProbeStep: ProbeRunner,
    DiscoverStep: DiscoverRunner,
    SampleStep: SampleRunner,
    TargetTestStep: TargetTestRunner,
    ExtractLoadStep: ExtractLoadRunner,
}

POLL_SECONDS = 0.5
TICK_SECONDS = 0.1  # the longest time between two looks at a step's processes
GRACE_SECONDS = 10.0  # between TERM and KILL
EXIT_STOPPED = 143
EXIT_TIMED_OUT = 124


class Stopped(Exception):
    """The run was told to stop, or its time is up."""

    def __init__(self, why: StopRequest | None) -> None:
        super().__init__(why)
        self.why = why  # None: the deadline


class MaskedControl:
    """A control port that sees no secret: messages of databases quote what they were given."""

    def __init__(self, control: Control, redactor: Redactor) -> None:
        self._control = control
        self._redactor = redactor

    def poll(self) -> StopRequest | None:
        """Passed on."""
        return self._control.poll()

    def progress(self, event: Mapping[str, Any]) -> None:
        """Passed on, masked. A catalog that masking changed is shown, and used by no later run: its key is empty."""
        shown = {**masked(event, self._redactor), "event": event["event"]}
        if event["event"] == "catalog" and any(shown.get(name) != event.get(name) for name in ("catalog", "streams")):
            shown["key"] = ""
        self._control.progress(shown)


def masked(value: Any, redactor: Redactor) -> Any:
    """A JSON value with every secret in its texts masked, and without characters that no database stores.

    Numbers stay: a password that is made of digits must not break a count. Names stay, for they are ours or a schema's.
    """
    if isinstance(value, str):
        return redactor.mask(storable(value))
    if isinstance(value, Mapping):
        return {str(name): masked(inner, redactor) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, redactor) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else masked(str(value), redactor)


class Executor:
    """One run. Ports are given; nothing here knows a database."""

    def __init__(self, spec: RunSpec, *, log: LogSink, state: StateStore, control: Control) -> None:
        self._spec = spec
        self._log = log
        self._state = state
        self._redactor = Redactor(spec.secrets)
        self._control = MaskedControl(control, self._redactor)
        self._deadline = time.monotonic() + spec.timeout_seconds
        self._processes = ProcessGroup(mark=spec.mark, environment=spec.environment, folder=spec.folder)
        self.stop: StopRequest | None = None

    def write(self, source: str, level: str, text: str) -> None:
        """One line to the log: without ANSI codes, without secrets, of a length that can be shown."""
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}… ({len(text):,} characters)"
        self._log.write(source=source, level=level, text=self._redactor.mask(clean(text)))

    def run(self) -> RunResult:
        """1. the steps; 2. whatever happened, no process of the run is left; 3. its own folder is removed."""
        try:
            for level, text in self._spec.notices:
                self.write("eltsite", level, text)
            result = self._run_steps()
        except Stopped as stopped:
            self.stop = stopped.why
            result = self._stopped(stopped.why)
        finally:
            killed = self._processes.close()
            shutil.rmtree(self._spec.run_folder, ignore_errors=True)
        if killed:
            self.write("eltsite", "warning", f"{killed} process(es) outlived the run and were killed.")
        if result.failure:
            result.failure = Failure(**masked(vars(result.failure), self._redactor))
        return result

    def _run_steps(self) -> RunResult:
        context = RunContext(self._spec, self._processes, self.write, self._state, self._control)
        for index, step in enumerate(self._spec.steps):
            failure, exit_code = self._run_step(step, context)
            if failure:
                for later in self._spec.steps[index + 1 :]:
                    self._control.progress({"event": "step", "name": later.name, "status": Outcome.SKIPPED})
                return RunResult(Outcome.ERROR, exit_code or 1, failure)
        return RunResult(Outcome.COMPLETE, 0)

    def _run_step(self, step: AnyStep, context: RunContext) -> tuple[Failure | None, int]:
        facts = {"event": "step", "name": step.name, "started_at": datetime.now(UTC).isoformat()}
        self._control.progress({**facts, "status": "running"})
        runner: StepRunner = RUNNERS[type(step)](step, context)
        started = time.monotonic()
        status = str(Outcome.ERROR)
        try:
            runner.start()
            self._pump(runner)
            failure = runner.judge()
            if failure and not runner.is_said:
                self.write("eltsite", "error", sentence_of(failure))
            status = str(Outcome.ERROR if failure else Outcome.COMPLETE)
            return failure, exit_code_of_step(runner.children)
        except Stopped as stopped:
            runner.stop(stopped.why)
            self._end_children()
            status = str(Outcome.TIMED_OUT if stopped.why is None else Outcome.STOPPED)
            raise
        finally:
            runner.close()
            seconds = round(time.monotonic() - started, 3)
            ends = ends_of_step(runner.children, started=started)
            if status == Outcome.ERROR:
                ends["exit_code"] = ends["exit_code"] or 1
            self._control.progress({**facts, "status": status, "seconds": seconds, **ends})

    def _pump(self, runner: StepRunner) -> None:
        checked = time.monotonic()
        while not runner.tick():
            if not self._processes.pump_once(seconds=TICK_SECONDS):
                time.sleep(TICK_SECONDS / 5)  # nothing to read: the step waits for an end, or for something else
            if time.monotonic() - checked >= POLL_SECONDS:
                self._check()
                checked = time.monotonic()

    def _check(self) -> None:
        """Each half second: is the run to stop, is its time up?"""
        if (request := self._control.poll()) is not None:
            raise Stopped(request)
        if time.monotonic() > self._deadline:
            raise Stopped(None)

    def _end_children(self) -> None:
        """TERM, the grace, KILL; lines are still read, for what a process says at its end matters most."""
        self._processes.signal(signal.SIGTERM)
        if not self._processes.pump(seconds=GRACE_SECONDS):
            self.write("eltsite", "warning", f"A process ignored TERM for {GRACE_SECONDS:.0f} s and was killed.")
            self._processes.signal(signal.SIGKILL)
            self._processes.pump(seconds=1.0)

    def _stopped(self, why: StopRequest | None) -> RunResult:
        if why is None:
            limit = self._spec.timeout_seconds
            failure = Failure(
                f"Timed out after {limit:.0f} s",
                reason="The run took longer than the pipeline's timeout and was ended. Committed rows are safe.",
                remedy="Run it again to continue from the stored state, or raise the timeout.",
            )
            self.write("eltsite", "error", sentence_of(failure))
            return RunResult(Outcome.TIMED_OUT, EXIT_TIMED_OUT, failure)
        return RunResult(Outcome.STOPPED, EXIT_STOPPED)


def exit_code_of_step(children: Sequence[Child]) -> int:
    """The exit code of the process that failed first, by itself; 0 where none did."""
    failed = [child for child in children if child.returncode and not child.was_ended and not child.is_echo]
    first = min(failed, key=lambda child: child.ended or 0.0, default=None)
    return exit_code_of(first.returncode or 0) if first else 0


def ends_of_step(children: Sequence[Child], *, started: float) -> dict[str, Any]:
    """What is kept of a step's processes: exit codes, the memory of the largest, the processor time of all.

    Where there are several, `parts` tells of each when it ran, in seconds from the step's start.
    """
    parts = [
        {
            "name": child.name,
            "after": round(child.started - started, 3),
            "seconds": round((child.ended or time.monotonic()) - child.started, 3),
            "exit_code": None if child.returncode is None else exit_code_of(child.returncode),
            "was_ended": child.was_ended,
            "is_echo": child.is_echo,
        }
        for child in children
    ]
    return {
        "exit_code": exit_code_of_step(children) if any(child.returncode is not None for child in children) else None,
        "parts": parts if len(parts) > 1 else [],
        "peak_memory_bytes": max((child.peak_memory_bytes for child in children), default=0),
        "cpu_seconds": round(sum(child.cpu_seconds for child in children), 3),
    }


def execute_run(
    spec: RunSpec, *, log: LogSink, state: StateStore, control: Control
) -> tuple[RunResult, StopRequest | None]:
    """Run all steps; the result, and what asked for a stop if anything did. The run's folder must exist."""
    executor = Executor(spec, log=log, state=state, control=control)
    result = executor.run()
    log.flush()
    return result, executor.stop
