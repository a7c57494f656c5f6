"""What can go wrong with a pair, each seeded on purpose: the status, the headline and the remedy that a person sees."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs import folders
from jobs.claims import claim_job
from jobs.logs import read_log
from jobs.models import Job
from jobs.runner import execute_job
from jobs.services import create_job
from jobs.status import JobStatus, StopReason
from pipelines.models import PipelineState
from pipelines.services import save_plugin
from tests.factories import make_component, make_pipeline
from tests.fixtures.plugins import definition, fixture_component

pytestmark = pytest.mark.django_db(transaction=True)

DUCKDB = "target-duckdb"  # our loader, in place of the fixture target
STOPPED_BY_TIME = (JobStatus.STOPPED, StopReason.TIMEOUT)


@dataclass(frozen=True)
class Fault:
    """One seeded failure, and how it is to end."""

    name: str
    says: str  # in the headline
    tap: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    loader: str = "target-fixture"
    plugin: dict[str, Any] = field(default_factory=dict)  # of the tap's definition
    status: str = JobStatus.ERROR
    stop_reason: str = ""
    remedy: str = ""
    log: str = ""
    state: dict[str, Any] | None = None  # before the run
    timeout_seconds: int = 60
    bookmark: int | None = None  # of orders, afterwards; None: not looked at


FAULTS = [
    Fault("wrong password", "password authentication failed", tap={"password": "wrong"}, remedy="password"),
    Fault("missing executable", "tap-absent", plugin={"executable": "tap-absent"}, remedy="executable"),
    Fault(
        "schema violation",
        "Line 12 of the tap's output: column id of stream orders",
        tap={"fault": "wrong_type", "at": 10},
        loader=DUCKDB,
        remedy="source",
    ),
    Fault("tap killed by a signal", "was ended by signal KILL", tap={"fault": "killed", "at": 70}, bookmark=50),
    Fault(
        "target dies in the middle",
        "target-fixture ended with exit code 1: RuntimeError: the table orders is locked",
        target={"fault": "dies", "at": 60},
        bookmark=50,
    ),
    Fault("out of memory", "tap-fixture ran out of memory", tap={"fault": "out_of_memory"}, remedy="memory"),
    Fault("endless line", "longer than 64 MiB", tap={"fault": "endless_line"}),
    Fault(
        "invalid UTF-8",
        "Line 12 of the tap's output is not a Singer message",
        tap={"fault": "invalid_utf8"},
        loader=DUCKDB,
    ),
    Fault("invalid JSON", "target-fixture ended with exit code 1", tap={"fault": "invalid_json"}),
    Fault(
        "invalid JSON into our loader",
        "Line 12 of the tap's output is not a Singer message",
        tap={"fault": "invalid_json"},
        loader=DUCKDB,
    ),
    Fault(
        "a line that is no message",
        "Line 12 of the tap's output is not a Singer message",
        tap={"fault": "print"},
        remedy="standard error",
    ),
    Fault(
        "exit code after success, of the tap",
        "tap-fixture ended with exit code 3: could not close the cursor",
        tap={"fault": "exit_after_success"},
        bookmark=120,
    ),
    Fault(
        "exit code after success, of the target",
        "target-fixture ended with exit code 4: could not remove the lock file",
        target={"fault": "exit_after_success"},
        bookmark=120,
    ),
    Fault(
        "hang",
        "Timed out after 3 s",
        tap={"fault": "hang"},
        status=JobStatus.STOPPED,
        stop_reason=StopReason.TIMEOUT,
        timeout_seconds=3,
    ),
    Fault(
        "grandchild that outlives its parent",
        "Loaded 120 rows",
        tap={"fault": "grandchild"},
        status=JobStatus.COMPLETE,
        log="outlived it and was killed",
        bookmark=120,
    ),
    Fault("full disk", "No space left on device", target={"fault": "full_disk"}, remedy="space"),
    Fault(
        "installer failure", "tap-fixture", plugin={"pipUrl": "eltsite-no-such-package==9.9"}, remedy="pip arguments"
    ),
    Fault(
        "bad state from the target",
        "Loaded 120 rows",
        target={"fault": "bad_state"},
        status=JobStatus.COMPLETE,
        log="wrote no state",
    ),
    Fault(
        "bad state given to the tap",
        "tap-fixture ended with exit code 1: KeyError: 'id'",
        state={"bookmarks": {"orders": {"ID": 7}}},
        remedy="log",
    ),
    Fault("wrong catalog", "tap-fixture did not say what its source holds", tap={"fault": "bad_catalog"}),
    Fault("missing required setting", "'required' is a required property", target={"required": ""}, remedy="setting"),
    Fault("target refuses a type", "column amount: value 10.25 does not fit", target={"fault": "refuses"}),
    Fault(
        "tap ends without a state",
        "Loaded 120 rows",
        tap={"fault": "no_state"},
        status=JobStatus.COMPLETE,
        log="wrote no state",
    ),
    Fault("clock skewed", "certificate is not yet valid", tap={"fault": "clock"}, remedy="clock"),
    Fault(
        "target ends early",
        "target-fixture stopped reading before the extractor was done",
        target={"fault": "ends_early"},
        tap={"streams": {"orders": 100_000}},
    ),
    Fault(
        "target loses a row",
        "1 of 120 rows of stream orders are missing in target-fixture",
        target={"fault": "loses_first"},
    ),
]


@pytest.fixture
def seeded(workspace, requirement):
    """Runs the pipeline of a fault to its end."""

    def run(fault: Fault) -> tuple[Job, str]:
        tap_plugin = save_plugin(
            workspace, definition={**definition("EXTRACTOR", requirement=requirement), **fault.plugin}
        )
        tap = fixture_component(
            workspace, tap_plugin, "Shop", **{"streams": {"orders": 120}, "state_every": 50, "at": 10, **fault.tap}
        )
        if fault.loader == DUCKDB:
            loader = make_component(workspace, DUCKDB, "Warehouse")
        else:
            plugin = save_plugin(workspace, definition=definition("LOADER", requirement=requirement))
            (folders.prepare(workspace) / "files" / "out").mkdir(exist_ok=True)
            os.chmod(folders.of_workspace(workspace) / "files" / "out", 0o2777)
            values = {"folder": "out", "required": "yes", "at": 10, **fault.target}
            loader = fixture_component(
                workspace, plugin, "Files", **{key: value for key, value in values.items() if value != ""}
            )
        pipeline = make_pipeline(workspace, "Pair", components=[tap, loader], timeout_seconds=fault.timeout_seconds)
        if fault.state is not None:
            PipelineState.objects.create(pipeline=pipeline, extractor=tap, loader=loader, state=fault.state)
        create_job(pipeline)
        job = claim_job(worker_id=None)
        assert job is not None
        execute_job(job)
        job.refresh_from_db()
        return job, "\n".join(line.text for _, line in read_log(job, limit=100_000))

    return run


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_seeded_failure_ends_in_the_right_status_with_the_right_headline(fault, seeded):
    job, log = seeded(fault)

    assert (job.status, job.stop_reason) == (fault.status, fault.stop_reason), log
    assert fault.says in job.headline, log
    assert fault.log in log
    if job.status != JobStatus.COMPLETE:
        assert job.error["remedy"]
        assert fault.remedy in job.error["remedy"], job.error
        assert job.exit_code
    if fault.bookmark is not None:
        state = PipelineState.objects.get(pipeline=job.pipeline)
        kept = state.partial or state.state
        assert kept["bookmarks"]["orders"] == {"id": fault.bookmark}
        assert bool(state.partial) == (job.status != JobStatus.COMPLETE)
