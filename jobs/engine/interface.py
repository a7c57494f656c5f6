"""What the engine takes and gives, and what it asks of its surroundings. Plain values and protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Outcome(StrEnum):
    """How a run or step ended."""

    COMPLETE = "complete"
    ERROR = "error"
    STOPPED = "stopped"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Step:
    """One child process of the data plane: a verb of `python -m jobs.engine.movers` and its specification."""

    name: str  # as pages show it, such as "Extract and load"
    verb: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class RunSpec:
    """All a run needs, as plain values. Secrets are open here and nowhere else."""

    job: str  # UUID
    mark: str  # "<job id>:<attempt>", the value of ELTSITE_JOB in every child's environment
    steps: Sequence[Step]
    folder: str  # the workspace's folder, absolute; children work in it
    run_folder: str  # this run's own folder, absolute; gone when the run ends
    timeout_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    run_as: tuple[int, int] | None = None  # user and group id for children, where eltsite runs as root
    notices: Sequence[tuple[str, str]] = ()  # (level, text) to be said before the first step


@dataclass
class Failure:
    """Why a run failed: a line for the headline, and what a person can do."""

    headline: str
    reason: str = ""
    remedy: str = ""
    details: dict[str, Any] = field(default_factory=dict)  # stream, file, line, column, code


@dataclass
class RunResult:
    """How a run ended, with everything worth keeping."""

    outcome: Outcome
    exit_code: int
    failure: Failure | None = None


class LogSink(Protocol):
    """Where log lines go. `write` may buffer; `flush` must store."""

    def write(self, *, source: str, level: str, text: str) -> None: ...

    def flush(self) -> None: ...


class StateStore(Protocol):
    """Where committed state goes. `save` returns when it is stored."""

    def save(self, *, state: Mapping[str, Any], epoch: int, sequence: int) -> None: ...


class StopRequest(StrEnum):
    """What the control port asks of a running engine."""

    USER = "USER"
    SHUTDOWN = "SHUTDOWN"
    SUPERSEDED = "SUPERSEDED"
    LOST = "LOST"  # this run is no longer ours: the lease ran out or the claim is gone


class Control(Protocol):
    """The engine's tie to the job row."""

    def poll(self) -> StopRequest | None:
        """Called each half second: keeps the heartbeat, stores progress, says whether to stop."""

    def progress(self, event: Mapping[str, Any]) -> None:
        """A step, stream, model or check event, to be kept for the pages."""
