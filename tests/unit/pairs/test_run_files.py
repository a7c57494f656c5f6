"""The files of a run: who may read them, who cannot change them under our hands, and whether a program can reach them."""

import json
import os
import stat
import uuid
from pathlib import Path

import pytest

from jobs.engine.interface import Connector, Outcome, RunSpec
from jobs.engine.process import ProcessGroup
from jobs.engine.steps.context import CannotStart, RunContext
from jobs.engine.steps.programs import environment_of, private_file, require_passable
from tests.unit.ports import MemoryControl, MemorySink, MemoryStates

RUNS = (65_533, 65_532)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as somebody else")


@pytest.fixture
def context(tmp_path):
    """A run whose programs work as another user, where we are root."""
    spec = RunSpec("job", "m", [], str(tmp_path), str(tmp_path), 1, run_as=RUNS if os.geteuid() == 0 else None)
    sink = MemorySink()
    processes = ProcessGroup(mark=f"{uuid.uuid4()}:0", environment={}, folder=str(tmp_path))
    yield RunContext(spec, processes, lambda *_: sink, MemoryStates(), MemoryControl())
    processes.close()


def connector(**more):
    return Connector("Shop", "tap-x", "tap-x", "f" * 64, {"password": "hunter22"}, **more)


def test_a_config_file_is_the_run_users_alone(context):
    path = private_file(context, "config.json", {"password": "hunter22"})
    facts = os.stat(path)

    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert (facts.st_uid, facts.st_gid) == (context.spec.run_as or (os.getuid(), os.getgid()))
    assert json.loads(Path(path).read_text()) == {"password": "hunter22"}


@pytest.mark.parametrize("kind", ["link", "pipe", "file"])
def test_what_a_program_put_in_its_place_is_neither_followed_nor_waited_for(context, tmp_path, kind):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "state.json"
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.link(victim, path)
    private_file(context, "state.json", {"a": 1})

    assert victim.read_text() == "precious"
    assert json.loads(path.read_text()) == {"a": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_said(context):
    with pytest.raises(CannotStart) as caught:
        private_file(context, "no/such/folder.json", {})

    assert "No such file or directory" in caught.value.failure.reason


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o744])
def test_a_folder_on_the_way_that_is_closed_is_named_with_what_to_do(context, tmp_path, mode):
    closed = tmp_path / "closed"
    (closed / "runs").mkdir(parents=True)
    closed.chmod(mode)
    for parent in tmp_path.parents:
        if parent != parent.parent and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    with pytest.raises(CannotStart) as caught:
        require_passable(context, connector(), [str(closed / "runs")])

    assert caught.value.failure.headline.startswith(f"tap-x cannot be started: the folder {closed} is closed")
    assert f"chmod o+x {closed}" in caught.value.failure.remedy
    closed.chmod(0o711)
    require_passable(context, connector(), [str(closed / "runs")])


def test_a_setting_never_reaches_the_linker_that_starts_the_launcher(context):
    variables = {"LD_PRELOAD": "/tmp/x.so", "glibc_tunables": "x", "TAP_X_KEY": "k", "PATH": "/tmp"}
    found = environment_of(context, connector(variables=variables), "/environment")

    assert found["TAP_X_KEY"] == "k"
    assert found["PATH"].startswith("/environment/bin:")
    assert not [name for name in found if name.upper().startswith(("LD_", "GLIBC"))]


def test_files_named_in_settings_begin_in_the_workspaces_files(pairs):
    (pairs.files / "out").mkdir()
    result = pairs.run(pairs.tap(), pairs.target(folder="out"))

    assert result.outcome == Outcome.COMPLETE
    assert (pairs.files / "out" / "orders.jsonl").exists()
    assert pairs.control.streams()["orders"]["verified"] is True
