"""Files and folders as checks see them: what a path of a setting finds, and whether it could be written."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.engine.movers import paths
from jobs.engine.movers.checklist import Doubtful
from jobs.engine.movers.protocol import MoverError

WILDCARDS = "*?["


@dataclass(frozen=True)
class Found:
    """A file that a setting's path leads to."""

    path: str
    bytes: int


def is_web(path: str) -> bool:
    """Whether it is an address and not a file."""
    return path.startswith(("http://", "https://"))


def is_pattern(path: str) -> bool:
    """Whether it may stand for several files."""
    return any(letter in path for letter in WILDCARDS)


def find_files(path: str, spec: Mapping[str, Any]) -> list[Found]:
    """The files of an extractor's path or pattern. Raises MoverError for one that lies outside the allowed folders."""
    allowed = spec.get("allowed_folders", ())
    place = paths.resolve(path, allowed=allowed, base=spec["files_folder"])
    is_one = os.path.isfile(place) or not is_pattern(path)  # a name may hold a wildcard's letter
    matches = [place] if is_one else sorted(glob.glob(place, recursive=True))
    # Each match is resolved again: a link inside the folder may lead out of it.
    files = [paths.resolve(match, allowed=allowed) for match in matches]
    return [Found(file, os.path.getsize(file)) for file in files if os.path.isfile(file)]


def describe(files: Sequence[Found]) -> str:
    """How many files of what size."""
    size = sum(file.bytes for file in files)
    return f"{plural(len(files), 'file')}, {size_text(size)}"


def plural(count: int, word: str) -> str:
    """A count with its word."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def size_text(size: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def require_readable(files: Sequence[Found], *, stream: str) -> None:
    """Raise MoverError for the first file that this user may not read."""
    for file in files:
        if not os.access(file.path, os.R_OK):
            raise MoverError(
                f"{paths.shown(file.path)} cannot be read",
                reason="The user that jobs run as may not read it.",
                remedy="Give that user the right to read the file.",
                code="file-unreadable",
                stream=stream,
                file=paths.shown(file.path),
            )


def require_found(files: Sequence[Found], path: str, *, stream: str) -> None:
    """Raise Doubtful where there is nothing yet: files may come before the first run does."""
    if not files:
        what = "No file matches the pattern" if is_pattern(path) else "There is no file"
        raise Doubtful(f"{what} {path} (stream {stream}). Put it there before the first run, or correct the path.")


def require_writable(folder: str, *, what: str) -> None:
    """Raise MoverError unless the folder can be written or, where it is missing, made."""
    place = folder
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK):
        return
    is_file = not os.path.isdir(place)
    raise MoverError(
        f"{what} {paths.shown(folder)} cannot be written",
        reason=f"{paths.shown(place)} is a file, not a folder."
        if is_file
        else f"The user that jobs run as may not write into {paths.shown(place)}.",
        remedy="Name another path in the loader's settings."
        if is_file
        else "Give that user the right to write there, or name another path in the loader's settings.",
        code="path-not-writable",
        file=paths.shown(folder),
    )
