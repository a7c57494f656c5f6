"""The verb count: how many rows the tables of a connector's target hold, before a run and after it.

It lives as long as the run: started beside it, its own start costs no time. After `ready` it answers each message:
  {"count": "before", "streams": [...]}                   counted {when: before, tables: {stream: {rows, exists}}}
  {"count": "after", "streams": [...], "keys": {stream: {"columns": [...], "samples": [[...], ...]}}}
                                                          counted {when: after, tables: {stream: {..., missing}}}
What cannot be counted has `rows` null and says `why`; it never fails a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jobs.engine.movers.count_tables import Table
from jobs.engine.movers.protocol import MoverError, emit, hear

# Imported where it is needed: a database's library takes longer to import than a file to count.
STORES = {
    "duckdb": ("jobs.engine.movers.count_duckdb", "DuckDBStore"),
    "postgresql": ("jobs.engine.movers.count_postgres", "PostgresStore"),
    "jsonl": ("jobs.engine.movers.count_files", "FileStore"),
    "csv": ("jobs.engine.movers.count_files", "FileStore"),
}


class Store(Protocol):
    """A target's store."""

    def count(self, streams: Sequence[str], keys: Mapping[str, Any], *, is_after: bool) -> dict[str, Table]:
        """The rows of each stream's table and, where keys are given, which of them are not there.

        Raises MoverError where nothing can be counted.
        """


def prepare(needs: Sequence[str]) -> None:
    """Import what `store:<kind>` needs, while the interpreter's folder can be read."""
    for need in needs:
        found = STORES.get(need.removeprefix("store:")) if need.startswith("store:") else None
        if found:
            importlib.import_module(found[0])


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Answer until there is nothing more to hear."""
    store, why = _open(spec)
    emit("counted", when="ready", tables={})
    answers = 0
    while (message := hear()) is not None:
        streams = [str(stream) for stream in message.get("streams") or ()]
        tables = _count(store, why, streams, message.get("keys") or {}, is_after=message.get("count") == "after")
        emit("counted", when=message.get("count"), tables={stream: table.event() for stream, table in tables.items()})
        answers += 1
    return {"answers": answers}


def _open(spec: Mapping[str, Any]) -> tuple[Store | None, str]:
    """The store, or why there is none."""
    kind = str((spec.get("store") or {}).get("kind") or "")
    found = STORES.get(kind)
    if found is None:
        return None, f"stores of the kind {kind or '(none)'} are not counted"
    try:
        store: Store = getattr(importlib.import_module(found[0]), found[1])(spec)
    except MoverError as error:
        return None, _sentence(error)
    return store, ""


def _count(
    store: Store | None, why: str, streams: Sequence[str], keys: Mapping[str, Any], *, is_after: bool
) -> dict[str, Table]:
    if store is None:
        return {stream: Table(why=why) for stream in streams}
    try:
        return store.count(streams, keys, is_after=is_after)
    except MoverError as error:
        reason = _sentence(error)
    except OSError as error:
        reason = f"{error.strerror or error}"
    return {stream: Table(why=reason) for stream in streams}


def _sentence(error: MoverError) -> str:
    return f"{error}. {error.event['reason']}".strip().rstrip(".")
