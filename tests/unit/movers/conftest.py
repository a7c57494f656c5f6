"""A workspace's folder, and the real mover run in it as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from psycopg import conninfo

ROOT = Path(__file__).parents[3]
LIMITS = {
    "memory_bytes": 256 << 20,
    "threads": 2,
    "snapshot_max_bytes": 2 << 30,
    "lock_wait_seconds": 1,
    "http_max_bytes": 1 << 20,
    "allow_private_addresses": True,
}


@dataclass
class Ended:
    """What a mover said and how it ended."""

    exit_code: int
    events: list[dict[str, Any]]
    stderr: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def error(self) -> dict[str, Any]:
        """The one error event."""
        assert self.exit_code == 1, (self.exit_code, self.log, self.stderr)
        (error,) = self.of("error")
        return error

    @property
    def log(self) -> str:
        return "\n".join(event["text"] for event in self.of("log"))

    @property
    def state(self) -> dict[str, Any]:
        """The last state, as the next specification takes it."""
        last = self.of("state")[-1]
        return {key: last[key] for key in ("state", "epoch", "sequence")}

    def stream(self, name: str) -> dict[str, Any]:
        """A stream's final event."""
        (done,) = [event for event in self.of("stream") if event["stream"] == name and event["done"]]
        return done


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"event"')]


@dataclass
class Workspace:
    """A workspace's folder and what its pipelines need."""

    folder: Path
    limits: dict[str, Any] = field(default_factory=lambda: dict(LIMITS))
    allowed: list[str] = field(default_factory=list)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file among the workspace's files."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def spec(self, extractor: dict[str, Any], loader: dict[str, Any], **more: Any) -> dict[str, Any]:
        run_folder = self.folder / "runs" / "1"
        run_folder.mkdir(parents=True, exist_ok=True)
        return {
            **{"pipeline": "11111111-1111-4111-8111-111111111111", "pipeline_label": "Orders nightly"},
            **{"job": "22222222-2222-4222-8222-222222222222", "job_number": 7, "attempt": 0},
            **{"extractor": extractor, "loader": loader, "schema": "shop", "files_folder": "files"},
            **{"run_folder": "runs/1", "allowed_folders": self.allowed, "publish_snapshot": False},
            **{"limits": self.limits, "state": {}, "epoch": 0, "sequence": 0, "full_refresh": False, "streams": None},
            **more,
        }

    def start(self, spec: dict[str, Any], *, stdout: Any = subprocess.PIPE, run_as: str = "") -> subprocess.Popen[str]:
        """Start a mover and hand it its specification."""
        ends = [spec["extractor"], spec["loader"]]
        needs = [":".join(filter(None, (end["plugin"], end["settings"].get("dialect")))) for end in ends]
        argv = [sys.executable, "-m", "jobs.engine.movers", "move", "--folder", str(self.folder)]
        argv += ["--needs", ",".join(needs), *(["--run-as", run_as] if run_as else [])]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TZ": "UTC"}
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process: subprocess.Popen[str]) -> Ended:
        stdout, stderr = process.communicate(timeout=120)
        return Ended(process.returncode, events_of(stdout or ""), stderr)

    def move(self, extractor: dict[str, Any], loader: dict[str, Any], *, run_as: str = "", **more: Any) -> Ended:
        """Run a mover to its end, whatever that is."""
        return self.end(self.start(self.spec(extractor, loader, **more), run_as=run_as))

    def load(self, extractor: dict[str, Any], loader: dict[str, Any], **more: Any) -> Ended:
        """Run a mover that must succeed."""
        ended = self.move(extractor, loader, **more)
        assert ended.exit_code == 0, (ended.of("error"), ended.log, ended.stderr)
        assert len(ended.of("result")) == 1
        return ended

    def query(self, sql: str, path: str = "warehouse.duckdb") -> list[Any]:
        """Ask the warehouse."""
        with duckdb.connect(str(self.folder / path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def types(self, table: str) -> dict[str, str]:
        """The columns of a table and their types."""
        return {row[0]: row[1] for row in self.query(f"DESCRIBE shop.{table}")}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    (tmp_path / "files").mkdir()
    return Workspace(tmp_path)


def tap_files(*streams: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"plugin": "tap-files", "name": "Shop files", "settings": {"files": list(streams), **settings}}


def to_duckdb(load_method: str = "append", **settings: Any) -> dict[str, Any]:
    return {
        "plugin": "target-duckdb",
        "name": "Warehouse",
        "settings": {"path": "warehouse.duckdb", "load_method": load_method, **settings},
    }


def to_files(load_method: str = "append", **settings: Any) -> dict[str, Any]:
    return {"plugin": "target-files", "name": "Exports", "settings": {"load_method": load_method, **settings}}


@dataclass
class Server:
    """A fresh PostgreSQL database, as settings and as a connection."""

    url: str
    connection: psycopg.Connection[Any]

    @property
    def settings(self) -> dict[str, Any]:
        parts = conninfo.conninfo_to_dict(self.url)
        return {
            "host": parts["host"],
            "port": int(parts.get("port") or 5432),
            "user": parts["user"],
            "password": str(parts.get("password") or ""),
            "database": parts["dbname"],
            "sslmode": "prefer",
        }

    def tap(self, *tables: dict[str, Any], **more: Any) -> dict[str, Any]:
        settings = {"dialect": "postgresql", **self.settings, "tables": list(tables), **more}
        return {"plugin": "tap-sql", "name": "Shop database", "settings": settings}

    def target(self, load_method: str = "append", **more: Any) -> dict[str, Any]:
        settings = {**self.settings, "load_method": load_method, **more}
        return {"plugin": "target-postgres", "name": "Warehouse", "settings": settings}

    def run(self, sql: str) -> list[Any]:
        cursor = self.connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def server(postgres_url: str) -> Iterator[Server]:
    """A fresh database on the run's PostgreSQL server."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield Server(postgres_url, connection)
