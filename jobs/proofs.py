"""Proves that the shipped connectors install and start, and how far each works without an account of its service."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from jobs import folders
from jobs.engine.interface import Connector, DiscoverStep, Environment, EnvironmentStep, Failure, RunSpec
from jobs.engine.process import ProcessGroup
from jobs.engine.singer import check_catalog
from jobs.engine.steps.context import CannotStart, RunContext, StepRunner
from jobs.engine.steps.discover import DiscoverRunner
from jobs.engine.steps.environment import EnvironmentRunner
from jobs.engine.steps.programs import Program, start_connector
from pipelines.connector_config import config_of
from pipelines.environments import shipped_locks
from pipelines.plugins import NATIVE, Plugin, shipped_plugins
from pipelines.typed import with_defaults

BUILD_SECONDS = 600.0
TRY_SECONDS = 120.0
ROWS = 3  # of the sample
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}}
WEB = {"name": "orders", "path": "/orders", "primary_keys": ["id"], "schema": SCHEMA}
START = "2026-01-01T00:00:00Z"

# Settings under which a connector can be tried where it stands. Paths begin in a folder with orders.csv and orders.jsonl.
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "tap-csv-folder--meltanolabs": {"path": ".", "read_mode": "merge", "stream_name": "orders"},
    "tap-jsonl--celine-eu": {"path": "orders.jsonl", "stream_name": "orders"},
    "tap-spreadsheets--celine-eu": {"files": [{"path": "*.csv", "format": "csv", "table_name": "orders"}]},
    "tap-rest-api-msdk--widen": {"api_url": "http://127.0.0.1:9", "streams": [WEB]},
    "tap-github--meltanolabs": {"repositories": ["owner/name"]},
    "tap-dbt--meltanolabs": {"api_key": "none", "account_ids": ["1"]},
    "tap-openmeteo--celine-eu": {"locations": [{"name": "Berlin", "latitude": 52.5, "longitude": 13.4}]},
    "tap-slack--singer-io": {"token": "none", "start_date": START},
    "target-jsonl--andyh1203": {},
    "target-csv--meltanolabs": {},
    "target-duckdb--jwills": {},
    "target-singer-jsonl--kgpayne": {},
}
# Those that need a PostgreSQL server, with their name for the database.
POSTGRES = {
    "tap-postgres--meltanolabs": "database",
    "tap-postgres--transferwise": "dbname",
    "target-postgres--meltanolabs": "database",
    "target-postgres--transferwise": "dbname",
}


@dataclass
class Proof:
    """What was seen of one connector."""

    plugin: Plugin
    packages: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    seconds: float = 0.0  # of the installation; 0 where the environment was there already
    is_started: bool = False
    tried: str = ""  # how far it came beyond its help, in words; empty: it needs an account, or a server
    failure: Failure | None = None

    @property
    def version(self) -> str:
        """The connector's own, as its definition pins it."""
        return self.plugin.pip_url.split()[0].partition("==")[2]


class Workbench:
    """A folder with sample data, and a run's context without a job: the engine's steps work in it as in any run."""

    def __init__(self, folder: Path) -> None:
        user = folders.run_user()
        run_as = None if user is None else (user, user)
        for path in (folder / "files", folder / "run"):
            path.mkdir()
            if run_as:
                os.chown(path, *run_as)
        write_sample(folder / "files")
        spec = RunSpec(
            job=str(uuid.uuid4()),
            mark=f"proof-{uuid.uuid4()}:1",
            steps=(),
            folder=str(folder),
            run_folder=str(folder / "run"),
            timeout_seconds=BUILD_SECONDS,
            environment={"HOME": str(folder / "run"), "TMPDIR": str(folder / "run"), "LANG": "C.UTF-8"},
            run_as=run_as,
            environments_folder=str(settings.ELTSITE_ENVIRONMENTS),
        )
        self.lines: list[str] = []
        self.events: list[Mapping[str, Any]] = []
        self.processes = ProcessGroup(mark=spec.mark, environment=spec.environment, folder=spec.folder)
        self.context = RunContext(spec, self.processes, self._write, _NoState(), self)

    def _write(self, source: str, level: str, text: str) -> None:
        self.lines.append(f"{source} {level} {text}")

    def poll(self) -> None:
        """Nobody stops a proof but the one who started it."""

    def progress(self, event: Mapping[str, Any]) -> None:
        """What the steps found out."""
        self.events.append(event)

    def found(self, kind: str) -> Mapping[str, Any]:
        """The last event of a kind."""
        return next((event for event in reversed(self.events) if event.get("event") == kind), {})

    def run(self, runner: StepRunner, *, seconds: float) -> Failure | None:
        """A step of the engine, to its end."""
        runner.start()
        self._pump(runner.tick, seconds=seconds)
        try:
            return runner.judge()
        finally:
            runner.close()

    def say(self, connector: Connector, arguments: Sequence[str], *, stdin: bytes | None = None) -> tuple[int, str]:
        """Start a connector and read all it prints: exit code and text. Raises CannotStart."""
        printed: list[str] = []
        program: Program = start_connector(
            self.context, connector, arguments, stdin=stdin, on_stdout=lambda line: printed.append(line)
        )
        self._pump(lambda: self.processes.is_done([program.child]), seconds=TRY_SECONDS)
        return program.exit_code or 0, "\n".join(printed)

    def _pump(self, is_over: Callable[[], bool], *, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not is_over():
            if not self.processes.pump_once(seconds=0.1):
                time.sleep(0.02)
            if time.monotonic() > until:
                raise TimeoutError(f"It took longer than {seconds:.0f} s.")


class _NoState:
    """A proof keeps no state."""

    def save(self, *, state: Mapping[str, Any], epoch: int, sequence: int, is_partial: bool = False) -> None:
        """Nothing."""


@contextmanager
def workbench() -> Iterator[Workbench]:
    """A workbench; its folder and whatever still runs are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="elt-proof-"))
    folder.chmod(0o711)
    bench = Workbench(folder)
    try:
        yield bench
    finally:
        bench.processes.close()
        shutil.rmtree(folder, ignore_errors=True)


def write_sample(folder: Path) -> None:
    """orders.csv and orders.jsonl, the same rows in both."""
    rows = [{"id": number, "name": f"Order {number}"} for number in range(1, ROWS + 1)]
    (folder / "orders.csv").write_text("id,name\n" + "".join(f"{row['id']},{row['name']}\n" for row in rows))
    (folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path in folder.iterdir():
        path.chmod(0o644)


def connectors(names: Sequence[str] = ()) -> list[Plugin]:
    """The shipped connectors, or those of these names (`tap-postgres` or `tap-postgres--meltanolabs`)."""
    shipped = [plugin for plugin in shipped_plugins() if plugin.variant != NATIVE]
    return [plugin for plugin in shipped if not names or {plugin.name, key_of(plugin)} & set(names)]


def key_of(plugin: Plugin) -> str:
    """What a connector is called here."""
    return f"{plugin.name}--{plugin.variant}"


def prove(plugin: Plugin, *, postgres: str = "") -> Proof:
    """Install a connector from its lock, start it, and try it as far as it can be here.

    `postgres` is the address of a server (`postgresql://user:password@host:port/database`) for those that need one.
    """
    proof = Proof(plugin)
    with workbench() as bench:
        try:
            proof.failure = _install(bench, proof) or _start(bench, proof)
            given = _settings_of(plugin, postgres)
            if proof.failure is None and given is not None:
                attempt = _discover if plugin.is_extractor else _load
                proof.failure = attempt(bench, proof, connector_of(plugin, given))
        except CannotStart as error:
            proof.failure = error.failure
        except TimeoutError as error:
            proof.failure = Failure(str(error))
        if proof.failure is not None:
            proof.failure.details["lines"] = bench.lines[-20:]
    return proof


def connector_of(plugin: Plugin, given: Mapping[str, Any]) -> Connector:
    """A connector with these typed settings and its defaults, as a run starts it."""
    return Connector(
        name=plugin.name,
        plugin=plugin.name,
        executable=plugin.executable,
        fingerprint=plugin.fingerprint,
        config=config_of(plugin, with_defaults(plugin, given)),
        capabilities=frozenset(word.lower() for word in plugin.capabilities),
    )


def _settings_of(plugin: Plugin, postgres: str) -> Mapping[str, Any] | None:
    key = key_of(plugin)
    if key not in POSTGRES or not postgres:
        return SAMPLES.get(key)
    parts = urlsplit(postgres)
    return {
        "host": parts.hostname or "",
        "port": parts.port or 5432,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or "none"),
        POSTGRES[key]: parts.path.lstrip("/"),
    }


def _install(bench: Workbench, proof: Proof) -> Failure | None:
    plugin = proof.plugin
    environment = Environment(
        name=plugin.name,
        fingerprint=plugin.fingerprint,
        requirements=plugin.pip_url,
        python=plugin.python,
        lock=shipped_locks()[plugin.fingerprint],
    )
    step = EnvironmentStep(name="Environment", environments=[environment])
    failure = bench.run(EnvironmentRunner(step, bench.context), seconds=BUILD_SECONDS)
    event = bench.found("environment")
    proof.packages = event.get("packages") or {}
    proof.python = str(event.get("python") or "")
    proof.seconds = float(event["seconds"]) if event.get("built") else 0.0
    return failure


def _start(bench: Workbench, proof: Proof) -> Failure | None:
    """Its help, and where it has one its description of itself, which names the settings it takes."""
    connector = connector_of(proof.plugin, {})
    asked = [["--help"]] + ([["--about", "--format=json"]] if "about" in connector.capabilities else [])
    for arguments in asked:
        code, text = bench.say(connector, arguments)
        is_fit = text.strip() and (arguments == ["--help"] or "settings" in json.loads(text))
        if code or not is_fit:
            return Failure(f"{proof.plugin.name} {' '.join(arguments)} ended with exit code {code}")
    proof.is_started = True
    return None


def _discover(bench: Workbench, proof: Proof, connector: Connector) -> Failure | None:
    step = DiscoverStep(name="Discover", extractor=connector, component="", key="")
    failure = bench.run(DiscoverRunner(step, bench.context), seconds=TRY_SECONDS)
    catalog = bench.context.catalogs.get(connector.name)
    if failure is None and catalog is not None and not check_catalog(catalog):
        count = len(catalog["streams"])
        proof.tried = f"found {count} stream{'' if count == 1 else 's'}"
    return failure


def _load(bench: Workbench, proof: Proof, connector: Connector) -> Failure | None:
    code, _ = bench.say(connector, [], stdin=sample_messages())
    if code:
        return Failure(f"{connector.plugin} ended with exit code {code} when it was given {ROWS} rows")
    proof.tried = f"took in {ROWS} rows"
    return None


def sample_messages() -> bytes:
    """A stream as a tap writes it: its schema, its rows, the state behind them."""
    messages: list[Mapping[str, Any]] = [
        {"type": "SCHEMA", "stream": "orders", "schema": SCHEMA, "key_properties": ["id"]},
        *({"type": "RECORD", "stream": "orders", "record": {"id": n, "name": f"Order {n}"}} for n in range(ROWS)),
        {"type": "STATE", "value": {"bookmarks": {"orders": {}}}},
    ]
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)
