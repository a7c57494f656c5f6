"""Which Python an environment is made from: one that the users who build and run it may execute."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.engine.interface import Failure

VERSIONS = ("3.11", "3.12", "3.13")  # tried on PATH, in this order, where the plugin wants none in particular
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
_WANTED = re.compile(r"(?:python)?(3)?(\.\d+)?(?:\.\d+)?")


@dataclass(frozen=True)
class Python:
    """An interpreter on this host."""

    path: str  # absolute, without symlinks
    version: str  # major and minor, such as "3.11"


def may_pass(path: str, users: Sequence[tuple[int, int]], *, want: int = 1) -> bool:
    """Whether each of the users (uid, gid) may reach the path through every folder above it, and use it.

    `want` is what is to be done with it: 1 execute or pass, 4 read. Without users: whether this process may.
    """
    if not users:
        return os.access(path, want)
    try:
        above = [(parent.stat(), 1) for parent in Path(path).parents]
        return all(_allows(facts, user, bits) for facts, bits in [(os.stat(path), want), *above] for user in users)
    except OSError:
        return False


def _allows(facts: os.stat_result, user: tuple[int, int], want: int) -> bool:
    shift = 6 if facts.st_uid == user[0] else 3 if facts.st_gid == user[1] else 0
    return stat.S_IMODE(facts.st_mode) >> shift & want == want


def python_at(path: str, users: Sequence[tuple[int, int]]) -> Python | None:
    """The interpreter at a path; None where there is none that each of the users may execute.

    Its version is read from names, not asked of it: that would take a process each time.
    """
    real = os.path.realpath(path)
    if not os.path.isfile(real) or not may_pass(path, users) or not may_pass(real, users):
        return None
    with open(real, "rb") as file:
        if file.read(2) == b"#!":  # a script that looks for an interpreter, not one
            return None
    prefix = Path(real).parent.parent
    named = re.fullmatch(r"python(3\.\d+)", os.path.basename(real))
    libraries = [Path(prefix, "lib", f"python{named[1]}")] if named else sorted(prefix.glob("lib/python3.*"))
    libraries = [library for library in libraries if (library / "os.py").exists()]
    if any(not may_pass(str(library / "os.py"), users, want=4) for library in libraries):
        return None
    if named:
        return Python(real, named[1])
    return Python(real, libraries[0].name.removeprefix("python")) if len(libraries) == 1 else None


def _on_path(names: Sequence[str]) -> Iterator[str]:
    folders = dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep) + USUAL_PATH.split(":"))
    for name in names:
        yield from (os.path.join(folder, name) for folder in folders if os.path.isabs(folder))


def choose_python(wanted: str, users: Sequence[tuple[int, int]]) -> Python | Failure:
    """The first Python that fits and that each of the users (uid, gid) may execute, or what to install.

    `wanted` is a version ("3.11", "python3.12"), a path, or nothing: then the one eltsite runs on, else one on PATH.
    """
    wanted = wanted.strip()
    if os.path.isabs(wanted):
        return python_at(wanted, users) or Failure(
            f"{wanted} is no Python that runs may use",
            reason="It is not there, is not a Python interpreter, or lies in a folder that is closed to the runs' user.",
            remedy="Give a version such as 3.11 in the plugin's definition, or the path of a Python that everyone may execute.",
        )
    match = _WANTED.fullmatch(wanted)
    if not match or (match[2] and not match[1]):
        return Failure(
            f"{wanted!r} is not a Python version",
            reason="A plugin's definition names its Python as a version or as a path.",
            remedy="Write it as 3.11, python3.11 or /usr/bin/python3.11.",
        )
    minor = f"3{match[2]}" if match[2] else ""
    own = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for candidate in (own, *_on_path([f"python{minor}"] if minor else [f"python{version}" for version in VERSIONS])):
        python = python_at(candidate, users)
        if python and minor in ("", python.version):
            return python
    return _missing(minor, users)


def _missing(minor: str, users: Sequence[tuple[int, int]]) -> Failure:
    name = f"Python {minor}" if minor else f"a Python ({VERSIONS[0]} to {VERSIONS[-1]})"
    package = f"python{minor or VERSIONS[0]}"
    closed = " that the runs' user may execute; one in a closed folder such as /root does not count" if users else ""
    return Failure(
        f"This host has no {name}{closed}" if minor else f"This host lacks {name}{closed}",
        reason="Plugins are installed into environments of their own, and each is made from a Python of the host.",
        remedy=f"Install it for everyone, as with `apt install {package} {package}-venv`, or name another in the plugin's definition.",
    )
