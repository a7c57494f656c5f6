"""What the steps of a run share: its processes, its ports, and what earlier steps found out for later ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jobs.engine.interface import Control, Failure, RunSpec, StateStore, StopRequest
from jobs.engine.process import Child, ProcessGroup

Write = Callable[[str, str, str], None]  # source, level, text: masked, then to the log


class CannotStart(Exception):
    """A program of the step could not be started; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.headline)
        self.failure = failure


def not_started(name: str, error: OSError) -> CannotStart:
    """The system refused to start a process."""
    where = f": {error.filename}" if error.filename else ""
    return CannotStart(
        Failure(
            f"{name} could not be started",
            reason=f"The system says: {error.strerror or error}{where}.",
            remedy="Look at the host's memory, disk, processes and open files, then run it again.",
            details={"code": "not-started"},
        )
    )


@dataclass
class RunContext:
    """One run as its steps see it."""

    spec: RunSpec
    processes: ProcessGroup
    write: Write
    state: StateStore
    control: Control
    environments: dict[str, str] = field(default_factory=dict)  # fingerprint to folder, of those that are ready
    catalogs: dict[str, dict[str, Any]] = field(default_factory=dict)  # component's name to the catalog found


class StepRunner(Protocol):
    """A step at work. The executor calls `start`, then `tick` after each pump until it is over, then `judge`."""

    @property
    def children(self) -> Sequence[Child]:
        """Its processes, the one whose exit code counts first at the head."""

    def start(self) -> None:
        """Begin. Processes are started through the context; lines arrive while the executor pumps."""

    def tick(self) -> bool:
        """Look at what happened since the last pump, at most a tenth of a second ago; True when the step is over."""

    def judge(self) -> Failure | None:
        """Why the step failed; None when it did not. Called once, when it is over."""

    def stop(self, why: StopRequest | None) -> None:
        """The run is to stop (None: its time is up): start nothing more. Its processes are ended after this.

        LOST: the run is no longer ours, and nothing may be saved.
        """

    def close(self) -> None:
        """Let go of what the step holds; called once, whatever happened."""

    @property
    def is_said(self) -> bool:
        """Whether the failure is in the log already."""
