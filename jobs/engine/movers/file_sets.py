"""The loader target-files: a folder per stream with data files, and a manifest that says which of them count.

Renaming a journal into place commits rows and state together. Data files are hidden until then, by a leading dot and
an ending of their own (DuckDB's patterns find dotted files), and get their names afterwards; a run that was killed in
between is completed by the next one. Files that no manifest names are leftovers and go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import duckdb

from jobs.engine.movers import duckdb as store
from jobs.engine.movers import failures, file_journal, paths
from jobs.engine.movers.file_journal import MANIFEST
from jobs.engine.movers.file_load import ENDINGS, FilesLoad
from jobs.engine.movers.ports import Load, Stored, Target
from jobs.engine.movers.protocol import MoverError


class FilesWriter:
    """Writes data files into a folder."""

    takes_copy = False

    def __init__(self, spec: Mapping[str, Any]) -> None:
        settings = spec["loader"]["settings"]
        self.format = str(settings.get("format") or "parquet")
        if self.format not in ENDINGS:
            raise MoverError(f"The format {self.format} is not known", remedy=f"Use one of {', '.join(ENDINGS)}.")
        self.compression = str(settings.get("compression") or "auto")
        self.folder = paths.resolve(
            str(settings.get("path") or "exports"),
            allowed=[str(folder) for folder in spec.get("allowed_folders") or ()],
            what="The folder",
        )
        self.engine = store.connect(
            ":memory:", limits=spec.get("limits") or {}, temp_folder=f"{spec.get('run_folder') or '.'}/spill"
        )
        store.show_progress(self.engine)
        try:
            os.makedirs(self.folder, exist_ok=True)
            file_journal.complete(self.folder)
        except OSError as error:
            raise self.explain(error, self.folder) from error

    def fraction(self) -> float:
        return store.fraction(self.engine)

    @staticmethod
    def explain(error: OSError, path: str) -> MoverError:
        if error.errno == 28:
            return failures.disk_full(f"to write {paths.shown(path)}")
        return MoverError(
            f"{paths.shown(path)} cannot be written",
            reason=f"{error.strerror or error}.",
            remedy="Check the loader's setting path, and that the user that jobs run as may write there.",
            code="store-unwritable",
            file=paths.shown(path),
        )

    def manifest(self, table: str) -> dict[str, Any] | None:
        """What counts in a stream's folder; None where nothing was ever committed."""
        return file_journal.read(os.path.join(self.folder, table, MANIFEST)) or None

    def has_table(self, table: str) -> bool:
        return self.manifest(table) is not None

    def stored(self, pipeline: str) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        for stream, load in file_journal.loads(self.folder).get(pipeline, {}).items():
            found[stream] = Stored("", load["epoch"], load["sequence"], load["job"], load["state"])
        for table in sorted(os.listdir(self.folder)):
            manifest = self.manifest(table) if os.path.isdir(os.path.join(self.folder, table)) else None
            if load := (manifest or {}).get("loads", {}).get(pipeline):
                found[load["stream"]] = Stored(table, load["epoch"], load["sequence"], load["job"], load["state"])
        return found

    @contextmanager
    def transaction(self) -> Iterator[FilesTransaction]:
        """Loads that count together. What they wrote is removed unless the block committed them."""
        transaction = FilesTransaction(self)
        try:
            yield transaction
        except duckdb.Error as error:
            raise failures.explain(error, doing=transaction.doing, stream=transaction.stream) from error
        except OSError as error:
            raise self.explain(error, transaction.folder) from error
        finally:
            if not transaction.is_committed:
                with suppress(OSError):  # the failure itself is what matters, and the next run tidies too
                    transaction.undo()

    def close(self, *, is_complete: bool) -> None:
        self.engine.close()


class FilesTransaction:
    """The loads of one transaction."""

    def __init__(self, writer: FilesWriter) -> None:
        self._writer = writer
        self._loads: list[FilesLoad] = []
        self._remembered: list[tuple[Load, int]] = []
        self.stream: str | None = None
        self.is_committed = False

    @property
    def doing(self) -> str:
        return f"write stream {self.stream}" if self.stream else "store the state"

    @property
    def folder(self) -> str:
        return self._loads[-1].folder if self._loads else self._writer.folder

    def load(self, target: Target) -> FilesLoad:
        self.stream = target.stream
        load = FilesLoad(self._writer, target)
        self._loads.append(load)
        return load

    def remember(self, load: Load, *, rows: int) -> None:
        self._remembered.append((load, rows))

    def commit(self) -> None:
        """From here on the new files count, and the states with them."""
        tables = [load.table for load in self._loads]
        loads = {load.stream: file_journal.loaded(load, rows=rows) for load, rows in self._remembered}
        pipeline = self._remembered[0][0].pipeline if self._remembered else ""
        file_journal.write(self._writer.folder, tables=tables, pipeline=pipeline, loads=loads)
        self.is_committed = True
        file_journal.complete(self._writer.folder)

    def undo(self) -> None:
        for load in self._loads:
            file_journal.tidy(load.folder)
