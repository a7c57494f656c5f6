"""`python -m benchmarks.movers`: movers alone, without job and worker, against the plain engine, interleaved.

For work on the movers: `make bench` measures whole jobs. Processor seconds stand beside the times, for they hardly
change when the machine is busy with something else.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.rows import MIB, Memory, facts_of, fill_postgres, write_csv
from tests import postgres_server

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
MEMORY_BYTES = 256 * MIB  # as jobs/specs.py sets it
COPY_BOTH_ENDS = """
import psycopg, sys
with psycopg.connect(sys.argv[1]) as source, psycopg.connect(sys.argv[1]) as sink:
    sink.execute("CREATE TABLE plain (LIKE rows)")
    with source.cursor().copy("COPY rows TO STDOUT (FORMAT binary)") as out:
        with sink.cursor().copy("COPY plain FROM STDIN (FORMAT binary)") as into:
            for block in out:
                into.write(block)
"""


@dataclass
class Cost:
    """What runs of one program cost."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak_pss: int = 0

    def run(self, argv: list[str], *, text: str = "") -> None:
        """Run once, to its end."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        with Memory(process.pid) as memory:
            said, _ = process.communicate(text)
        self.seconds.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        self.peak_pss = max(self.peak_pss, memory.peak)
        if process.returncode:
            raise SystemExit(f"{argv}: {said}")


def mover(folder: Path, extractor: dict[str, Any], loader: dict[str, Any]) -> tuple[list[str], str]:
    """A mover's command line and specification."""
    needs = ",".join(
        ":".join(filter(None, (end["plugin"], end["settings"].get("dialect")))) for end in (extractor, loader)
    )
    spec = {
        **{"pipeline": "bench", "job": f"{time.time_ns()}", "attempt": 0, "extractor": extractor, "loader": loader},
        **{"schema": "bench", "files_folder": "", "run_folder": "run", "publish_snapshot": True},
        "limits": {"memory_bytes": MEMORY_BYTES, "threads": min(os.cpu_count() or 1, 4)},
    }
    argv = [sys.executable, "-m", "jobs.engine.movers", "move", "--folder", str(folder), "--needs", needs]
    return argv, json.dumps(spec)


class Bench:
    """The moves, each with its plain twin."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        settings = {"host": url.split("host=")[1], "user": "postgres", "database": "postgres"}
        self._files = {"plugin": "tap-files", "settings": {"files": [{"stream": "rows", "path": "rows.csv"}]}}
        tap = {"dialect": "postgresql", **settings, "tables": [{"table": "rows"}]}
        self._sql = {"plugin": "tap-sql", "settings": tap}
        self._duckdb = {"plugin": "target-duckdb", "settings": {"path": "ours.duckdb"}}
        self._postgres = {"plugin": "target-postgres", "settings": settings}

    def into_duckdb(self, kind: str, name: str) -> None:
        """CSV or PostgreSQL into a new DuckDB file."""
        extractor = self._files if kind == "csv" else self._sql
        source = str(self._folder / "rows.csv") if kind == "csv" else self._url
        ours, plain = Cost(), Cost()
        for _ in range(ROUNDS):
            for left in self._folder.glob("*.duckdb*"):
                left.unlink()
            engine = str(ROOT / "benchmarks" / "engine.py")
            plain.run([sys.executable, engine, kind, source, str(self._folder / "plain.duckdb")])
            argv, text = mover(self._folder, extractor, self._duckdb)
            ours.run(argv, text=text)
            if facts_of(self._folder / "ours.duckdb", "bench.rows") != facts_of(self._folder / "plain.duckdb", "rows"):
                raise SystemExit(f"{name}: the tables differ")
        report(name, ours, plain)

    def into_postgres(self) -> None:
        """PostgreSQL into PostgreSQL, against COPY at both ends."""
        ours, plain = Cost(), Cost()
        for _ in range(ROUNDS):
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA IF EXISTS bench CASCADE")
                connection.execute("DROP TABLE IF EXISTS plain")
            plain.run([sys.executable, "-c", COPY_BOTH_ENDS, self._url])
            argv, text = mover(self._folder, self._sql, self._postgres)
            ours.run(argv, text=text)
        report("PostgreSQL -> PostgreSQL", ours, plain)


def report(name: str, ours: Cost, plain: Cost) -> None:
    """One line."""
    seconds, engine = statistics.median(ours.seconds), statistics.median(plain.seconds)
    processor = statistics.median(plain.processor) / statistics.median(ours.processor)
    print(
        f"{name}: mover {seconds:.2f} s, engine {engine:.2f} s, {ROWS / seconds:,.0f} rows/s, ratio {engine / seconds:.2f}"
        f" (processor seconds {processor:.2f}), peak PSS {ours.peak_pss // MIB} MB (engine {plain.peak_pss // MIB} MB)",
        flush=True,
    )


def main() -> None:
    """Make the rows, measure, say."""
    postgres_server.start()
    url = os.environ[postgres_server.ADDRESS]
    folder = Path(tempfile.mkdtemp(prefix="eltsite-movers-"))
    try:
        (folder / "run").mkdir()
        write_csv(folder / "rows.csv", ROWS)
        fill_postgres(url, folder / "rows.csv")
        bench = Bench(folder, url)
        bench.into_duckdb("csv", "CSV file -> DuckDB")
        bench.into_duckdb("postgres", "PostgreSQL -> DuckDB")
        bench.into_postgres()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
