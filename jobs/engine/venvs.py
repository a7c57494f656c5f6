"""Plugin environments: where they are, what is in them, whether they are whole, and how they go.

In the environments' folder: `<digest>` for each that is whole, `<name>.lock` that a builder holds (flock: it frees itself
when the holder dies), `<fingerprint>-<python>.txt` for what was resolved a moment ago, `.building-<name>-*` for work
under the lock of that name, `.broken-<name>-*` for what gave way, `.cache` for the installer. Where eltsite runs as root
the installer works as a user of its own and what it made is given to root afterwards, so that no run and no later
build can change it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jobs.engine.interface import Failure
from jobs.engine.pythons import Python

BUILD_ID = 199_999  # user and group id of the installer, where eltsite runs as root
FACTS = "eltsite.json"  # written last: an environment without it is not whole
RESOLVED_SECONDS = 900.0  # how long a resolution is good for others who need the same
_NAME = re.compile(r"[0-9a-f]{64}")
_LEFT = re.compile(r"\.(?:building|broken)-([0-9a-f]{64})-")
_TOOLS = re.compile(r"(python|pip|activate|deactivate|pydoc|wheel|uv)[\w.]*")  # what is in bin but is no plugin's


def digest_of(lock: str, python: Python) -> str:
    """What an environment is called: of its pinned packages and of the interpreter it is made from."""
    return hashlib.sha256(f"{python.version}\n{python.path}\n{lock.strip()}\n".encode()).hexdigest()


def build_user() -> tuple[int, int] | None:
    """Whom the installer works as; None where eltsite is not root, then it is ourselves."""
    return (BUILD_ID, BUILD_ID) if os.geteuid() == 0 else None


@dataclass
class Lock:
    """An flock that is held. The descriptor is not inherited by children, and closes with the last reference."""

    path: Path
    file: IO[bytes] = field(repr=False)

    def release(self) -> None:
        """Let the next one have it."""
        self.file.close()


def try_lock(folder: str | Path, name: str) -> Lock | None:
    """The lock of a name in the environments' folder, or None while another holds it. Never waits."""
    path = Path(folder, f"{name}.lock")
    file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "rb")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever removed the file held it: what is locked here then is not what others will lock.
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return Lock(path, file)
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def prepare_folder(folder: str | Path) -> Path:
    """The environments' folder with the installer's cache in it; the cache's path."""
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    cache = base / ".cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    if user := build_user():
        base.chmod(0o755)
        os.chown(cache, *user, follow_symlinks=False)
    return cache


def work_folder(folder: str | Path, name: str, files: Mapping[str, str]) -> Path:
    """A new folder for work under the lock of this name, with these files in it; it is the builder's."""
    work = Path(folder, f".building-{name}-{uuid.uuid4().hex}")
    work.mkdir(mode=0o700)
    for file, text in files.items():
        (work / file).write_text(text)
    if user := build_user():
        for path in (*work.iterdir(), work):
            os.chown(path, *user)
    return work


def sweep(folder: str | Path, name: str) -> None:
    """Remove what dead builders left. Call it with the lock of this name held: then nobody else works on it."""
    for kind in ("building", "broken"):
        for path in Path(folder).glob(f".{kind}-{name}-*"):
            shutil.rmtree(path, ignore_errors=True)


def _resolved(folder: str | Path, fingerprint: str, python: Python) -> Path:
    return Path(folder, f"{fingerprint}-py{python.version}.txt")


def remember_resolution(folder: str | Path, fingerprint: str, python: Python, lock: str) -> None:
    """Keep what was resolved, for others who need the same now."""
    path = _resolved(folder, fingerprint, python)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    part.write_text(lock)
    part.rename(path)


def resolution_of(folder: str | Path, fingerprint: str, python: Python) -> str:
    """What was resolved in the last quarter of an hour; "" where nothing was."""
    path = _resolved(folder, fingerprint, python)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < RESOLVED_SECONDS:
            return path.read_text()
    return ""


def forget_resolution(folder: str | Path, fingerprint: str) -> None:
    """Have the next run resolve anew, as an upgrade wants it."""
    for path in Path(folder).glob(f"{fingerprint}-py*.txt"):
        path.unlink(missing_ok=True)


def packages_in(folder: str | Path) -> dict[str, str]:
    """Name to version of all that is installed, without starting its Python."""
    found = {}
    for path in Path(folder).glob("lib/python3*/site-packages/*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return dict(sorted(found.items()))


def scripts_in(folder: str | Path) -> list[str]:
    """The console scripts of an environment's packages."""
    with contextlib.suppress(FileNotFoundError):
        names = sorted(entry.name for entry in os.scandir(Path(folder, "bin")) if entry.is_file())
        return [name for name in names if not _TOOLS.fullmatch(name)]
    return []


def executable_of(folder: str | Path, name: str) -> str | Failure:
    """The path of a console script, or a failure that lists those that are there."""
    path = Path(folder, "bin", name)
    if name and os.path.basename(name) == name and path.is_file() and os.access(path, os.X_OK):
        return str(path)
    scripts = ", ".join(scripts_in(folder)) or "none"
    return Failure(
        f"{name or 'The executable'} is not in the plugin's environment",
        reason=f"The installed packages have these console scripts: {scripts}.",
        remedy="Give the right one as `executable` in the plugin's definition, or correct its pip arguments.",
        details={"code": "no-executable"},
    )


def seal(folder: Path) -> int:
    """Give what the installer made to root, readable and not writable for others; its size in bytes.

    Folder by folder through descriptors, each taken over before its contents: no symlink leads out of the tree. Without
    root the files are ours already.
    """
    size = 0
    is_root = build_user() is not None
    for _, folders, files, handle in os.fwalk(folder, follow_symlinks=False):
        if is_root:
            os.fchown(handle, 0, 0)
            os.fchmod(handle, 0o755)
        for name in (*folders, *files):
            facts = os.stat(name, dir_fd=handle, follow_symlinks=False)
            size += 0 if stat.S_ISDIR(facts.st_mode) else facts.st_size
            if not is_root or stat.S_ISDIR(facts.st_mode):
                continue
            if not stat.S_ISREG(facts.st_mode) and not stat.S_ISLNK(facts.st_mode):
                os.unlink(name, dir_fd=handle)
                continue
            os.chown(name, 0, 0, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode):
                os.chmod(name, 0o755 if facts.st_mode & 0o111 else 0o644, dir_fd=handle)
    return size


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say that the environment is whole, and what is in it."""
    with open(folder / FACTS, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def put_in_place(built: Path, place: Path) -> None:
    """Move what was built to its place. What is there is broken: it is moved aside first and removed after."""
    broken = place.with_name(f".broken-{place.name}-{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        place.rename(broken)
    built.rename(place)
    shutil.rmtree(broken, ignore_errors=True)


def whole(folder: str | Path, digest: str, python: Python) -> dict[str, Any] | None:
    """The facts of an environment that can be used as it is; None where it must be built.

    It is broken when its interpreter is gone or another version, when a script is missing, or when it was never finished.
    """
    place = Path(folder, digest)
    try:
        facts = json.loads((place / FACTS).read_text())
        settings = dict(
            line.split(" = ", 1) for line in (place / "pyvenv.cfg").read_text().splitlines() if " = " in line
        )
        is_python = os.path.realpath(place / "bin" / "python") == python.path
        is_version = settings["version_info"].split(".")[:2] == python.version.split(".")
        has_library = (place / "lib" / f"python{python.version}" / "site-packages").is_dir()
        has_scripts = all((place / "bin" / name).is_file() for name in facts["scripts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if is_python and is_version and has_library and has_scripts else None


def mark_used(folder: str | Path, digest: str) -> None:
    """Note that an environment is in use: the time of its facts is that of its last use."""
    with contextlib.suppress(OSError):
        os.utime(Path(folder, digest, FACTS))


def unused(folder: str | Path, keep: Collection[str], *, older_than_seconds: float) -> list[str]:
    """Digests of environments that are not among `keep` and that no run used for so long."""
    found = []
    before = time.time() - older_than_seconds
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if _NAME.fullmatch(entry.name) and entry.name not in keep and entry.is_dir(follow_symlinks=False):
                facts = Path(entry.path, FACTS)
                used = facts.stat().st_mtime if facts.exists() else entry.stat(follow_symlinks=False).st_mtime
                if used < before:
                    found.append(entry.name)
    return sorted(found)


def remove_environment(folder: str | Path, digest: str) -> bool:
    """Remove an environment, under its lock; False where another builds it just now, or it is not there."""
    place = Path(folder, digest)
    if not _NAME.fullmatch(digest) or not place.exists() or (lock := try_lock(folder, digest)) is None:
        return False
    try:
        broken = place.with_name(f".broken-{digest}-{uuid.uuid4().hex}")
        place.rename(broken)  # in one step: nobody sees half of it
        sweep(folder, digest)
        lock.path.unlink(missing_ok=True)
    finally:
        lock.release()
    return True


def remove_leavings(folder: str | Path) -> None:
    """Remove what builders left that were ended, of environments that nobody builds now."""
    names = {match[1] for path in Path(folder).glob(".*") if (match := _LEFT.match(path.name))}
    for name in names:
        if lock := try_lock(folder, name):
            sweep(folder, name)
            lock.release()
