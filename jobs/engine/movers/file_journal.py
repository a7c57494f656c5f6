"""How several manifests come into force at once: a journal is renamed into place, and then carried out.

Writing the journal is the commit. Whoever opens the folder next carries out one that was left behind; each of its
steps may be done twice. It goes last, when new data files have their names and old
ones are gone: the next run may not touch these streams. States that belong to no stream's folder are kept beside it, in _eltsite_loads.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.engine.movers import paths
from jobs.engine.movers.ports import Load
from jobs.engine.movers.protocol import MoverError

MANIFEST = "_eltsite_manifest.json"
JOURNAL = "_eltsite_journal.json"
LOADS = "_eltsite_loads.json"


def hidden_name(name: str) -> str:
    """What a data file is called before it counts."""
    return f".{name}.part"


def loaded(load: Load, *, rows: int) -> dict[str, Any]:
    """What is remembered of a load."""
    return {
        **{"stream": load.stream, "job": load.job, "attempt": load.attempt, "epoch": load.epoch},
        **{"sequence": load.sequence, "rows": rows, "state": load.state},
        "loaded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_json(path: str, value: Any) -> None:
    """Write a file so that it is on the disk."""
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)
        out.flush()
        os.fsync(out.fileno())


def _show(folder: str, name: str) -> None:
    """Rename a hidden file into place, for good."""
    os.replace(os.path.join(folder, hidden_name(name)), os.path.join(folder, name))
    _sync(folder)


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def tidy(folder: str) -> None:
    """Give the data files that a stream's manifest names their names, and remove what it does not name."""
    if not os.path.isdir(folder):
        return
    named = {str(file["name"]) for file in read(os.path.join(folder, MANIFEST)).get("files", ())}
    hidden = {hidden_name(name): name for name in named}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name in hidden:
            os.replace(path, os.path.join(folder, hidden[name]))
        elif name == hidden_name(MANIFEST) or (name.lstrip(".").startswith("part-") and name not in named):
            os.unlink(path)


def read(path: str) -> dict[str, Any]:
    """A file of ours; empty where there is none. Raises MoverError: store-unreadable."""
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
            return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MoverError(
            f"{paths.shown(path)} cannot be read",
            reason=f"{error}.",
            remedy="Restore it, or move the loader's folder away to load it from the start.",
            code="store-unreadable",
            file=paths.shown(path),
        ) from error


def loads(folder: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The states that belong to no stream's folder: per pipeline and name."""
    return read(os.path.join(folder, LOADS))


def write(folder: str, *, tables: Sequence[str], pipeline: str, loads: Mapping[str, Any]) -> None:
    """Commit: the hidden manifests of `tables` count from here on, and the states in `loads` with them."""
    for table in tables:  # a journal must not reach the disk before what it names
        _sync(os.path.join(folder, table))
    journal = {"tables": list(tables), "pipeline": pipeline, "loads": loads}
    write_json(os.path.join(folder, hidden_name(JOURNAL)), journal)
    _show(folder, JOURNAL)


def complete(folder: str) -> None:
    """Carry out the journal, where there is one."""
    path = os.path.join(folder, JOURNAL)
    journal = read(path)
    if not journal:
        return
    for table in (os.path.join(folder, name) for name in journal["tables"]):
        if os.path.exists(os.path.join(table, hidden_name(MANIFEST))):
            os.replace(os.path.join(table, hidden_name(MANIFEST)), os.path.join(table, MANIFEST))
        tidy(table)
        _sync(table)
    if journal["loads"]:
        known = loads(folder)
        known[journal["pipeline"]] = {**known.get(journal["pipeline"], {}), **journal["loads"]}
        write_json(os.path.join(folder, hidden_name(LOADS)), known)
        _show(folder, LOADS)
    os.unlink(path)
    _sync(folder)
