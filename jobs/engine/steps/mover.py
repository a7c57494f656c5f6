"""A step of the data plane: one mover process, its events and its end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.engine.interface import Failure, RunSpec, Step, StopRequest
from jobs.engine.pipe_ends import LONGEST_MESSAGE
from jobs.engine.process import Child, exit_code_of
from jobs.engine.steps.context import RunContext

ROOT = Path(__file__).resolve().parents[3]  # where the package `jobs` lies
SIGNAL_NAMES = {137: "KILL (often: the host ran out of memory)", 139: "SEGV (a crash in a native library)"}


def command(verb: str, mover_spec: Mapping[str, Any], spec: RunSpec) -> list[str]:
    """The mover's command line. It holds no value a person wrote: those come on standard input."""
    argv = [
        sys.executable,
        "-m",
        "jobs.engine.movers",
        verb,
        "--folder",
        spec.folder,
        "--parent",
        str(os.getpid()),
    ]
    if needs := needs_of(mover_spec):
        argv += ["--needs", ",".join(needs)]
    if spec.run_as:
        argv += ["--run-as", f"{spec.run_as[0]}:{spec.run_as[1]}"]
    return argv


def needs_of(spec: Mapping[str, Any]) -> list[str]:
    """What is imported before a mover gives up its rights: shipped plugins, and the kind of store that is counted.

    Extractor first, each with its dialect where it has one.
    """
    ends = [spec[end] for end in ("extractor", "loader") if spec.get(end)]
    dialects = [(end.get("settings") or {}).get("dialect") for end in ends]
    kind = (spec.get("store") or {}).get("kind")
    return [
        *(
            f"{end['plugin']}:{dialect}" if dialect else end["plugin"]
            for end, dialect in zip(ends, dialects, strict=True)
        ),
        *([f"store:{kind}"] if kind else []),
    ]


class MoverStep:
    """Runs one mover and keeps what it says: log lines, progress, state, and its one error."""

    def __init__(self, step: Step, context: RunContext) -> None:
        self._step = step
        self._context = context
        self._write = context.write
        self.failure: Failure | None = None
        self.finished = False
        self.children: list[Child] = []

    def start(self) -> None:
        """Start the process."""
        child = self._context.processes.start(
            command(self._step.verb, self._step.spec, self._context.spec),
            name=self._step.name,
            stdin=json.dumps(self._step.spec).encode() + b"\n",
            on_stdout=self._on_event,
            longest=LONGEST_MESSAGE,
            on_stderr=lambda text: self._write("mover", "error", text),
        )
        self.children.append(child)

    def tick(self) -> bool:
        """Over when its process has ended and its pipes are read to the end."""
        return self._context.processes.is_done(self.children)

    def stop(self, why: StopRequest | None) -> None:
        """Its states are saved as they come."""

    def close(self) -> None:
        """Nothing is held."""

    @property
    def is_said(self) -> bool:
        """Its own error is written as it arrives."""
        return self.failure is not None

    def _on_event(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event.pop("event")
        except (ValueError, KeyError, AttributeError, TypeError):  # not one of ours: a library's own words
            self._write("mover", "info", line)
            return
        if kind == "log":
            self._write(event.get("source", "mover"), event.get("level", "info"), event.get("text", ""))
        elif kind == "state":
            self._save(event)
        elif kind == "error":
            self.failure = failure_of(event)
            self._write("eltsite", "error", sentence_of(self.failure))
        elif kind == "result":
            self.finished = True
            self._context.control.progress({"event": kind, **event})
        else:
            # The control port keeps a catalog for the component it is of.
            owner = {name: self._step.spec.get(name) for name in ("component", "key")} if kind == "catalog" else {}
            self._context.control.progress({"event": kind, **event, **owner})

    def _save(self, event: Mapping[str, Any]) -> None:
        self._context.state.save(state=event["state"], epoch=event["epoch"], sequence=event["sequence"])

    def judge(self) -> Failure | None:
        """Why the ended process failed; None when it did not. Exit code 0 alone is no proof: it must have said so."""
        exit_code = exit_code_of(self.children[0].returncode or 0)
        return unexplained(self._step.name, exit_code, self.failure, self.finished)


def unexplained(name: str, exit_code: int, failure: Failure | None, finished: bool) -> Failure | None:
    """What to say of a mover that ended: its own error, else what its exit code tells; None when it did its work."""
    if failure is not None or (exit_code == 0 and finished):
        return failure
    if exit_code == 0:
        return Failure(
            f"{name} ended without a result",
            reason="Its process exited with code 0 but never reported that it was done.",
            remedy="Run the pipeline again; if it happens again, the log is the place to look.",
        )
    ended = f"signal {SIGNAL_NAMES.get(exit_code, exit_code - 128)}" if exit_code > 128 else f"exit code {exit_code}"
    return Failure(
        f"{name} ended with {ended}",
        reason="Its process ended before it could say why. Rows it had not committed are not in the store.",
        remedy="Read the last lines of the log, then run the pipeline again: it continues from the stored state.",
    )


def failure_of(event: Mapping[str, Any]) -> Failure:
    """A mover's error event as a failure."""
    details = {key: event[key] for key in ("stream", "file", "line", "column", "code") if event.get(key) is not None}
    return Failure(
        event.get("headline") or "Failed", event.get("reason") or "", event.get("remedy") or "", details=details
    )


def sentence_of(failure: Failure) -> str:
    """A failure as one log line."""
    return " ".join(
        part if part.endswith((".", "!", "?")) else f"{part}."
        for part in (failure.headline, failure.reason, failure.remedy)
        if part
    )
