"""A stream on its way into a folder of data files: they and the next manifest are hidden until they count."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import duckdb

from jobs.engine.movers import duckdb as store
from jobs.engine.movers import failures, file_journal, tables, types
from jobs.engine.movers.file_journal import MANIFEST, hidden_name
from jobs.engine.movers.ports import VERSION_COLUMN, Column, Counts, Load, Part, Target
from jobs.engine.movers.protocol import log
from jobs.engine.movers.quoting import ident, idents, text

ENDINGS = {"parquet": ".parquet", "csv": ".csv", "jsonl": ".jsonl"}


class Store(Protocol):
    """What a load needs of its writer."""

    format: str
    compression: str
    folder: str
    engine: Any

    def manifest(self, table: str) -> dict[str, Any] | None: ...


class FilesLoad:
    """One stream on its way into a folder."""

    def __init__(self, writer: Store, target: Target) -> None:
        self._writer = writer
        self._target = target
        self.table = target.table
        self.folder = os.path.join(writer.folder, target.table)
        self._old: dict[str, Any] = writer.manifest(target.table) or {"files": [], "columns": {}, "loads": {}}
        self._kept: list[dict[str, Any]] = []
        self._new: list[dict[str, Any]] = []
        self._types: dict[str, str] = {}  # of the columns that come
        self._names: dict[str, str] = {}  # how the files spell them
        self._columns: dict[str, str] = dict(self._old["columns"])  # all there will be, as the files spell them
        self._stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.counts = Counts()

    def prepare(self, columns: Sequence[Column], *, replaced_files: Sequence[str]) -> None:
        target = self._target
        tables.check_keys(columns, target)
        existing = {name: Column(name, kind) for name, kind in self._old["columns"].items()}
        columns = [replace(column, type=filed(column.type, self._writer.format)) for column in columns]
        plan = tables.make_plan(existing, columns, target, is_empty=lambda _column: False)
        tables.check_rounding(plan, target, self._rounded)
        for name, old, kind in plan.widened:
            log(f"{target.stream}: column {name} is widened from {old} to {kind}")
        self._types = {name: filed(types.stored(kind), self._writer.format) for name, kind in plan.types.items()}
        self._names = plan.names
        self._columns = {**self._old["columns"], **{plan.names[name]: kind for name, kind in self._types.items()}}
        os.makedirs(self.folder, exist_ok=True)
        file_journal.tidy(self.folder)
        self._kept = [
            file
            for file in self._old["files"]
            if target.method == "merge" or (target.method == "append" and file.get("source") not in replaced_files)
        ]
        self.counts.deleted = sum(file["rows"] for file in self._old["files"] if file not in self._kept)
        self._writer.engine.execute(f"SET preserve_insertion_order = {str(target.method == 'merge').lower()}")
        if target.method == "merge":
            shape = ", ".join(f"{ident(plan.names[name])} {kind}" for name, kind in self._types.items())
            self._writer.engine.execute(f"CREATE OR REPLACE TEMP TABLE stage ({shape})")

    def _rounded(self, column: str, kind: str) -> object:
        if not self._old["files"]:
            return None
        rows = self._writer.engine.execute(store.rounded(self._rows_of(self._old["files"]), column, kind)).fetchall()
        return rows[0][0] if rows else None

    def write(self, part: Part) -> None:
        engine = self._writer.engine
        with part.scan(engine, self._types) as scan:
            try:
                if self._target.method == "merge":
                    written = engine.execute(f"INSERT INTO stage BY NAME {scan.select}").fetchall()[0][0]
                else:
                    written = self._write_file(scan.select, scan.names, source=part.file)
            except duckdb.Error as error:
                raise part.explain(error) from error
        read = scan.rows_read()
        self.counts.read += written if read is None else read
        self.counts.written += written

    def _write_file(self, select: str, names: Sequence[str], *, source: str | None) -> int:
        """One data file, still hidden. One without rows is not kept."""
        ending = ENDINGS[self._writer.format]
        compression = self._writer.compression
        options = {
            "parquet": f"FORMAT parquet, COMPRESSION {({'auto': 'zstd', 'none': 'uncompressed'}).get(compression, compression)}",
            "csv": "FORMAT csv, HEADER true",
            "jsonl": "FORMAT json",
        }[self._writer.format]
        if self._writer.format != "parquet":
            options += f", COMPRESSION {'gzip' if compression == 'gzip' else 'none'}"
            ending += ".gz" if compression == "gzip" else ""
        name = f"part-{self._stamp}-{len(self._new):05d}{ending}"
        path = os.path.join(self.folder, hidden_name(name))
        spelled = {name: self._names.get(name, name) for name in names}
        columns = ", ".join(
            f"{_written(name, self._columns[own], self._writer.format)} AS {ident(own)}"
            for name, own in spelled.items()
        )
        rows = self._writer.engine.execute(
            f"COPY (SELECT {columns} FROM ({select})) TO {text(path)} ({options})"
        ).fetchall()[0][0]
        if rows:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            facts = {"name": name, "rows": rows, "bytes": os.path.getsize(path)}
            self._new.append({**facts, "source": source, "columns": list(spelled.values())})
        else:
            os.unlink(path)
        return int(rows)

    def settle(self, load: Load, *, versions: Sequence[int | None] = ()) -> Counts:
        counts, target = self.counts, self._target
        tables.check_counts(target, read=counts.read, written=counts.written)
        if target.method == "merge":
            self._merge()
        else:
            counts.inserted = counts.written
        if versions:
            self._drop_versions(versions)
        if tables.is_counted(target, counts.written):
            self._verify()
        self._write_manifest(load)
        return counts

    def _drop_versions(self, versions: Sequence[int | None]) -> None:
        """Write the stream anew without the rows of another version of the whole table."""
        if VERSION_COLUMN not in self._columns:
            log(tables.no_versions(self._target), level="warning")
            return
        files = [*self._kept, *self._new]
        before = sum(file["rows"] for file in files)
        if not before:
            return
        select = f"SELECT * FROM {self._rows_of(files)} WHERE NOT {tables.other_versions(versions)}"
        names = [row[0] for row in self._writer.engine.execute(f"DESCRIBE {select}").fetchall()]
        old, self._kept = list(self._new), []
        after = self._write_file(select, names, source=None)
        self._new = [file for file in self._new if file not in old]
        for file in old:
            os.unlink(os.path.join(self.folder, hidden_name(file["name"])))
        self.counts.deleted += before - after

    def _merge(self) -> None:
        """Write the stream anew: rows whose key comes, and for the rest the old ones."""
        run = self._writer.engine.execute
        keys, counts = self._target.primary_keys, self.counts
        for key in keys:
            rows = run(f"SELECT count(*) FROM stage WHERE {ident(key)} IS NULL").fetchall()[0][0]
            if rows:
                raise tables.null_key(self._target, key, rows, None)
        run(f"DELETE FROM stage WHERE rowid NOT IN (SELECT max(rowid) FROM stage GROUP BY {idents(keys)})")
        distinct = run("SELECT count(*) FROM stage").fetchall()[0][0]
        select, gone = "SELECT * FROM stage", 0
        before = sum(file["rows"] for file in self._kept)
        if self._kept:
            old = self._rows_of(self._kept)
            match = " AND ".join(f"old.{ident(key)} = new.{ident(key)}" for key in keys)
            updated = f"SELECT count(*) FROM stage AS new WHERE EXISTS (SELECT 1 FROM {old} AS old WHERE {match})"
            counts.updated = run(updated).fetchall()[0][0]
            rest = f"SELECT * FROM {old} AS old WHERE NOT EXISTS (SELECT 1 FROM stage AS new WHERE {match})"
            # More rows may go than are updated, where an append left a key twice.
            gone = before - run(f"SELECT count(*) FROM ({rest})").fetchall()[0][0]
            select = f"{self._new_rows(old, keys)} UNION ALL BY NAME {rest}"
        self._kept = []
        names = [row[0] for row in run(f"DESCRIBE {select}").fetchall()]
        after = self._write_file(select, names, source=None)
        counts.inserted = distinct - counts.updated
        if after != before - gone + distinct:
            raise tables.counts_differ(self._target, "rows in the new file", before - gone + distinct, after)

    def _new_rows(self, old: str, keys: Sequence[str]) -> str:
        """The rows that come. Columns that the source does not have keep the values of the rows that are updated."""
        come = {name.lower() for name in self._names}
        kept = [name for name in self._old["columns"] if name.lower() not in come]
        if not kept:
            return "SELECT * FROM stage"
        last = f"SELECT DISTINCT ON ({idents(keys)}) {idents([*keys, *kept])} FROM {old}"
        return (
            f"SELECT new.*, {idents(kept, prefix='old.')} FROM stage AS new LEFT JOIN ({last}) AS old"
            f" USING ({idents(keys)})"
        )

    def _rows_of(self, files: Sequence[Mapping[str, Any]]) -> str:
        """The rows of data files as a relation, each column in the type it has now."""
        parts = []
        for file in files:
            name = hidden_name(file["name"]) if file in self._new else file["name"]
            path = text(os.path.join(self.folder, name))
            shape = ", ".join(f"{text(name)}: {text(self._columns[name])}" for name in file["columns"])
            parts.append(f"SELECT * FROM {_reader(path, file['name'], shape)}")
        return f"({' UNION ALL BY NAME '.join(parts)})"

    def _verify(self) -> None:
        """Count what the new files hold, by reading them."""
        for file in self._new:
            path = text(os.path.join(self.folder, hidden_name(file["name"])))
            shape = ", ".join(f"{text(name)}: 'VARCHAR'" for name in file["columns"])
            counting = f"SELECT count(*) FROM {_reader(path, file['name'], shape)}"
            found = self._writer.engine.execute(counting).fetchall()[0][0]
            if found != file["rows"]:
                raise tables.counts_differ(self._target, f"rows in {file['name']}", file["rows"], found)
        self.counts.verified = True

    def _write_manifest(self, load: Load) -> None:
        """Put the next manifest beside the one that counts."""
        loads = {**self._old["loads"], load.pipeline: file_journal.loaded(load, rows=self.counts.written)}
        manifest = {
            "table": load.table,
            "format": self._writer.format,
            "columns": self._columns,
            "files": [*self._kept, *self._new],
            "loads": loads,
        }
        file_journal.write_json(os.path.join(self.folder, hidden_name(MANIFEST)), manifest)


def filed(kind: str, file_format: str) -> str:
    """The type a column has in a file: DuckDB would write some to Parquet with fewer digits, without a word."""
    if file_format != "parquet":
        return kind
    return {"HUGEINT": "DECIMAL(38,0)", "UHUGEINT": "DECIMAL(38,0)", "INTERVAL": "VARCHAR"}.get(kind, kind)


def _written(name: str, kind: str, file_format: str) -> str:
    """A column as a file can hold it: JSON has no numbers that are none."""
    c = ident(name)
    if file_format != "jsonl" or kind not in types.FLOATS:
        return c
    refusal = failures.refusal(name, "nan or infinity, which JSON has no number for")
    return f"CASE WHEN {c} IS NULL OR isfinite({c}) THEN {c} ELSE {refusal} END"


def _reader(path: str, name: str, shape: str) -> str:
    """A data file of ours as a relation with the columns in `shape`. Hidden, its ending does not say it is packed."""
    if name.endswith(".parquet"):
        return f"read_parquet({path})"
    options = f"compression = '{'gzip' if name.endswith('.gz') else 'none'}', columns = {{{shape}}}"
    if ".csv" in name:
        csv = "header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false"
        return f"read_csv({path}, auto_detect = false, {csv}, {options})"
    return f"read_json({path}, format = 'newline_delimited', {options})"
