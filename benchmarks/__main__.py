"""`make bench`: jobs against the plain engine, in one run, as ratios. Writes docs/benchmarks.md.

A job is timed from startTime to endTime, through a real worker. The comparator is a fresh Python process that does the
same move with the engine alone, at its default threads; its seconds are those of the whole process. The two are
interleaved, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = Path(tempfile.mkdtemp(prefix="eltsite-bench-"))
SCRATCH.chmod(0o755)
for name in [name for name in os.environ if name.startswith("ELTSITE_")]:
    del os.environ[name]
os.environ["ELTSITE_HOME"] = str(SCRATCH / "home")
os.environ["DJANGO_SETTINGS_MODULE"] = "eltsite.settings"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
PAIR_ROUNDS = int(os.environ.get("BENCH_PAIR_ROUNDS", "9"))
PAIR_ROWS = int(os.environ.get("BENCH_PAIR_ROWS", "100000"))

import django  # noqa: E402

django.setup()

import duckdb  # noqa: E402
import psutil  # noqa: E402

from benchmarks import pairs  # noqa: E402
from benchmarks.rows import MIB, Memory, facts_of, fill_postgres, write_csv  # noqa: E402
from jobs import folders, installation  # noqa: E402
from jobs.logs import read_log  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.services import create_job  # noqa: E402
from jobs.status import TERMINAL, JobStatus  # noqa: E402
from pipelines.models import DataPlugin, Pipeline, PipelineStatus  # noqa: E402
from pipelines.services import save_component, save_pipeline  # noqa: E402
from tests import postgres_server  # noqa: E402
from tests.e2e.sources import forwarded_postgres  # noqa: E402
from workspaces.models import User, Workspace, WorkspaceStatus  # noqa: E402
from workspaces.services import create_workspace  # noqa: E402


@dataclass
class Result:
    """What was measured of one move."""

    name: str
    job_seconds: list[float] = field(default_factory=list)
    engine_seconds: list[float] = field(default_factory=list)
    peak_pss: int = 0

    @property
    def ratio(self) -> float:
        """The job's rows per second as a part of the engine's, by medians."""
        return statistics.median(self.engine_seconds) / statistics.median(self.job_seconds)


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait, up to a deadline."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise SystemExit("the benchmark's installation did not answer in time")
        time.sleep(0.05)


def make_workspace() -> Workspace:
    """A workspace that is ready."""
    workspace = create_workspace(name="Bench", owner=User.objects.create_user("bench"))

    def ready() -> bool:
        workspace.refresh_from_db()
        return workspace.status != WorkspaceStatus.PROVISIONING

    until(ready)
    return workspace


def make_pipeline(workspace: Workspace, label: str, plugin: str, settings: dict[str, Any], schema: str) -> Pipeline:
    """A checked pipeline into a schema of its own, so that each run begins with nothing."""
    tap = save_component(workspace, name=f"{label} source", plugin=shipped(plugin), properties=settings)
    own = {"Warehouse.schema": schema, "Warehouse.path": f"bench-{schema}.duckdb"}
    return settled_pipeline(workspace, label, [tap, "Warehouse"], own)


def settled_pipeline(workspace: Workspace, label: str, components: list[Any], properties: dict[str, Any]) -> Pipeline:
    """A pipeline whose check has ended well."""
    pipeline = save_pipeline(workspace, label=label, components=components, properties=properties, timeout_seconds=3600)

    def settled() -> bool:
        pipeline.refresh_from_db()
        return pipeline.status != PipelineStatus.PROVISIONING

    until(settled)
    if pipeline.status != PipelineStatus.READY:
        raise SystemExit(f"{label}: {pipeline.status_reason}")
    return pipeline


def shipped(name: str) -> DataPlugin:
    """A shipped plugin, such as tap-files or tap-postgres--meltanolabs."""
    bare, _, variant = name.partition("--")
    return DataPlugin.objects.get(name=bare, variant=variant or "eltsite", workspace__isnull=True)


def pair_maker(workspace: Workspace) -> Callable[..., Pipeline]:
    """Makes checked pipelines of tap-postgres (meltanolabs) and a loader."""

    def make(label: str, source: dict[str, Any], loader: str, target: dict[str, Any]) -> Pipeline:
        tap = save_component(
            workspace, name=f"{label} source", plugin=shipped("tap-postgres--meltanolabs"), properties=source
        )
        store = save_component(workspace, name=f"{label} store", plugin=shipped(loader), properties=target)
        return settled_pipeline(workspace, label, [tap, store], {})

    return make


def run_job(pipeline: Pipeline, rows: int = ROWS) -> Job:
    """Run to the end."""
    job = create_job(pipeline)
    until(lambda: Job.objects.get(pk=job.pk).status in TERMINAL)
    job.refresh_from_db()
    if job.status != JobStatus.COMPLETE or job.rows_written != rows:
        raise SystemExit(f"{pipeline.label} ended {job.status}: {job.headline} {job.error}")
    return job


def run_engine(kind: str, source: str, target: Path) -> float:
    """The plain engine in a fresh process; its whole time."""
    target.unlink(missing_ok=True)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "engine.py"), kind, source, str(target)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def compare(
    workspace: Workspace, root_pid: int, name: str, kind: str, source: str, plugin: str, settings: dict[str, Any]
) -> Result:
    """Rounds of job and engine, turn about; the tables of each round must be equal."""
    result = Result(name)
    for round_ in range(ROUNDS):
        schema = f"{kind}{round_}"
        pipeline = make_pipeline(workspace, f"{name} {round_}", plugin, settings, schema)
        plain = SCRATCH / f"{kind}.duckdb"
        order = [True, False] if round_ % 2 else [False, True]
        for is_job in order:
            if is_job:
                with Memory(root_pid) as memory:
                    result.job_seconds.append(run_job(pipeline).duration_seconds or 0)
                result.peak_pss = max(result.peak_pss, memory.peak)
            else:
                result.engine_seconds.append(run_engine(kind, source, plain))
        path = folders.of_workspace(workspace) / f"bench-{schema}.duckdb"
        if facts_of(path, f"{schema}.rows") != facts_of(plain, "rows"):
            raise SystemExit(f"{name}: the tables differ")
        for left in path.parent.glob(f"bench-{schema}.duckdb*"):
            left.unlink()
        print(
            f"  round {round_ + 1}: job {result.job_seconds[-1]:.2f} s, engine {result.engine_seconds[-1]:.2f} s",
            flush=True,
        )
    return result


def measure_waits(workspace: Workspace) -> tuple[float, float]:
    """Medians of 20: from the request of a job to RUNNING, and on to its first log line, on an idle system."""
    (folders.of_workspace(workspace) / "files" / "tiny.csv").write_text("id\n1\n")
    pipeline = make_pipeline(
        workspace, "Tiny", "tap-files", {"files": '[{"stream": "tiny", "path": "tiny.csv"}]'}, "tiny"
    )
    running, line = [], []
    for _ in range(20):
        started = time.monotonic()
        job = create_job(pipeline)
        until(lambda job=job: Job.objects.get(pk=job.pk).status != JobStatus.QUEUED)
        running.append(time.monotonic() - started)
        until(lambda job=job: bool(read_log(job, limit=1)))
        line.append(time.monotonic() - started - running[-1])
        until(lambda job=job: Job.objects.get(pk=job.pk).status in TERMINAL)
    return statistics.median(running), statistics.median(line)


def write_report(results: list[Result], waits: tuple[float, float], pairs: list[str]) -> None:
    """docs/benchmarks.md, and the same on the screen."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`: jobs through a real worker (startTime to endTime) against the plain engine in a fresh",
        "Python process (`benchmarks/engine.py`), interleaved, medians; the tables of each round are compared.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1024**3:.0f} GiB, "
        f"Python {platform.python_version()}, duckdb {duckdb.__version__}, {ROWS:,} rows of ten columns, {ROUNDS} rounds.",
        "",
        "| Move | Job | Engine | Rows/s of the job | Job : engine | Peak memory (PSS) of all processes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        job, engine = statistics.median(result.job_seconds), statistics.median(result.engine_seconds)
        lines.append(
            f"| {result.name} | {job:.2f} s | {engine:.2f} s | {ROWS / job:,.0f} | {result.ratio:.2f} | {result.peak_pss / MIB:.0f} MB |"
        )
    lines += [
        "",
        f"A job created on an idle system is RUNNING after {waits[0] * 1000:.0f} ms, and its first log line is readable",
        f"{waits[1] * 1000:.0f} ms later (medians of 20).",
        "",
        *pairs,
    ]
    text = "\n".join(lines)
    print(text)
    if ROWS == 1_000_000:
        (ROOT / "docs" / "benchmarks.md").write_text(text)


def main() -> None:
    """Make the data, start an installation, measure, report."""
    installation.prepare()
    postgres_server.start()
    url = os.environ[postgres_server.ADDRESS]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "up", "--port", "8977"], start_new_session=True
    )
    try:
        workspace = make_workspace()
        data = folders.of_workspace(workspace) / "files" / "rows.csv"
        write_csv(data, ROWS)
        fill_postgres(url, data)
        csv = {"files": '[{"stream": "rows", "path": "rows.csv"}]'}
        source = {
            "dialect": "postgresql",
            "host": url.split("host=")[1],
            "user": "postgres",
            "database": "postgres",
            "tables": '[{"stream": "rows", "table": "rows"}]',
        }
        print("CSV file -> DuckDB", flush=True)
        results = [compare(workspace, process.pid, "CSV file -> DuckDB", "csv", str(data), "tap-files", csv)]
        print("PostgreSQL -> DuckDB", flush=True)
        results.append(compare(workspace, process.pid, "PostgreSQL -> DuckDB", "postgres", url, "tap-sql", source))
        waits = measure_waits(workspace)
        print("Connectors", flush=True)
        with forwarded_postgres() as port:
            connectors = pairs.compare(
                pair_maker(workspace),
                lambda pipeline: run_job(pipeline, PAIR_ROWS),
                SCRATCH,
                url=url,
                port=port,
                root=process.pid,
                rows=PAIR_ROWS,
                rounds=PAIR_ROUNDS,
            )
        write_report(results, waits, connectors)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(SCRATCH, ignore_errors=True)


if __name__ == "__main__":
    main()
