"""Pairs of fixture connectors and our own ends, run by the engine with its ports in memory."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from jobs.engine.executor import execute_run
from jobs.engine.interface import Connector, DiscoverStep, Environment, EnvironmentStep, ExtractLoadStep, RunSpec
from jobs.engine.process import marked_processes
from tests.fixtures.packages import make_connectors
from tests.unit.ports import MemoryControl, MemorySink, MemoryStates

FINGERPRINT = "f" * 64
LIMITS = {"memory_bytes": 256 << 20, "threads": 2, "lock_wait_seconds": 5, "snapshot_max_bytes": 1 << 30}


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The folder of environments, with the wheels that are to be found beside it."""
    folder = tmp_path_factory.mktemp("environments")
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o055)
    requirement = make_connectors(folder / "wheels")
    return folder, requirement


class Pairs:
    """Runs pairs in one workspace folder, again and again."""

    def __init__(self, folder, environments, requirement):
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        self._environments = environments
        self._environment = Environment("fixtures", FINGERPRINT, requirement)
        self.state: dict = {}
        self.sequence = 0
        self.control = MemoryControl()
        self.sink = MemorySink()
        self.states = MemoryStates()

    def tap(self, *, select=(), **config):
        config = {"streams": {"orders": 120}, **config}
        return Connector(
            "Shop",
            "tap-fixture",
            "tap-fixture",
            FINGERPRINT,
            config,
            capabilities=frozenset({"discover", "catalog", "state"}),
            select=select,
        )

    def target(self, *, store=True, **config):
        config = {"folder": str(self.files), "required": "yes", **config}
        where = {"kind": "jsonl", "path": "{folder}/{stream}.jsonl"} if store else {}
        return Connector("Files", "target-fixture", "target-fixture", FINGERPRINT, config, store=where)

    def run(self, tap, target, *, loader=None, extractor=None, seconds=60.0, full_refresh=False, control=None):
        """One run that goes on from the state of the last; its result."""
        scratch = self.folder / "runs" / uuid.uuid4().hex
        scratch.mkdir(parents=True)
        mover = {
            **{"pipeline": "p1", "pipeline_label": "Pair", "job": "j1", "job_number": 1, "attempt": 0},
            **{"extractor": extractor or {"plugin": "tap-fixture", "name": "Shop", "settings": {}}, "loader": loader},
            **{"schema": "shop", "files_folder": "files", "run_folder": str(scratch.relative_to(self.folder))},
            **{"allowed_folders": [], "publish_snapshot": False, "limits": LIMITS},
        }
        steps = [EnvironmentStep("Prepare environments", [self._environment])]
        if tap is not None:
            steps.append(DiscoverStep("Discover streams", tap, "c1", "key"))
        steps.append(
            ExtractLoadStep("Extract and load", tap, target, mover, self.state, 0, self.sequence, None, full_refresh)
        )
        mark = f"{uuid.uuid4()}:0"
        spec = RunSpec(
            job="j1",
            mark=mark,
            steps=steps,
            folder=str(self.folder),
            run_folder=str(scratch),
            timeout_seconds=seconds,
            environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.getcwd(), "LANG": "C.UTF-8", "TZ": "UTC"},
            environments_folder=str(self._environments),
            installer={"UV_FIND_LINKS": str(self._environments / "wheels"), "UV_NO_INDEX": "1"},
        )
        self.control, self.sink, self.states = control or MemoryControl(), MemorySink(), MemoryStates()
        result, self.stop = execute_run(spec, log=self.sink, state=self.states, control=self.control)
        assert mark not in marked_processes(), "a process outlived the run"
        assert not scratch.exists(), "the run's folder was left"
        if self.states.saved:
            self.state, _, self.sequence = self.states.saved[-1]
        return result

    def rows(self, stream="orders"):
        """What the fixture target has written."""
        path = self.files / f"{stream}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def pairs(tmp_path, installed):
    """A workspace folder in which pairs run."""
    return Pairs(tmp_path, *installed)
