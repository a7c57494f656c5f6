"""A workspace's folder, and the real mover run in it."""

from __future__ import annotations

import json
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
ROLE = "eltsite_models"
LIMITS = {
    "memory_bytes": 402653184,
    "threads": 2,
    "snapshot_max_bytes": 2147483648,
    "lock_wait_seconds": 2,
    "http_max_bytes": 1000000,
    "allow_private_addresses": False,
}


@dataclass
class Ended:
    """What a mover said and how it ended."""

    exit_code: int
    events: list[dict[str, Any]]
    stderr: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def error(self) -> dict[str, Any]:
        """The one error event."""
        (error,) = self.of("error")
        return error

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Model events by name."""
        return {event["name"]: event for event in self.of("model")}

    @property
    def checks(self) -> dict[str, Any]:
        """Whether each check is fine, by name."""
        return {event["name"]: event.get("ok") for event in self.of("check")}

    @property
    def log(self) -> str:
        """All log lines."""
        return "\n".join(event["text"] for event in self.of("log"))


@dataclass
class Place:
    """A workspace's folder with the specification of a run in it."""

    folder: Path
    spec: dict[str, Any]
    models: dict[str, str] = field(default_factory=dict)

    def run(self, verb: str, **changes: Any) -> Ended:
        """Run a mover as the worker does. `changes` go over the specification."""
        models = [{"path": f"models/{path}", "sql": sql} for path, sql in self.models.items()]
        return run_mover(verb, self.folder, {**self.spec, "models": models, **changes})

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the DuckDB file."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            return connection.execute(sql).fetchall()


def run_mover(verb: str, folder: Path, spec: dict[str, Any], *options: str) -> Ended:
    """`python -m jobs.engine.movers` with the specification on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.engine.movers", verb, "--folder", str(folder), *options],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )
    return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


def make_folder(folder: Path) -> Path:
    """The folders a workspace has."""
    (folder / "files").mkdir(parents=True)
    (folder / "runs" / "1").mkdir(parents=True)
    return folder


def make_spec(loader: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The part all specifications share."""
    return {
        "pipeline": "00000000-0000-4000-8000-000000000001",
        "pipeline_label": "Orders nightly",
        "job": "00000000-0000-4000-8000-000000000002",
        "job_number": 12,
        "attempt": 0,
        "extractor": {"plugin": "tap-files", "name": "Shop files", "settings": {"files": []}},
        "loader": {"plugin": loader, "name": "Warehouse", "settings": settings},
        "schema": "shop",
        "files_folder": "files",
        "run_folder": "runs/1",
        "allowed_folders": [],
        "publish_snapshot": False,
        "limits": dict(LIMITS),
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A workspace whose loader is a DuckDB file."""
    folder = make_folder(tmp_path / "workspace")
    return Place(folder, make_spec("target-duckdb", {"path": "warehouse.duckdb", "load_method": "append"}))


@pytest.fixture
def server(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection to a fresh database with the role that models run as, and its schema shop."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'Räuber-7'")
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            pass  # of another test: roles belong to the server
        connection.execute(f'GRANT CREATE ON DATABASE "{connection.info.dbname}" TO {ROLE}')
        connection.execute(f"CREATE SCHEMA shop AUTHORIZATION {ROLE}")
        yield connection


@pytest.fixture
def postgres_place(tmp_path: Path, postgres_url: str, server: psycopg.Connection[Any]) -> Place:
    """A workspace whose loader is that database."""
    parts = conninfo.conninfo_to_dict(postgres_url)
    settings = {
        "host": parts["host"],
        "port": int(str(parts.get("port") or 5432)),
        "user": ROLE,
        "password": "Räuber-7",
        "database": parts["dbname"],
    }
    return Place(make_folder(tmp_path / "workspace"), make_spec("target-postgres", settings))
