"""Pairs of connectors: the bare pipe, Meltano, and eltsite's two ways, turn about in one run, wall and CPU seconds.

All four use the same programs with the same settings: the connectors in the environments that eltsite has built, the
Meltano project of this benchmark included. Each round begins with an empty schema.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import yaml
from django.conf import settings

from jobs.connectors import connector_of, known_catalog
from jobs.definitions import ends_of
from jobs.engine.singer import apply_selection
from jobs.models import Job
from pipelines.models import Pipeline

MELTANO = "meltano==4.4.1"
SCHEMA = "bench_pairs"
SELECT = ["public-pair_rows.*"]
WAYS = ("bare pipe", "meltano run", "eltsite tap | target", "eltsite tap | own loader")


@dataclass
class Seconds:
    """What one way took, round by round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def medians(self) -> tuple[float, float]:
        """Wall and CPU seconds."""
        return statistics.median(self.wall), statistics.median(self.cpu)


def empty(url: str) -> None:
    """Begin with nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def rows_in(url: str) -> int:
    """What a round has stored. Loaders call the table by the stream's name, or by the last part of it."""
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename LIKE '%%pair_rows'"
    with psycopg.connect(url) as connection:
        names = [row[0] for row in connection.execute(tables, [SCHEMA]).fetchall()]
        counts = [connection.execute(f'SELECT count(*) FROM {SCHEMA}."{name}"').fetchone() for name in names]
        return sum(int(row[0]) for row in counts if row)


def fill(url: str, rows: int) -> None:
    """The table that is read: ten columns, with a primary key."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS pair_rows")
        connection.execute(
            "CREATE TABLE pair_rows AS SELECT n::bigint AS id, n % 50021 AS customer, 'Customer ' || n % 50021 AS name,"
            " (array['Turku', 'Rauma', 'Kotka', 'Oulu', 'Vaasa'])[1 + n % 5] AS city,"
            " (n * 7919 % 1000000 / 100.0)::numeric(12, 2) AS amount, (n % 997) / 997.0::double precision AS ratio,"
            " n % 3 = 0 AS is_paid, date '2024-01-01' + n % 700 AS day,"
            " timestamp '2024-01-01' + n * interval '1 second' AS at,"
            " CASE WHEN n % 10 > 0 THEN 'order note number ' || n || ', please ring twice' END AS note"
            f" FROM generate_series(1, {rows}) AS n"
        )
        connection.execute("ALTER TABLE pair_rows ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE pair_rows")


def waited(process: subprocess.Popen[bytes]) -> float:
    """The CPU seconds of a process and of those it waited for; fails where it did."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


class Bare:
    """tap | target, as a person would type it: with a catalog file and without any wrapper."""

    def __init__(self, pipeline: Pipeline, folder: Path, bins: Mapping[str, str]) -> None:
        ends = ends_of(pipeline)
        assert ends.extractor is not None and ends.loader is not None
        self._folder = folder
        self.tap, self.target = connector_of(ends.extractor), connector_of(ends.loader)
        catalog = apply_selection(known_catalog(ends.extractor) or {"streams": []}, self.tap.select, self.tap.metadata)
        (folder / "catalog.json").write_text(json.dumps(catalog))
        (folder / "tap.json").write_text(json.dumps(self.tap.config))
        (folder / "target.json").write_text(json.dumps(self.target.config))
        self.tap_program = os.path.join(bins[self.tap.fingerprint], "bin", self.tap.executable)
        self.target_program = os.path.join(bins[self.target.fingerprint], "bin", self.target.executable)

    def __call__(self) -> tuple[float, float]:
        started = time.perf_counter()
        tap_argv = [self.tap_program, "--config", "tap.json", "--catalog", "catalog.json"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(tap_argv, cwd=self._folder, stdout=subprocess.PIPE, stderr=quiet) as tap:
            target = subprocess.Popen(
                [self.target_program, "--config", "target.json"],
                cwd=self._folder,
                stdin=tap.stdout,
                stdout=quiet,
                stderr=quiet,
            )
            assert tap.stdout
            tap.stdout.close()
            cpu = waited(tap) + waited(target)
        return time.perf_counter() - started, cpu


class Meltano:
    """`meltano run` over a project that names the same programs and the same settings."""

    def __init__(self, bare: Bare, folder: Path) -> None:
        self._folder = folder / "meltano"
        self._folder.mkdir()
        environment = folder / "meltano-environment"
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(environment)], check=True)
        python = str(environment / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "-p", python, MELTANO], check=True)
        self._program = str(environment / "bin" / "meltano")
        tap, target = bare.tap, bare.target
        capabilities = ["catalog", "discover", "state"]
        project = {
            "version": 1,
            "project_id": "00000000-0000-4000-8000-000000000000",
            "send_anonymous_usage_stats": False,
            "default_environment": "bench",
            "environments": [{"name": "bench"}],
            "plugins": {
                "extractors": [
                    {
                        **{"name": tap.plugin, "namespace": "tap_bench", "executable": bare.tap_program},
                        **{"capabilities": capabilities, "settings": [{"name": name} for name in tap.config]},
                        **{"config": dict(tap.config), "select": list(tap.select)},
                    }
                ],
                "loaders": [
                    {
                        **{"name": target.plugin, "namespace": "target_bench", "executable": bare.target_program},
                        **{"settings": [{"name": name} for name in target.config], "config": dict(target.config)},
                    }
                ],
            },
        }
        (self._folder / "meltano.yml").write_text(yaml.safe_dump(project))
        self._argv = [self._program, "run", "--full-refresh", tap.plugin, target.plugin]

    def __call__(self) -> tuple[float, float]:
        started = time.perf_counter()
        environment = {**os.environ, "NO_COLOR": "1", "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false"}
        with (self._folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(self._argv, cwd=self._folder, stdout=log, stderr=log, env=environment)
        cpu = waited(process)
        return time.perf_counter() - started, cpu


class Ours:
    """A job through the real worker. Its CPU seconds are those of its processes and of the worker meanwhile."""

    def __init__(self, pipeline: Pipeline, root: int, run_job: Callable[[Pipeline], Job]) -> None:
        self._pipeline = pipeline
        self._root = psutil.Process(root)
        self._run = run_job

    def _standing(self) -> float:
        total = 0.0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    def __call__(self) -> tuple[float, float]:
        before = self._standing()
        job = self._run(self._pipeline)
        standing = self._standing() - before
        assert job.ended_at
        children = sum(float(step.get("cpu_seconds") or 0) for step in job.steps)
        return (job.ended_at - job.created_at).total_seconds(), children + max(standing, 0.0)


def measure(
    ways: Mapping[str, Callable[[], tuple[float, float]]], *, rounds: int, rows: int, url: str
) -> dict[str, Seconds]:
    """Rounds over all ways, each round beginning with another; the rows of each are counted."""
    found = {name: Seconds() for name in ways}
    names = list(ways)
    for round_ in range(rounds):
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            empty(url)
            wall, cpu = ways[name]()
            if rows_in(url) != rows:
                raise SystemExit(f"{name} stored {rows_in(url)} of {rows} rows")
            found[name].wall.append(wall)
            found[name].cpu.append(cpu)
        last = ", ".join(f"{name} {found[name].wall[-1]:.2f} s" for name in names)
        print(f"  round {round_ + 1}: {last}", flush=True)
    return found


def report(found: Mapping[str, Seconds], *, rows: int, rounds: int) -> list[str]:
    """The table for docs/benchmarks.md."""
    base = found[WAYS[0]].medians[0]
    lines = [
        "## Connectors",
        "",
        f"tap-postgres (meltanolabs) into PostgreSQL, {rows:,} rows of ten columns, {rounds} rounds turn about, medians. The bare",
        "pipe, Meltano and eltsite run the same programs from the same environments; our own loader takes the place of",
        f"target-postgres (meltanolabs) in the last line. {MELTANO.replace('==', ' ')}. A job counts from its creation to its end; its CPU",
        "seconds include the worker's, the scheduler's and the web server's.",
        "",
        "| Way | Wall | CPU | Rows/s | Wall against the bare pipe |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, seconds in found.items():
        wall, cpu = seconds.medians
        ratio = "" if name == WAYS[0] else f"{wall / base:.2f} x ({wall - base:+.2f} s)"
        lines.append(f"| {name} | {wall:.2f} s | {cpu:.2f} s | {rows / wall:,.0f} | {ratio} |")
    return [*lines, ""]


def compare(
    make: Callable[..., Pipeline],
    run_job: Callable[[Pipeline], Job],
    folder: Path,
    *,
    url: str,
    port: int,
    root: int,
    rows: int,
    rounds: int,
) -> list[str]:
    """All four ways, and the table of them. `port` leads to the server of `url`; `root` is the process of `up`."""
    fill(url, rows)
    at = {
        "host": "127.0.0.1",
        "port": str(port),
        "user": "postgres",
        "password": "not-asked-for",
        "database": "postgres",
    }
    source = {**at, "filter_schemas": '["public"]', "_select": json.dumps(SELECT)}
    both = make("Pair", source, "target-postgres--meltanolabs", {**at, "default_target_schema": SCHEMA})
    own = make("Pair, own loader", source, "target-postgres--eltsite", {**at, "schema": SCHEMA, "load_method": "merge"})
    for pipeline in (both, own):  # finds the streams, and warms what a first run warms
        empty(url)
        run_job(pipeline)
    found = {one["fingerprint"]: one["digest"] for job in Job.objects.filter(pipeline=both) for one in job.environments}
    bins = {fingerprint: str(Path(settings.ELTSITE_ENVIRONMENTS) / digest) for fingerprint, digest in found.items()}
    bare = Bare(both, folder, bins)
    meltano = Meltano(bare, folder)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        WAYS[0]: bare,
        WAYS[1]: meltano,
        WAYS[2]: Ours(both, root, run_job),
        WAYS[3]: Ours(own, root, run_job),
    }
    empty(url)
    meltano()
    return report(measure(ways, rounds=rounds, rows=rows, url=url), rows=rows, rounds=rounds)
