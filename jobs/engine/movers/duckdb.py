"""DuckDB files: opening them with patience and fixed settings, and publishing the snapshot that pages read."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from typing import Any

import duckdb

from jobs.engine.movers import paths
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.quoting import ident

COMPATIBLE_WITH = "v1.0.0"  # so that plugins with an older duckdb can open what we create
RETRY_SECONDS = 0.25
SAY_EVERY_SECONDS = 15.0
LOCK_HOLDER = re.compile(r"lock is held in (\S+).*?\(PID (\d+)\)")


def qualified(connection: duckdb.DuckDBPyConnection, *names: str) -> str:
    """A quoted schema, or table of a schema, with the file's own name before it.

    DuckDB names the catalog after the file: without it, a schema of the same name would be ambiguous.
    """
    found = connection.execute("SELECT current_database()").fetchone()
    return ident(str(found[0]) if found else "", *names)


def connect(
    path: str,
    *,
    limits: Mapping[str, Any],
    read_only: bool = False,
    wait_seconds: float | None = None,
    memory_limit: str = "",
    temp_folder: str = "",
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, or ":memory:", waiting for another process to let go of it.

    `limits` is the specification's: memory_bytes, threads, lock_wait_seconds. `temp_folder` is where sorts and joins
    may spill; empty means beside the file. Raises MoverError: store-locked, store-unreadable, disk-full.
    """
    config = settings(limits, memory_limit=memory_limit, temp_folder=temp_folder)
    if read_only:
        config.pop("storage_compatibility_version")
    patience = float(limits.get("lock_wait_seconds", 60)) if wait_seconds is None else wait_seconds
    started = time.monotonic()
    said_at = started - SAY_EVERY_SECONDS
    while True:
        try:
            connection = duckdb.connect(path, read_only=read_only, config=config)
            connection.execute("SET TimeZone = 'UTC'")
            return connection
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                raise explain_open(path, error) from error
            now = time.monotonic()
            if now - started >= patience:
                raise locked(path, error, patience) from error
            if now - said_at >= SAY_EVERY_SECONDS:
                log(f"{paths.shown(path)} is locked by {holder(error)}; waiting up to {patience:g} s", level="warning")
                said_at = now
            time.sleep(RETRY_SECONDS)


def rounded(table: str, column: str, kind: str) -> str:
    """The statement for a value of a column that a double does not hold."""
    c = ident(column)
    again = f"TRY_CAST(CAST(CAST({c} AS DOUBLE) AS VARCHAR) AS {kind})"
    return f"SELECT CAST({c} AS VARCHAR) FROM {table} WHERE {again} IS DISTINCT FROM {c} LIMIT 1"


def show_progress(connection: duckdb.DuckDBPyConnection) -> None:
    """Let `fraction` know how far a statement is. Nothing is printed."""
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")


def fraction(connection: duckdb.DuckDBPyConnection) -> float:
    """How much of the running statement is done, from 0 to 1. May be asked from another thread."""
    return min(max(connection.query_progress(), 0.0), 100.0) / 100


def settings(limits: Mapping[str, Any], *, memory_limit: str = "", temp_folder: str = "") -> dict[str, Any]:
    """The settings of every DuckDB we open: nothing fetched, memory and threads bounded."""
    config: dict[str, Any] = {
        "storage_compatibility_version": COMPATIBLE_WITH,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": memory_limit or f"{int(limits.get('memory_bytes', 402653184)) // 1024}KiB",
        "threads": str(int(limits.get("threads", 2))),
    }
    if temp_folder:
        config["temp_directory"] = temp_folder
    return config


def holder(error: Exception) -> str:
    """Who holds the lock, in words."""
    found = LOCK_HOLDER.search(str(error))
    return f"process {found.group(2)} ({os.path.basename(found.group(1))})" if found else "another process"


def locked(path: str, error: Exception, patience: float) -> MoverError:
    return MoverError(
        f"{paths.shown(path)} is locked by another process",
        reason=f"{holder(error)} has the DuckDB file open, and did not let go of it within {patience:g} s.",
        remedy="Close the program that holds it (a DuckDB file has one writer and then no reader), then run again.",
        code="store-locked",
        file=paths.shown(path),
    )


def explain_open(path: str, error: Exception) -> MoverError:
    """Why a DuckDB file could not be opened."""
    text = str(error)
    if "No space left" in text:
        return disk_full(path)
    if "not a valid DuckDB database" in text:
        reason = "It exists, but is not a DuckDB database."
        remedy = "Name another file in the loader's setting path, or move this one away."
    elif "Permission denied" in text:
        reason = "The user that jobs run as may not open it."
        remedy = "Give that user the right to read and write the file and its folder."
    elif "No such file" in text:
        reason = "The file or its folder does not exist."
        remedy = "Check the loader's setting path."
    else:
        reason, remedy = text.splitlines()[0], "See the log, then run again."
    return MoverError(
        f"Cannot open the warehouse {paths.shown(path)}",
        reason=reason,
        remedy=remedy,
        code="store-unreadable",
        file=paths.shown(path),
    )


def disk_full(path: str) -> MoverError:
    folder = os.path.dirname(os.path.abspath(path))
    return MoverError(
        "The disk is full",
        reason=f"No space is left where {paths.shown(path)} lies ({_free_text(folder)}). Nothing was committed.",
        remedy="Free some space on that disk, then run again.",
        code="disk-full",
        file=paths.shown(path),
    )


def _free_text(folder: str) -> str:
    try:
        return f"{shutil.disk_usage(folder).free // 1048576} MiB free"
    except OSError:
        return "free space unknown"


def publish_snapshot(path: str, *, max_bytes: int) -> bool:
    """Copy a closed DuckDB file to `<path>.snapshot` and rename it into place, so that readers never see half a file.

    Says in the log why not, where there is none to publish; the load is committed all the same. Answers whether it did.
    """
    size = os.path.getsize(path)
    if size > max_bytes:
        log(
            f"No snapshot of {paths.shown(path)} for pages:"
            f" {size // 1048576} MiB is over the limit of {max_bytes // 1048576} MiB",
            level="warning",
        )
        return False
    part = f"{path}.snapshot.part"
    try:
        shutil.copyfile(path, part)
        os.replace(part, f"{path}.snapshot")
    except OSError as error:
        if os.path.exists(part):
            os.unlink(part)
        log(f"No new snapshot of {paths.shown(path)} for pages: {error.strerror or error}", level="warning")
        return False
    return True
