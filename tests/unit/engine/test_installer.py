"""What pip arguments may be, which Python is taken, and what the installer's words mean."""

import os
import sys

import pytest

from jobs.engine.installer import Requirements, fault_of, installer_path, lacks_hashes, parse_requirements
from jobs.engine.interface import Failure
from jobs.engine.pythons import choose_python, may_pass, python_at

ANYBODY = (54321, 54321)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("tap-x==1.0", ["tap-x==1.0"]),
        ("tap-x==1.0 tap-y[a,b]~=2", ["tap-x==1.0", "tap-y[a,b]~=2"]),
        ("tap-x @ git+https://h/x.git@v1 y", ["tap-x @ git+https://h/x.git@v1", "y"]),
        ("tap-x >= 1, < 2 y", ["tap-x >= 1, < 2", "y"]),
        ("'tap-x; python_version < \"3.12\"' y", ['tap-x; python_version < "3.12"', "y"]),
        ("git+https://h/x.git#egg=x", ["git+https://h/x.git#egg=x"]),
        ("a\n b\n", ["a", "b"]),
        ("'a\n--index-url http://x'", ["a --index-url http://x"]),  # no option line of its own
    ],
)
def test_pip_arguments_are_taken_apart(text, lines):
    assert parse_requirements(text) == Requirements(tuple(lines))


def test_constraints_count_for_resolving_only():
    found = parse_requirements("-c https://x/c.txt --no-binary=tap-x tap-x")
    assert found.to_resolve == "--constraint https://x/c.txt\n--no-binary tap-x\ntap-x\n"
    assert found.to_install("tap-x==1\n") == "--no-binary tap-x\ntap-x==1\n"


@pytest.mark.parametrize(
    "text", ["-e .", "--editable=x", "-r x.txt", "--target /x a", "' --index-url http://x'", 'a "', "-c"]
)
def test_other_pip_arguments_are_refused(text):
    assert isinstance(parse_requirements(text), Failure)


def test_a_lock_with_a_repository_in_it_lacks_hashes():
    hashed = (
        "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nb==2 ; python_version < '3.12' \\\n    --hash=sha256:3\n"
    )
    assert lacks_hashes(hashed) is False
    assert lacks_hashes(f"{hashed}c @ git+https://h/c@1\n") is True
    assert lacks_hashes(f"# {hashed}") is False


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("error: failed to write: No space left on device (os error 28)", "the disk is full"),
        ("  cause: invalid peer certificate: NotValidYet", "certificate is refused (NotValidYet)"),
        ("  cause: HTTP status client error (401 Unauthorized) for url (x)", "answered 401"),
        ("  cause: dns error: failed to lookup address information", "cannot be reached"),
        ("  cause: Because a==1 depends on c>2 and b==1 depends on c<2\nerror: No solution found", "contradict"),
        (
            "  cause: Because the current Python version (3.11.2) does not satisfy Python>=3.12 and tap-x depends on Python>=3.12",
            "it needs Python>=3.12",
        ),
        ("error: Git executable not found", "repository could not be read"),
        ("something new", "exit code 2"),
    ],
)
def test_the_installers_words_are_understood(line, words):
    failure = fault_of("tap-x", ["Resolved 3 packages", line], 2)
    assert words in failure.headline
    assert line.strip().splitlines()[-1] in failure.reason
    assert failure.remedy.endswith(".")


def make_python(folder, name="python3.11", content=b"\x7fELF"):
    """What looks like an interpreter, with its library."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "python3.11").mkdir(parents=True)
    (folder / "lib" / "python3.11" / "os.py").touch()
    path = folder / "bin" / name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_a_python_in_a_closed_folder_is_not_taken_for_another_user(place):
    path = make_python(place / "closed")
    assert python_at(str(path), [ANYBODY]).version == "3.11"
    (place / "closed").chmod(0o700)
    assert python_at(str(path), [ANYBODY]) is None
    assert python_at(str(path), [(os.geteuid(), os.getegid())]) is not None
    assert python_at(str(path), []) is not None


def test_a_python_that_is_a_link_into_a_closed_folder_is_not_taken(place):
    link = place / "python3.11"
    link.symlink_to(make_python(place / "closed"))
    assert python_at(str(link), [ANYBODY]) is not None
    (place / "closed").chmod(0o700)
    assert python_at(str(link), [ANYBODY]) is None


def test_a_script_that_looks_for_a_python_is_none(place):
    assert python_at(str(make_python(place / "shims", content=b"#!/bin/sh\n")), []) is None


def test_a_version_is_read_from_the_library_where_the_name_has_none(place):
    assert python_at(str(make_python(place / "some", name="python")), []).version == "3.11"


def test_the_python_eltsite_runs_on_is_the_first_choice():
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert choose_python("", []).path == os.path.realpath(os.path.join(sys.base_prefix, "bin", f"python{own}"))
    for wanted in (own, f"python{own}", f"{own}.1", "3", "python3"):
        assert choose_python(wanted, []).version == own


def test_a_wanted_version_is_looked_for_on_the_path(place, monkeypatch):
    path = make_python(place / "other", name="python3.98")
    monkeypatch.setenv("PATH", str(path.parent))
    (place / "other" / "lib" / "python3.11").rename(place / "other" / "lib" / "python3.98")
    assert choose_python("3.98", [ANYBODY]).path == str(path)
    path.chmod(0o700)
    assert "python3.98" in choose_python("3.98", [ANYBODY]).remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="other users are judged where eltsite is root")
def test_as_root_a_python_is_taken_that_the_runs_user_may_execute():
    python = choose_python("", [ANYBODY])
    assert may_pass(python.path, [ANYBODY])


def test_an_installer_in_a_closed_folder_is_copied_once(place, monkeypatch):
    program = place / "closed" / "uv"
    program.parent.mkdir()
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    monkeypatch.setattr("jobs.engine.installer.uv.find_uv_bin", lambda: str(program))
    assert installer_path(str(place), [ANYBODY]) == str(program)
    program.parent.chmod(0o700)
    copied = installer_path(str(place), [ANYBODY])
    assert os.path.dirname(copied) == str(place)
    assert os.stat(copied).st_mode & 0o777 == 0o755
    before = os.stat(copied).st_ino
    assert installer_path(str(place), [ANYBODY]) == copied
    assert os.stat(copied).st_ino == before
