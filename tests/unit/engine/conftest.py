"""Folders and runs of the environments' tests."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.engine.executor import execute_run
from jobs.engine.interface import Environment, EnvironmentStep, RunSpec
from jobs.engine.process import kill_marked
from tests.unit.test_executor import MemoryControl, MemorySink, MemoryStates

RUN_USER = (65534, 65534) if os.geteuid() == 0 else None


def needed(requirements, *, name="tap-tiny", python="", lock="", replaces=""):
    """An environment as a step asks for it."""
    fingerprint = hashlib.sha256(f"{requirements} {python}".encode()).hexdigest()
    return Environment(name, fingerprint, requirements, python=python, lock=lock, replaces=replaces)


@pytest.fixture
def place():
    """A folder that every user may pass and everyone may write to: pytest's own is closed to the installer's user."""
    folder = Path(tempfile.mkdtemp(prefix="eltsite-environments-"))
    folder.chmod(0o777)
    (folder / "links").mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def installer(place):
    """No index, only what the test made."""
    return {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(place / "links")}


@pytest.fixture
def ready(place, installer):
    """Runs a step that needs these environments; says all that came of it."""
    marks = []

    def run(*environments, control=None, seconds=60.0, **more):
        marks.append(f"{uuid.uuid4()}:0")
        sink, control = MemorySink(), control or MemoryControl()
        spec = RunSpec(
            job="job",
            mark=marks[-1],
            steps=[EnvironmentStep("Environment", environments)],
            folder=str(place),
            run_folder=str(place / "run"),
            timeout_seconds=seconds,
            run_as=RUN_USER,
            environments_folder=str(place / "environments"),
            installer={**installer, **more},
        )
        result, stop = execute_run(spec, log=sink, state=MemoryStates(), control=control)
        found = [event for event in control.events if event["event"] == "environment"]
        folders = [str(place / "environments" / event["digest"]) for event in found if "error" not in event]
        return SimpleNamespace(
            result=result,
            stop=stop,
            text=sink.text,
            lines=sink.lines,
            events=found,
            event=found[0] if found else None,
            folder=Path(folders[0]) if folders else None,
            step=control.steps()["Environment"],
        )

    yield run
    kill_marked(*marks)


def leavings(place):
    """What builders left in the environments' folder that is no environment."""
    return sorted(path.name for path in (place / "environments").glob(".[!cu]*"))


def output_of(*argv, **options):
    """What a program prints."""
    return subprocess.run(
        [str(word) for word in argv], check=True, capture_output=True, text=True, **options
    ).stdout.strip()
