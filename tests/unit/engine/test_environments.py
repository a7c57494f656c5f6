"""Environments of plugins: built once, whole or not there, used without starting anything."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from jobs.engine.interface import Failure, Outcome, StopRequest
from jobs.engine.venvs import (
    BUILD_ID,
    executable_of,
    forget_resolution,
    remove_environment,
    remove_leavings,
    try_lock,
    unused,
)
from tests.fixtures.packages import make_program
from tests.unit.engine.conftest import RUN_USER, leavings, needed, output_of
from tests.unit.engine.wheels import make_source, source_files
from tests.unit.test_executor import MemoryControl

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the installer has a user of its own only where eltsite is root")


def run_as_options():
    return {"user": RUN_USER[0], "group": RUN_USER[1], "extra_groups": []} if RUN_USER else {}


def test_an_environment_is_built_and_its_program_runs(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    done = ready(needed("tap-tiny"))

    assert done.result.outcome == Outcome.COMPLETE
    assert done.event["packages"] == {"tap-tiny": "1.0"}
    assert done.event["built"] is True
    assert done.event["lock"].startswith("tap-tiny==1.0 \\\n    --hash=sha256:")
    assert done.event["size_bytes"] > 100
    assert output_of(executable_of(done.folder, "tap-tiny"), cwd="/", **run_as_options()) == "tap-tiny 1.0"
    facts = json.loads((done.folder / "eltsite.json").read_text())
    assert facts["requirements"] == "tap-tiny"
    assert facts["packages"] == {"tap-tiny": "1.0"}
    assert leavings(place) == []


def test_an_upgrade_takes_newer_versions_though_the_old_ones_were_resolved_a_moment_ago(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    old = ready(needed("tap-tiny")).event["lock"]
    make_program(place / "links", "tap-tiny", "2.0")

    assert ready(needed("tap-tiny")).event["packages"] == {"tap-tiny": "1.0"}  # as the others who need it now
    assert ready(needed("tap-tiny", replaces=old)).event["packages"] == {"tap-tiny": "2.0"}


def test_the_second_use_starts_no_process(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    first = ready(needed("tap-tiny"))
    shutil.rmtree(place / "links")
    second = ready(needed("tap-tiny", lock=first.event["lock"]))

    assert second.result.outcome == Outcome.COMPLETE
    assert second.event["built"] is False
    assert second.event["packages"] == {"tap-tiny": "1.0"}
    assert second.folder == first.folder
    assert second.step["exit_code"] is None  # no process
    assert second.event["seconds"] < 0.1
    assert "lock" not in second.event  # whoever gave it has it
    assert second.text == ""


def test_a_given_lock_is_what_is_installed(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    lock = ready(needed("tap-tiny")).event["lock"]
    make_program(place / "links", "tap-tiny", "2.0")
    remove_environment(place / "environments", ready(needed("tap-tiny", lock=lock)).event["digest"])
    again = ready(needed("tap-tiny", lock=lock))

    assert again.event["built"] is True
    assert again.event["packages"] == {"tap-tiny": "1.0"}


def test_an_upgrade_resolves_anew_and_the_old_environment_stays(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    old = ready(needed("tap-tiny"))
    make_program(place / "links", "tap-tiny", "2.0")
    assert ready(needed("tap-tiny")).event["packages"] == {"tap-tiny": "1.0"}  # resolved a moment ago
    forget_resolution(place / "environments", needed("tap-tiny").fingerprint)
    new = ready(needed("tap-tiny"))

    assert new.event["packages"] == {"tap-tiny": "2.0"}
    assert ready(needed("tap-tiny", lock=old.event["lock"])).event["built"] is False


def test_environments_of_one_step_are_built_side_by_side(place, ready):
    for name in ("tap-tiny", "target-tiny"):
        make_program(place / "links", name, "1.0")
    done = ready(needed("tap-tiny"), needed("target-tiny", name="target-tiny"), needed("tap-tiny"))

    assert sorted(event["name"] for event in done.events) == ["tap-tiny", "target-tiny"]
    assert all(event["built"] for event in done.events)


def test_the_same_packages_asked_for_in_other_words_share_an_environment(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    done = ready(needed("tap-tiny"), needed("tap-tiny==1.0"))

    assert len({event["digest"] for event in done.events}) == 1
    assert sorted(event["built"] for event in done.events) == [False, True]


def test_a_package_can_be_given_by_its_path(place, ready):
    wheel = make_program(place, "tap-tiny", "1.0")
    for requirements in (str(wheel), f"tap-tiny @ file://{wheel}"):
        assert ready(needed(requirements)).event["packages"] == {"tap-tiny": "1.0"}


def test_a_repository_is_installed_without_hashes_and_that_is_said(place, ready):
    repository = place / "repository"
    repository.mkdir()
    for name, text in source_files("tap-tiny", "1.0", "pass").items():
        (repository / name).write_text(text)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", repository]
    output_of("git", "init", "-q", repository)
    output_of(*git, "add", ".")
    output_of(*git, "commit", "-q", "-m", "first")
    commit = output_of(*git, "rev-parse", "HEAD")
    if os.geteuid() == 0:  # git refuses to read other people's repositories
        for path in (repository, *repository.rglob("*")):
            os.chown(path, BUILD_ID, BUILD_ID)
    done = ready(needed(f"tap-tiny @ git+file://{repository}"))

    assert done.result.outcome == Outcome.COMPLETE, done.text
    assert commit in done.event["lock"]
    assert "they have no hashes" in done.text


@pytest.mark.parametrize(
    ("requirements", "python", "words"),
    [
        ("tap-tiny==9", "", "there is no version of tap-tiny==9"),
        ("tap-tiny>=9", "", "there is no such version of tap-tiny"),
        ("tap-nowhere", "", "there is no package tap-nowhere"),
        ("tap-broken", "", "the build of tap-broken==1.0 failed"),
        ("tap-elsewhere", "", "tap-elsewhere==1.0 has no build for this host and this Python"),
        ("/nowhere/tap_tiny-1.0-py3-none-any.whl", "", "a file is not there"),
        ("/nowhere/tap.whl", "", "its pip arguments cannot be read"),
        ("-e /somewhere", "", "the plugin's pip arguments cannot be used: -e"),
        ("./tap", "", "the plugin's pip arguments cannot be used: ./tap"),
        ("--index-url http://127.0.0.1:1 tap-tiny", "", "the plugin's pip arguments cannot be used: --index-url"),
        ("", "", "they are empty"),
        ("tap-tiny ;;", "", "its pip arguments cannot be read"),
        ("tap-tiny", "3.99", "this host has no Python 3.99"),
        ("tap-tiny", "ruby", "'ruby' is not a Python version"),
        ("tap-tiny", "/nowhere/python", "/nowhere/python is no Python that runs may use"),
    ],
)
def test_a_build_that_fails_names_plugin_reason_and_remedy(place, ready, requirements, python, words):
    make_program(place / "links", "tap-tiny", "1.0")
    make_program(place / "links", "tap-elsewhere", "1.0", tag="cp311-cp311-win_amd64")
    make_source(place / "links", "tap-broken", "1.0", "raise RuntimeError('no compiler')")
    done = ready(needed(requirements, python=python))

    failure = done.result.failure
    assert done.result.outcome == Outcome.ERROR
    assert "tap-tiny" in failure.headline
    assert words in failure.headline
    assert failure.remedy
    assert done.event["error"] == failure.headline
    assert failure.headline in done.text
    assert done.step["exit_code"]  # the installer's, or 1 where it was not started
    assert leavings(place) == [] and done.folder is None


def test_the_installers_last_lines_are_the_reason(place, ready):
    make_source(place / "links", "tap-broken", "1.0", "raise RuntimeError('no compiler')")
    failure = ready(needed("tap-broken")).result.failure
    assert "RuntimeError: no compiler" in failure.reason


def test_a_package_that_is_not_what_was_recorded_is_refused(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    lock = f"tap-tiny==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    failure = ready(needed("tap-tiny", lock=lock)).result.failure
    assert "tap-tiny==1.0 is not what was recorded: its hash differs" in failure.headline


def test_without_network_the_index_is_named(place, ready):
    more = {"UV_NO_INDEX": "", "UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0"}
    failure = ready(needed("tap-nowhere"), **more).result.failure
    assert "the package index cannot be reached" in failure.headline


def test_one_failure_does_not_end_the_other_build(place, ready):
    make_program(place / "links", "target-tiny", "1.0")
    done = ready(needed("tap-nowhere"), needed("target-tiny", name="target-tiny"))

    assert "tap-nowhere" in done.result.failure.headline
    assert any(event.get("built") for event in done.events)


@pytest.mark.parametrize("damage", ["no interpreter", "other version", "unfinished", "no script", "no packages"])
def test_a_broken_environment_is_built_anew(place, ready, damage):
    make_program(place / "links", "tap-tiny", "1.0")
    first = ready(needed("tap-tiny"))
    if damage == "no interpreter":
        (first.folder / "bin" / "python").unlink()
        (first.folder / "bin" / "python").symlink_to("/nowhere/python3.11")
    elif damage == "other version":
        settings = first.folder / "pyvenv.cfg"
        settings.write_text(settings.read_text().replace("version_info = 3.", "version_info = 3.1"))
    elif damage == "unfinished":
        (first.folder / "eltsite.json").unlink()
    elif damage == "no script":
        (first.folder / "bin" / "tap-tiny").unlink()
    else:
        shutil.rmtree(first.folder / "lib")
    again = ready(needed("tap-tiny", lock=first.event["lock"]))

    assert again.event["built"] is True
    assert output_of(again.folder / "bin" / "tap-tiny") == "tap-tiny 1.0"
    assert leavings(place) == []


def test_what_was_not_given_does_not_reach_the_installer(place, ready, monkeypatch):
    make_program(place / "links", "tap-tiny", "1.0")
    monkeypatch.setenv("UV_FIND_LINKS", "/nowhere")
    monkeypatch.setenv("UV_PYTHON", "3.99")
    (place / "uv.toml").write_text('this is = "no option"')
    assert ready(needed("tap-tiny")).result.outcome == Outcome.COMPLETE


@as_root
def test_nothing_in_an_environment_can_be_changed_by_the_installers_or_the_runs_user(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    outside = place / "outside"
    outside.write_text("not to be touched")
    os.chown(outside, 4321, 4321)
    body = f"import os; os.umask(0); os.symlink({str(outside)!r}, os.path.join(folder, 'link'))"
    make_source(place / "links", "tap-odd", "1.0", body)
    done = ready(needed("tap-tiny tap-odd"))

    entries = [done.folder, *done.folder.rglob("*")]
    assert len(entries) > 20
    for path in entries:
        facts = path.lstat()
        assert (facts.st_uid, facts.st_gid) == (0, 0), path
        if not stat.S_ISLNK(facts.st_mode):
            assert stat.S_IMODE(facts.st_mode) in (0o755, 0o644), path
    assert outside.stat().st_uid == 4321
    look = "import os, sys; print([path for path in sys.argv[1:] if os.access(path, os.W_OK)])"
    for user in (BUILD_ID, RUN_USER[0]):
        paths = [path for path in entries if not path.is_symlink()]
        assert (
            output_of("/usr/bin/python3", "-c", look, *paths, user=user, group=user, extra_groups=[], cwd="/") == "[]"
        )


@as_root
def test_the_installer_is_neither_root_nor_the_runs_user(place, ready):
    body = f"import os; open({str(place / 'who')!r}, 'w').write(f'{{os.getuid()}} {{os.getgid()}} {{os.getgroups()}} {{dict(os.environ)}}')"
    make_source(place / "links", "tap-tiny", "1.0", body)
    done = ready(needed("tap-tiny"))

    assert done.result.outcome == Outcome.COMPLETE, done.text
    who = (place / "who").read_text()
    assert who.startswith(f"{BUILD_ID} {BUILD_ID} [] ")
    assert "UV_NO_INDEX" in who and "DJANGO" not in who and "/root" not in who


def test_a_stopped_build_leaves_nothing_and_frees_its_lock(place, ready):
    make_source(place / "links", "tap-tiny", "1.0", "import time; time.sleep(600)")
    done = ready(needed("tap-tiny"), control=MemoryControl(StopRequest.USER, after=2))

    assert done.result.outcome == Outcome.STOPPED
    assert leavings(place) == []
    for path in (place / "environments").glob("*.lock"):
        assert (lock := try_lock(place / "environments", path.stem)) and lock.release() is None


def test_scripts_that_are_there_are_listed_when_one_is_missing(place, ready):
    make_program(place / "links", "tap-tiny", "1.0", scripts=["tap-tiny", "tap-tiny-admin"])
    folder = ready(needed("tap-tiny")).folder

    assert executable_of(folder, "tap-tiny-admin") == str(folder / "bin" / "tap-tiny-admin")
    for name in ("tap-little", "", "../bin/tap-tiny", "python/../tap-tiny"):
        failure = executable_of(str(folder), name)
        assert isinstance(failure, Failure)
        assert failure.reason.endswith("these console scripts: tap-tiny, tap-tiny-admin.")


def test_environments_that_nobody_uses_are_found_and_removed(place, ready):
    for name in ("tap-tiny", "tap-small"):
        make_program(place / "links", name, "1.0")
    folder = place / "environments"
    first, second = (ready(needed(name)) for name in ("tap-tiny", "tap-small"))
    for done in (first, second):
        os.utime(done.folder / "eltsite.json", (1, 1))

    assert unused(folder, [first.event["digest"]], older_than_seconds=3600) == [second.event["digest"]]
    ready(needed("tap-small", lock=second.event["lock"]))  # used now
    assert unused(folder, [first.event["digest"]], older_than_seconds=3600) == []
    assert remove_environment(folder, second.event["digest"]) is True
    assert remove_environment(folder, second.event["digest"]) is False
    assert not second.folder.exists() and first.folder.exists()
    assert unused(place / "nowhere", [], older_than_seconds=0) == []


def test_an_environment_that_is_being_built_is_not_removed(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    done = ready(needed("tap-tiny"))
    lock = try_lock(place / "environments", done.event["digest"])

    assert remove_environment(place / "environments", done.event["digest"]) is False
    lock.release()
    assert remove_environment(place / "environments", done.event["digest"]) is True


def test_a_lock_is_held_by_one_and_no_child_inherits_it(tmp_path):
    lock = try_lock(tmp_path, "a")
    assert try_lock(tmp_path, "a") is None
    assert os.get_inheritable(lock.file.fileno()) is False
    lock.path.unlink()  # whoever locks the new file must not be misled by the old one
    other = try_lock(tmp_path, "a")
    assert other is not None
    lock.release()
    assert try_lock(tmp_path, "a") is None
    other.release()


def test_what_dead_builders_left_is_removed_and_what_works_is_not(tmp_path):
    dead, alive = "a" * 64, "b" * 64
    for name in (dead, alive):
        Path(tmp_path, f".building-{name}-1").mkdir()
    lock = try_lock(tmp_path, alive)
    remove_leavings(tmp_path)
    lock.release()

    assert [path.name for path in tmp_path.glob(".building-*")] == [f".building-{alive}-1"]


def test_a_ready_environment_costs_less_than_five_milliseconds(place, ready):
    make_program(place / "links", "tap-tiny", "1.0")
    lock = ready(needed("tap-tiny")).event["lock"]

    assert min(ready(needed("tap-tiny", lock=lock)).event["seconds"] for _ in range(5)) < 0.005
