"""Where a mover may read and write: its workspace's folder, and the folders an administrator allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.engine.movers.protocol import MoverError

_folder = Path(".")
_reach = Path(".")


def enter(folder: str) -> None:
    """Remember the workspace's folder; it is the working directory already.

    After giving up root the way to it may be closed (a checkout under /root, say) though the folder itself is
    open; then files are reached through a descriptor of the folder, which needs no way and stays right when the
    working directory changes.
    """
    global _folder, _reach
    _folder = Path(folder)
    if os.access(folder, os.R_OK | os.X_OK):
        _reach = _folder
    else:
        _reach = Path(f"/proc/self/fd/{os.open('.', os.O_PATH | os.O_DIRECTORY)}")


def resolve(text: str, *, allowed: Sequence[str], base: str = "", what: str = "path") -> str:
    """The path to open for what a person wrote.

    It is relative to `base` in the workspace's folder, or absolute in an allowed one. Symlinks and `..` are
    resolved first. Raises MoverError (code path-outside) where it leads elsewhere.
    """
    inside = os.path.realpath(_reach)
    target = os.path.realpath(os.path.join(_reach, base, text)) if not os.path.isabs(text) else os.path.realpath(text)
    for root, prefix in [
        (inside, _reach),
        *((os.path.realpath(folder), Path(os.path.realpath(folder))) for folder in allowed),
    ]:
        if target == root or target.startswith(root.rstrip("/") + "/"):
            return str(prefix / os.path.relpath(target, root)) if target != root else str(prefix)
    if os.path.isabs(text) and (text == str(_folder) or text.startswith(str(_folder) + "/")):
        return resolve(os.path.relpath(text, _folder), allowed=allowed, what=what)
    raise MoverError(
        f"{what} {text} is outside the allowed folders",
        reason=f"It leads to {target}, which is neither in the workspace's folder nor in an allowed one.",
        remedy="Use a path inside the workspace, or have an administrator add its folder to ELTSITE_ALLOWED_FOLDERS.",
        code="path-outside",
        file=text,
    )


def shown(path: str) -> str:
    """A path as people should read it: relative to the workspace's folder where it lies inside."""
    for root in (str(_reach), str(_folder)):
        if path.startswith(root + "/"):
            return path[len(root) + 1 :]
    return path
