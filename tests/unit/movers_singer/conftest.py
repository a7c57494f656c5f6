"""A workspace's folder, and the mover's verb singer_load run in it on the lines of a tap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.movers.conftest import ROOT, Ended, Server, Workspace, events_of, place, server, to_duckdb, to_files

__all__ = ["place", "server"]
TAP = {"plugin": "tap-shop", "name": "Shop", "settings": {}}
ORDERS = {"id": {"type": "integer"}, "amount": {"type": ["null", "number"]}, "note": {"type": ["null", "string"]}}


def schema(stream: str = "orders", properties: dict[str, Any] | None = None, keys: Iterable[str] = ("id",)) -> str:
    """A SCHEMA message."""
    shape = {"type": "object", "properties": ORDERS if properties is None else properties}
    return json.dumps({"type": "SCHEMA", "stream": stream, "schema": shape, "key_properties": list(keys)})


def record(stream: str = "orders", /, *, version: int | None = None, **values: Any) -> str:
    """A RECORD message."""
    more = {} if version is None else {"version": version}
    return json.dumps({"type": "RECORD", "stream": stream, "record": values, **more})


def state(**bookmarks: Any) -> str:
    """A STATE message."""
    return json.dumps({"type": "STATE", "value": {"bookmarks": bookmarks}})


@dataclass
class Loader:
    """A running loader: its standard input, and the descriptor the supervisor speaks on."""

    process: subprocess.Popen[bytes]
    supervisor: int

    def close(self, extractor_exit: int | None) -> None:
        """End the tap's output, and say how the tap ended; None: the supervisor says nothing more."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdin = None
        if extractor_exit is not None:
            try:
                os.write(self.supervisor, json.dumps({"extractor_exit": extractor_exit}).encode() + b"\n")
            except BrokenPipeError:
                pass
        os.close(self.supervisor)


def start(place: Workspace, loader: dict[str, Any], **more: Any) -> Loader:
    """Start the mover, and hand it its specification."""
    spec = place.spec(TAP, loader, **more)
    spec.pop("streams")
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "jobs.engine.movers", "singer_load", "--folder", str(place.folder)]
    argv += ["--needs", loader["plugin"], "--spec-fd", str(reading)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TZ": "UTC"}
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        pass_fds=[reading],
    )
    os.close(reading)
    os.write(writing, json.dumps(spec).encode() + b"\n")
    return Loader(process, writing)


def load(
    place: Workspace,
    loader: dict[str, Any],
    lines: Iterable[str | bytes],
    *,
    extractor_exit: int | None = 0,
    **more: Any,
) -> Ended:
    """Run the mover to its end, whatever that is."""
    running = start(place, loader, **more)
    assert running.process.stdin is not None
    try:
        for line in lines:
            running.process.stdin.write((line.encode() if isinstance(line, str) else line) + b"\n")
        running.process.stdin.flush()
    except BrokenPipeError:
        pass
    running.close(extractor_exit)
    stdout, stderr = running.process.communicate(timeout=120)
    return Ended(running.process.returncode, events_of(stdout.decode()), stderr.decode())


def loaded(place: Workspace, loader: dict[str, Any], lines: Iterable[str | bytes], **more: Any) -> Ended:
    """Run a mover that must succeed."""
    ended = load(place, loader, lines, **more)
    assert ended.exit_code == 0, (ended.of("error"), ended.log, ended.stderr)
    assert len(ended.of("result")) == 1
    return ended


@dataclass
class Store:
    """One of the three native loaders, and how its tables are read."""

    kind: str
    place: Workspace
    server: Server | None

    def loader(self, load_method: str = "append", **settings: Any) -> dict[str, Any]:
        if self.kind == "postgres":
            assert self.server is not None
            return self.server.target(load_method, **settings)
        return {"duckdb": to_duckdb, "files": to_files}[self.kind](load_method, **settings)

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[Any]:
        """What a reader of the store sees."""
        if self.kind == "postgres":
            assert self.server is not None
            return self.server.run(f"SELECT {columns} FROM shop.{table} ORDER BY {order}")
        if self.kind == "duckdb":
            return self.place.query(f"SELECT {columns} FROM shop.{table} ORDER BY {order}")
        files = [str(path) for path in data_files(self.place.folder / "exports" / table)]
        if not files:
            return []
        return duckdb.sql(
            f"SELECT {columns} FROM read_parquet({files}, union_by_name = true) ORDER BY {order}"
        ).fetchall()

    def count(self, table: str) -> int:
        if self.kind == "files":
            manifest = json.loads((self.place.folder / "exports" / table / "_eltsite_manifest.json").read_text())
            return sum(file["rows"] for file in manifest["files"])
        return self.rows(table, "count(*)")[0][0]


@pytest.fixture(params=["duckdb", "postgres", "files"])
def store(request: pytest.FixtureRequest, place: Workspace) -> Store:
    """Each of the native loaders in turn."""
    found = request.getfixturevalue("server") if request.param == "postgres" else None
    return Store(request.param, place, found)


def data_files(folder: Path) -> list[Path]:
    """The data files that count."""
    names = json.loads((folder / "_eltsite_manifest.json").read_text())["files"]
    return [folder / file["name"] for file in names]
