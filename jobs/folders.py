"""A workspace's folder on this host: where its runs work. Copies, all but the local stores and data dropped there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import stat
from pathlib import Path

from django.conf import settings

from eltsite.errors import Conflict
from jobs.engine.process import run_quietly
from pipelines.models import WorkspaceFile
from workspaces.models import Workspace

FIRST_GROUP = 200_000  # group ids of workspaces' folders, away from those a system gives to people
SYNCED = ".synced.json"  # which files were written here from the database, with their digests


class NoRunAs(Conflict):
    """The user that runs work as does not exist."""


def of_workspace(workspace: Workspace) -> Path:
    """The folder of a workspace; it need not exist yet."""
    return Path(settings.ELTSITE_HOME) / "workspaces" / str(workspace.pk)


def ensure_run_as_user() -> None:
    """Where eltsite runs as root: make the user that runs work as, unless it is there."""
    name = settings.ELTSITE_RUN_AS
    if os.geteuid() != 0 or not name or name.isdigit():
        return
    with contextlib.suppress(KeyError):
        pwd.getpwnam(name)
        return
    code, text = run_quietly(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name])
    if code:
        raise NoRunAs(
            f"Runs must not work as root, but the user {name} does not exist and could not be made: {text}. "
            "Make it, or set ELTSITE_RUN_AS to an existing user."
        )


def run_as(workspace: Workspace) -> tuple[int, int] | None:
    """User and group id for a workspace's processes; None where they run as the user eltsite itself runs as."""
    user_id = run_user()
    return None if user_id is None else (user_id, FIRST_GROUP + workspace.number)


def run_user() -> int | None:
    """The user id of all runs; None where they run as the user eltsite itself runs as."""
    name = settings.ELTSITE_RUN_AS
    if os.geteuid() != 0 or not name:
        return None
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise NoRunAs(f"The user {name} (ELTSITE_RUN_AS) does not exist. `manage.py up` makes it.") from error


def prepare(workspace: Workspace) -> Path:
    """The workspace's folder with its parts, closed to everyone but its own runs."""
    folder = of_workspace(workspace)
    owner = run_as(workspace)
    for path in (folder, folder / "files", folder / "runs"):
        path.mkdir(parents=True, exist_ok=True)
        _close(path, owner)
    # The way to it must be passable, though nothing in it is to be listed.
    for parent in (folder.parent, Path(settings.ELTSITE_HOME)):
        with contextlib.suppress(PermissionError):
            mode = stat.S_IMODE(parent.stat().st_mode)
            parent.chmod((mode & ~0o066) | 0o711 if owner else mode & ~0o077)
    return folder


def _close(path: Path, owner: tuple[int, int] | None) -> None:
    if owner is None:
        path.chmod(0o700)
        return
    # The group, one per workspace, opens the folder to the workspace's runs; the user alone would open all.
    os.chown(path, 0, owner[1])
    path.chmod(0o2770)


def make_run_folder(workspace: Workspace, job_id: object) -> Path:
    """A run's own folder for scratch files; the executor removes it."""
    folder = of_workspace(workspace) / "runs" / str(job_id)
    folder.mkdir(exist_ok=True)
    _close(folder, run_as(workspace))
    return folder


def sync_files(workspace: Workspace) -> int:
    """Write the workspace's files where they are missing or old, remove those deleted since; returns changes.

    Only files that came from the database are touched: data dropped into the folder stays.
    """
    root = of_workspace(workspace) / "files"
    owner = run_as(workspace)
    record = root.parent / SYNCED
    known: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    wanted = dict(WorkspaceFile.objects.filter(workspace=workspace).values_list("path", "digest"))
    changed = 0
    for path, digest in wanted.items():
        target = root / path
        if _digest(target) == digest:
            continue
        content = bytes(WorkspaceFile.objects.values_list("content", flat=True).get(workspace=workspace, path=path))
        _write(root, target, content, owner)
        changed += 1
    for path in known.keys() - wanted.keys():
        (root / path).unlink(missing_ok=True)
        changed += 1
    if wanted != known:
        record.write_text(json.dumps(wanted))
    return changed


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _write(root: Path, target: Path, content: bytes, owner: tuple[int, int] | None) -> None:
    for folder in reversed([parent for parent in target.parents if parent.is_relative_to(root)]):
        if not folder.exists():
            folder.mkdir()
            _close(folder, owner)
    # A symlink put there by a run must not lead our write elsewhere: write beside it, then rename over it.
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    draft.write_bytes(content)
    if owner:
        os.chown(draft, 0, owner[1])
        draft.chmod(0o640)
    draft.replace(target)


def remove(workspace: Workspace) -> None:
    """Remove the folder with everything in it."""
    shutil.rmtree(of_workspace(workspace), ignore_errors=True)
