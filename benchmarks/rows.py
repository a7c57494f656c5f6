"""The rows that are moved, and what is measured of the processes that move them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb
import psutil
import psycopg

from benchmarks.engine import TYPES

MIB = 1024 * 1024
ROW = """
    SELECT n AS id, n % 50021 AS customer, 'Customer ' || (n % 50021) AS name,
           ['Turku', 'Rauma', 'Kotka', 'Oulu', 'Vaasa'][1 + n % 5] AS city,
           ((n * 7919) % 1000000 / 100)::DECIMAL(12,2) AS amount, (n % 997) / 997.0::DOUBLE AS ratio, n % 3 = 0 AS is_paid,
           DATE '2024-01-01' + (n % 700)::INTEGER AS day,
           TIMESTAMP '2024-01-01' + INTERVAL 1 SECOND * (n % 60000000) AS at,
           CASE WHEN n % 10 = 0 THEN NULL ELSE 'order note number ' || n || ', please ring twice' END AS note
    FROM range(1, {rows} + 1) AS t(n)
"""
# Cast first: the engine guesses a double where a job keeps a decimal.
SAME = (
    "SELECT count(*), "
    + ", ".join(f'sum(hash(CAST("{column}" AS {kind})))' for column, kind in TYPES.items())
    + " FROM {table}"
)


def write_csv(path: Path, rows: int) -> None:
    """The rows as a CSV file."""
    with duckdb.connect() as maker:
        maker.execute(f"COPY ({ROW.format(rows=rows)}) TO '{path}' (HEADER)")


def fill_postgres(url: str, path: Path) -> None:
    """The CSV file's rows as the table `rows` of a database."""
    kinds = {"VARCHAR": "text", "DOUBLE": "double precision"}
    with psycopg.connect(url, autocommit=True) as connection, path.open("rb") as rows:
        columns = ", ".join(f'"{column}" {kinds.get(kind, kind)}' for column, kind in TYPES.items())
        connection.execute(f"CREATE TABLE rows ({columns})")
        with connection.cursor().copy("COPY rows FROM STDIN (FORMAT csv, HEADER)") as copy:
            while block := rows.read(MIB):
                copy.write(block)
        connection.execute("VACUUM ANALYZE rows")


def facts_of(path: Path, table: str) -> tuple[Any, ...] | None:
    """Count and column hashes of a table in a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as store:
        return store.execute(SAME.format(table=table)).fetchone()


class Memory:
    """The proportional memory (PSS) of a process and all its descendants, sampled while something runs."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self.peak = 0

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.1):
            total = 0
            try:
                processes = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in processes:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
