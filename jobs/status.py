"""The life of a job: its types, its statuses and the moves between them. Pure."""

from __future__ import annotations

from enum import StrEnum


class JobType(StrEnum):
    """What a job does. An open set: code that reads a type must expect one it does not know."""

    WORKSPACE_INIT = "WORKSPACE_INIT"  # makes a workspace's folders and its default warehouse
    PIPELINE_CONFIG = "PIPELINE_CONFIG"  # checks a saved pipeline
    PIPELINE_ENV = "PIPELINE_ENV"  # shows the run's environment, tests both ends
    PIPELINE_RUN = "PIPELINE_RUN"  # runs a pipeline
    COMPONENT_TEST = "COMPONENT_TEST"  # tests one component by itself: connection, streams, sample rows


TYPE_ALIASES = {"PIPELINE_VERIFY": JobType.PIPELINE_ENV}  # what filters also take


class JobStatus(StrEnum):
    """Each status says who moves a job out of it."""

    QUEUED = "QUEUED"  # a worker claims it; a stop or a newer run ends it
    RUNNING = "RUNNING"  # its worker ends it; where the worker is lost, the scheduler does
    COMPLETE = "COMPLETE"  # final: every process ended well, counts agree, state is stored
    ERROR = "ERROR"  # final: something failed; the headline says what
    STOPPED = "STOPPED"  # final: stopped by a person, the deadline, a shutdown or a newer run; see StopReason


class StopReason(StrEnum):
    """Why a job is STOPPED."""

    USER = "USER"
    TIMEOUT = "TIMEOUT"
    SHUTDOWN = "SHUTDOWN"
    SUPERSEDED = "SUPERSEDED"


class Trigger(StrEnum):
    """What made a job."""

    MANUAL = "MANUAL"  # a person, on a page
    API = "API"
    SCHEDULE = "SCHEDULE"
    PIPELINE = "PIPELINE"  # another pipeline's COMPLETE
    RETRY = "RETRY"
    SYSTEM = "SYSTEM"  # a workspace was made, a pipeline was saved


ACTIVE = frozenset({JobStatus.QUEUED, JobStatus.RUNNING})
TERMINAL = frozenset({JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED})
TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.STOPPED, JobStatus.ERROR}),
    JobStatus.RUNNING: frozenset({JobStatus.COMPLETE, JobStatus.ERROR, JobStatus.STOPPED}),
    JobStatus.COMPLETE: frozenset(),
    JobStatus.ERROR: frozenset(),
    JobStatus.STOPPED: frozenset(),
}

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
LEASE_SECONDS = 20.0  # a supervisor that cannot reach the database this long ends its processes: before STALE_SECONDS
POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0

EXIT_STOPPED = 143
EXIT_TIMED_OUT = 124


def parse_type(text: str) -> str:
    """A type as a filter writes it: any case, hyphens allowed, aliases resolved."""
    wanted = text.strip().upper().replace("-", "_")
    return TYPE_ALIASES.get(wanted, wanted)
