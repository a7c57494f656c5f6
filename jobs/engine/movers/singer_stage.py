"""Staged records: a temporary table of the writer's engine, and that table as a part which any writer can load.

Columns are called c0, c1 and so on, so that no name of a property can get in the way. The first column is the line of
the tap's output: what came after the last state can be left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from jobs.engine.movers import failures, singer_values
from jobs.engine.movers.ports import Column
from jobs.engine.movers.quoting import ident
from jobs.engine.movers.singer_values import LINE
from jobs.engine.movers.types import DECIMAL, INTEGERS, stored

BATCH = "_eltsite_batch"
TEXT_KINDS = ("VARCHAR", "JSON")  # JSON is staged as the text it is


class Stage:
    """The records of one schema of a stream since the last commit."""

    def __init__(self, engine: Any, stream: str, columns: Sequence[Column], *, number: int) -> None:
        self._engine = engine
        self.stream = stream
        self.columns = tuple(columns)
        self.table = f"temp.{ident(f'_eltsite_singer_{number}')}"
        self.rows = 0
        self.bytes = 0
        shape = "".join(f", c{n} {'VARCHAR' if c.type == 'JSON' else stored(c.type)}" for n, c in enumerate(columns))
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {self.table} ({LINE} BIGINT{shape})")

    def add(self, batch: pa.Table, *, is_ready: Sequence[bool], size: int) -> None:
        """Take in rows: a column that is not ready is text. Raises MoverError: value-refused."""
        self._engine.register(BATCH, batch)
        try:
            self.add_from(BATCH, is_ready=is_ready, size=size)
        finally:
            self._engine.unregister(BATCH)

    def add_from(self, relation: str, *, is_ready: Sequence[bool], size: int) -> int:
        """Take in the rows of any relation with these columns; answers how many."""
        casts, values = [], []
        for number, column in enumerate(self.columns):
            if is_ready[number] or column.type in TEXT_KINDS:
                values.append(f"c{number}")
                continue
            cast, value = singer_values.guarded(number, column.type)
            casts.append(f", {cast}")
            values.append(value)
        sql = f"INSERT INTO {self.table} SELECT {', '.join([LINE, *values])} FROM (SELECT *{''.join(casts)} FROM {relation})"
        # A merge keeps the last of equal keys, so rows must stay in their order.
        self._engine.execute("SET preserve_insertion_order = true")
        try:
            written = int(self._engine.execute(sql).fetchall()[0][0])
        except duckdb.Error as error:
            raise self.explain(error) from error
        self.rows += written
        self.bytes += size
        return written

    def explain(self, error: Exception) -> Exception:
        """What to raise for a DuckDB error of this table."""
        names, kinds = [c.name for c in self.columns], [c.type for c in self.columns]
        named = singer_values.refused(error, names, kinds, self.stream)
        return named or failures.explain(error, doing=f"stage stream {self.stream}", stream=self.stream)

    def drop(self) -> None:
        self._engine.execute(f"DROP TABLE IF EXISTS {self.table}")


@dataclass
class Scan:
    """A scan of staged rows: how many there are was counted when they came."""

    select: str
    names: Sequence[str]
    rows: int

    def rows_read(self) -> int:
        return self.rows


@dataclass
class StagePart:
    """Staged rows as a part of a stream; `up_to` is the last line of the tap's output that counts, None: all.

    `names` are the stage's columns as the stream spells them.
    """

    stage: Stage
    names: Sequence[str]
    up_to: int | None = None

    @property
    def label(self) -> str:
        return self.stage.stream

    @property
    def file(self) -> None:
        return None

    @property
    def size(self) -> int:
        return self.stage.bytes

    @contextmanager
    def scan(self, engine: Any, types: Mapping[str, str]) -> Iterator[Scan]:
        stage = self.stage
        where = "" if self.up_to is None else f" WHERE {LINE} <= {self.up_to}"
        rows = stage.rows
        if where:
            rows = engine.execute(f"SELECT count(*) FROM {stage.table}{where}").fetchall()[0][0]
        columns = [
            f"{_as(number, column.type, types[name])} AS {ident(name)}"
            for number, (name, column) in enumerate(zip(self.names, stage.columns, strict=True))
        ]
        select = f"SELECT {', '.join(columns)} FROM {stage.table}{where}"
        yield Scan(select, self.names, rows)

    def explain(self, error: Exception) -> Exception:
        return self.stage.explain(error)

    def copy_binary(self, types: Mapping[str, str]) -> None:
        return None


def _as(number: int, kind: str, wanted: str) -> str:
    """A staged column in the type that its table has."""
    if wanted == kind and kind != "JSON":
        return f"c{number}"
    if wanted == "DOUBLE" and (kind in INTEGERS or DECIMAL.fullmatch(kind)):
        return singer_values.exact_as_double(number)
    return f"CAST(c{number} AS {wanted})"
