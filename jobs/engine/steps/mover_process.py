"""A mover as one side of a pair: its events, what it is told while it works, and its end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from jobs.engine.interface import Failure
from jobs.engine.pipe_ends import Writer
from jobs.engine.process import Child, exit_code_of
from jobs.engine.steps.context import RunContext, not_started
from jobs.engine.steps.mover import command, failure_of, sentence_of, unexplained

OnEvent = Callable[[str, dict[str, Any]], None]


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe, (reading end, writing end); each end is closed with its stack."""
    ends = os.pipe()
    reading.callback(os.close, ends[0])
    writing.callback(os.close, ends[1])
    return ends


class MoverProcess:
    """Starts at once, or raises CannotStart. Standard input and output may carry Singer messages: the specification comes on a pipe of its own."""

    def __init__(
        self,
        context: RunContext,
        verb: str,
        spec: Mapping[str, Any],
        *,
        name: str,
        on_event: OnEvent,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        self._context = context
        self._name = name
        self._on_event = on_event
        self.failure: Failure | None = None
        self.result: dict[str, Any] = {}
        self.is_cut = False  # of the relay: its target no longer reads
        self._finished = False
        try:
            self.child, self._writer = self._start(verb, spec, stdin=stdin, stdout=stdout)
        except OSError as error:
            raise not_started(f"The process {name}", error) from error
        self.tell(spec)

    def _start(
        self, verb: str, spec: Mapping[str, Any], *, stdin: int | None, stdout: int | None
    ) -> tuple[Child, Writer]:
        """The process and what writes to it. Raises OSError; whatever fails on the way, no descriptor stays open."""
        processes = self._context.processes
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            spec_reading, telling = _pipe(theirs, ours)
            events_reading, events_writing = _pipe(ours, theirs)
            argv = [*command(verb, spec, self._context.spec), "--spec-fd", str(spec_reading)]
            if stdout is not None:
                argv += ["--events-fd", str(events_writing)]
            child = processes.start(
                argv,
                name=self._name,
                stdin=stdin,
                stdout=stdout if stdout is not None else events_writing,
                on_stderr=lambda text: self._context.write(self._name, "error", text),
                pass_fds=(spec_reading, events_writing),
            )
            ours.pop_all()  # from here on they are the process group's to close
            processes.watch(child, events_reading, self._on_line)
            return child, processes.writer(child, telling)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send it a message, which is written as it reads; one that has ended hears nothing any more."""
        self._writer.send(json.dumps(message).encode() + b"\n")

    def hang_up(self) -> None:
        """Nothing more will be said."""
        self._writer.finish()

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.child.poll()

    def _on_line(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event.pop("event")
        except (ValueError, KeyError, AttributeError, TypeError):
            self._context.write(self._name, "info", line)
            return
        if kind == "log":
            self._context.write(event.get("source", self._name), event.get("level", "info"), event.get("text", ""))
        elif kind == "error":
            self.failure = failure_of(event)
            self._context.write("eltsite", "error", sentence_of(self.failure))
        elif kind == "cut":
            self.is_cut = True
        elif kind == "result":
            self._finished, self.result = True, event
            self._on_event(kind, event)
        else:
            self._on_event(kind, event)

    def judge(self) -> Failure | None:
        """Why it failed; None when it did not. Exit code 0 alone is no proof: it must have said that it was done."""
        self.hang_up()
        return unexplained(
            self._name.capitalize(), exit_code_of(self.child.returncode or 0), self.failure, self._finished
        )
