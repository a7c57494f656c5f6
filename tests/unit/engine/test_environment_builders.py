"""Several processes that need one environment, and builders that die."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from jobs.engine.interface import Outcome
from jobs.engine.process import kill_marked, marked_processes
from tests.fixtures.packages import make_program
from tests.unit.engine.conftest import leavings, needed, output_of
from tests.unit.engine.wheels import make_source
from tests.unit.test_executor import MemoryControl

ROOT = Path(__file__).resolve().parents[3]


def until(condition, *, seconds=30.0):
    """Wait for what another process does; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return value


@pytest.fixture
def start(place, installer):
    """Starts a process of its own that runs a step which needs this environment."""
    started = []

    def _start(environment):
        mark = f"{uuid.uuid4()}:0"
        given = {
            "folder": str(place),
            "mark": mark,
            "environments": str(place / "environments"),
            "environment": asdict(environment),
            "installer": installer,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.engine.run_environment", json.dumps(given)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append((process, mark))
        return process, mark

    yield _start
    for process, mark in started:
        process.kill()
        process.communicate()
        kill_marked(mark)


def slow_source(place, name="tap-tiny"):
    """A package whose build says that it began, and goes on when it may; the two files that say so."""
    began, may = place / "began", place / "may"
    body = f"""
import os, time
open({str(began)!r}, "a").write("x")
while not os.path.exists({str(may)!r}):
    time.sleep(0.01)"""
    make_source(place / "links", name, "1.0", body)
    return began, may


def test_ten_processes_that_need_the_same_new_environment_make_one_build(place, start):
    began, may = slow_source(place)
    processes = [start(needed("tap-tiny"))[0] for _ in range(10)]
    until(began.exists)
    may.touch()
    told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    events = [event for one in told for event in one["events"] if event["event"] == "environment"]
    lines = [text for one in told for _, _, text in one["lines"]]
    assert [one["outcome"] for one in told] == ["complete"] * 10
    assert sorted(event["built"] for event in events) == [False] * 9 + [True]
    assert len({event["digest"] for event in events}) == 1
    assert began.read_text() == "x"  # one build
    assert sum(text.startswith("Resolving the packages") for text in lines) == 1
    assert all(
        sum(text.startswith("Another job builds") for _, _, text in one["lines"]) <= 1 for one in told
    )  # said once
    assert leavings(place) == []


def test_an_environment_whose_builder_was_killed_is_built_by_the_next_one(place, start, ready):
    began, may = slow_source(place)
    builder, mark = start(needed("tap-tiny"))
    until(began.exists)
    waiting, _ = start(needed("tap-tiny"))
    installers = [process for process in marked_processes()[mark] if process.name() == "uv"]
    assert len(leavings(place)) == 1
    os.kill(builder.pid, signal.SIGKILL)

    psutil.wait_procs(installers, timeout=10)
    assert not any(process.is_running() for process in installers)  # it does not outlive its supervisor
    until(lambda: began.read_text() == "xx")  # the one that waited builds
    may.touch()
    told = json.loads(waiting.communicate(timeout=60)[0])
    done = ready(needed("tap-tiny", lock=told["events"][1]["lock"]))

    assert told["outcome"] == "complete"
    assert done.event["built"] is False
    assert output_of(done.folder / "bin" / "tap-tiny") == "tap-tiny 1.0"
    assert leavings(place) == []


def test_half_an_environment_is_never_used(place, start, ready):
    make_program(place / "links", "tap-small", "1.0")
    began, may = slow_source(place)
    builder, mark = start(needed("tap-small tap-tiny"))
    until(began.exists)
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait()
    kill_marked(mark)
    environments = [path for path in (place / "environments").iterdir() if len(path.name) == 64]
    assert environments == []  # nothing stands in its place yet
    may.touch()

    assert ready(needed("tap-small tap-tiny")).event["packages"] == {"tap-small": "1.0", "tap-tiny": "1.0"}


class Kills(MemoryControl):
    """A control port that kills the run's installer once the build has begun."""

    def __init__(self, began):
        super().__init__()
        self._began = began

    def poll(self):
        if self._began.exists():
            for process in psutil.Process().children(recursive=True):
                if process.name() == "uv":
                    process.kill()
        return super().poll()


def test_an_installer_ended_by_a_signal_is_an_error_that_says_so(place, ready):
    began, _ = slow_source(place)
    done = ready(needed("tap-tiny"), control=Kills(began))

    assert (done.result.outcome, done.result.exit_code) == (Outcome.ERROR, 137)
    assert "the installer was ended by signal 9" in done.result.failure.headline
    assert "memory" in done.result.failure.headline
    assert leavings(place) == []
