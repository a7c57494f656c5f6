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
class Environment:
    """A Python environment that plugins of the run need, and what is to be in it."""

    name: str  # of the plugins that need it, as pages show them
    fingerprint: str  # of (requirements, python): what it is called before it is resolved
    requirements: str  # pip arguments
    python: str = ""  # such as "3.11"; empty: any that eltsite itself runs on
    lock: str = ""  # pinned versions with hashes; empty: resolve them, and say what came of it
    replaces: str = ""  # the lock that an upgrade leaves: resolving that came to it a moment ago is not taken again


@dataclass(frozen=True)
class EnvironmentStep:
    """Have these environments ready before anything is started from them."""

    name: str
    environments: Sequence[Environment]


@dataclass(frozen=True)
class Connector:
    """A Singer tap or target as a run uses it. `config` and `variables` hold open secrets."""

    name: str  # the component's
    plugin: str  # such as tap-postgres
    executable: str  # the console script in its environment
    fingerprint: str  # of its environment
    config: Mapping[str, Any]  # typed and nested, as its config file has it
    variables: Mapping[str, str] = field(default_factory=dict)  # of its process alone, such as TAP_X_API_KEY
    capabilities: frozenset[str] = frozenset()  # in lower case, such as "catalog"
    select: Sequence[str] = ()  # selection rules as Meltano has them; empty: what the tap's catalog says
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # stream to metadata
    store: Mapping[str, Any] = field(default_factory=dict)  # of a target: where its rows can be counted


@dataclass(frozen=True)
class ProbeStep:
    """See whether a connector's program is in its environment."""

    name: str
    connector: Connector


@dataclass(frozen=True)
class DiscoverStep:
    """Ask a tap what its source holds."""

    name: str
    extractor: Connector
    component: str  # id of the component that remembers the catalog
    key: str  # of the settings and versions it is found with


@dataclass(frozen=True)
class SampleStep:
    """Read a few rows of each selected stream, and load none."""

    name: str
    extractor: Connector
    catalog: Mapping[str, Any] | None  # None: as the discovery of this run finds it
    rows: int = 10
    seconds: float = 60.0


@dataclass(frozen=True)
class TargetTestStep:
    """Start a target on an empty input: it reads its settings and says what is wrong with them."""

    name: str
    loader: Connector


@dataclass(frozen=True)
class ExtractLoadStep:
    """A pair of which at least one end is a Singer program. The mover takes the place of the other where it is ours."""

    name: str
    extractor: Connector | None  # None: the mover's verb singer_tap reads the source
    loader: Connector | None  # None: the mover's verb singer_load writes the store
    mover: Mapping[str, Any]  # the mover's specification; also that of the verb count
    state: Mapping[str, Any]  # a Singer state value, {} where there is none
    epoch: int
    sequence: int
    catalog: Mapping[str, Any] | None  # None: as the discovery of this run finds it
    full_refresh: bool = False


AnyStep = Step | EnvironmentStep | ProbeStep | DiscoverStep | SampleStep | TargetTestStep | ExtractLoadStep


@dataclass(frozen=True)
class RunSpec:
    """All a run needs, as plain values. Secrets are open here and nowhere else."""

    job: str  # UUID
    mark: str  # "<job id>:<attempt>", the value of ELTSITE_JOB in every child's environment
    steps: Sequence[AnyStep]
    folder: str  # the workspace's folder, absolute; children work in it
    run_folder: str  # this run's own folder, absolute; gone when the run ends
    timeout_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    run_as: tuple[int, int] | None = None  # user and group id for children, where eltsite runs as root
    notices: Sequence[tuple[str, str]] = ()  # (level, text) to be said before the first step
    environments_folder: str = ""  # where plugin environments are, absolute
    installer: Mapping[str, str] = field(default_factory=dict)  # environment of the installer: proxies, indexes


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
    """Where committed state goes. `save` returns when it is stored.

    `is_partial`: what an unfinished run of a foreign target came to; it is merged over the stored state on read, and
    the next save that is not partial takes its place.
    """

    def save(self, *, state: Mapping[str, Any], epoch: int, sequence: int, is_partial: bool = False) -> None: ...


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
        """A step, stream, model, check, sample, catalog or environment event, to be kept for pages and later runs."""
