"""The verb move: joins one reader to one writer, stream by stream, and says how it goes.

For each stream: 1. take the newer bookmark, the store's or ours; 2. find out what there is to read; 3. in one
transaction write the rows and the new bookmark; 4. only then say so.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.engine.movers import resuming, tables
from jobs.engine.movers.ports import ALL_STREAMS, Counts, GuessFailed, Load, Reader, Source, Stream, Target, Writer
from jobs.engine.movers.progress import Progress
from jobs.engine.movers.protocol import MoverError, emit, log

READERS = {
    "tap-files": ("jobs.engine.movers.files", "FilesReader"),
    "tap-sql": ("jobs.engine.movers.sql_postgres", "PostgresReader"),
    "tap-sql:postgresql": ("jobs.engine.movers.sql_postgres", "PostgresReader"),
    "tap-sql:sqlite": ("jobs.engine.movers.sql_sqlite", "SqliteReader"),
}
WRITERS = {
    "target-duckdb": ("jobs.engine.movers.duckdb_writer", "DuckDBWriter"),
    "target-postgres": ("jobs.engine.movers.postgres_writer", "PostgresWriter"),
    "target-files": ("jobs.engine.movers.file_sets", "FilesWriter"),
}
METHODS = ("append", "replace", "merge")


def prepare(needs: Sequence[str]) -> None:
    """Import what a pair of plugins needs, and no more: done while the interpreter's folder can be read."""
    for need in needs:
        found = {**READERS, **WRITERS}.get(need)
        if found:
            importlib.import_module(found[0])


def need_of(end: Mapping[str, Any]) -> str:
    """The word by which `prepare` knows an end: the plugin, with its dialect where it has one."""
    dialect = (end.get("settings") or {}).get("dialect")
    return f"{end['plugin']}:{dialect}" if dialect else str(end["plugin"])


def _made(known: Mapping[str, tuple[str, str]], end: Mapping[str, Any], spec: Mapping[str, Any], what: str) -> Any:
    found = known.get(need_of(end))
    if found is None:
        raise MoverError(
            f"The {what} {need_of(end)} is not known here",
            remedy=f"Use one of {', '.join(known)}.",
            code="plugin-unknown",
        )
    return getattr(importlib.import_module(found[0]), found[1])(spec)


def make_reader(spec: Mapping[str, Any]) -> Reader:
    """The extractor of a specification. Raises MoverError (plugin-unknown) for one that is not ours."""
    reader: Reader = _made(READERS, spec["extractor"], spec, "extractor")
    return reader


def make_writer(spec: Mapping[str, Any]) -> Writer:
    """The loader of a specification."""
    writer: Writer = _made(WRITERS, spec["loader"], spec, "loader")
    return writer


def load_method(settings: Mapping[str, Any]) -> str:
    """A loader's setting load_method."""
    method = str(settings.get("load_method") or "append")
    if method not in METHODS:
        raise MoverError(f"The load method {method} is not known", remedy=f"Use one of {', '.join(METHODS)}.")
    return method


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Load all streams of a pipeline. The state of those that are committed is said before a later one fails."""
    reader = make_reader(spec)
    targets = _targets(reader.streams(), spec)
    writer = make_writer(spec)
    is_complete = False
    try:
        move = Move(spec, reader, writer)
        for stream, target in targets:
            move.load(stream, target)
        is_complete = True
    finally:
        writer.close(is_complete=is_complete)
    return {"streams": len(targets), "rows": move.rows}


def wanted_of(spec: Mapping[str, Any], names: Sequence[str]) -> Sequence[str] | None:
    """The streams a specification names; None for all. Raises MoverError for one the extractor does not have."""
    wanted: Sequence[str] | None = spec.get("streams")
    for name in wanted or ():
        if name not in names:
            raise MoverError(
                f"There is no stream {name}", remedy=f"The extractor has {', '.join(names)}.", code="stream-missing"
            )
    return wanted


def _targets(streams: Sequence[Stream], spec: Mapping[str, Any]) -> list[tuple[Stream, Target]]:
    """Where each wanted stream goes. Two streams of one table are refused."""
    settings = spec["loader"]["settings"]
    method = load_method(settings)
    allow_text = bool(spec["extractor"]["settings"].get("allow_text_widening"))
    wanted = wanted_of(spec, [stream.name for stream in streams])
    targets: list[tuple[Stream, Target]] = []
    taken: dict[str, str] = {}
    for stream in streams:
        table = tables.table_name(stream.name)
        if not table or table in taken or table.startswith("_eltsite"):
            raise bad_name(stream.name, table, taken.get(table))
        taken[table] = stream.name
        verify = str(settings.get("verify") or "auto")
        target = Target(stream.name, table, method, tuple(stream.primary_keys), allow_text, verify)
        if wanted is None or stream.name in wanted:
            targets.append((stream, target))
    if not targets:
        raise MoverError("There is no stream to load", remedy="Add one to the extractor's settings.", code="no-streams")
    return targets


def bad_name(stream: str, table: str, other: str | None) -> MoverError:
    """A stream whose name makes no table of its own."""
    if other is not None:
        reason = f"The streams {other} and {stream} would both be table {table}."
    else:
        reason = "Names that begin with _eltsite are ours." if table else "It is empty."
    return MoverError(
        f"The stream name {stream or '(none)'} cannot be used",
        reason=reason,
        remedy="Give the stream another name.",
        code="stream-name",
        stream=stream or None,
    )


class Move:
    """One run: what the store remembers, and where the state stands."""

    def __init__(self, spec: Mapping[str, Any], reader: Reader, writer: Writer) -> None:
        self._spec = spec
        self._reader = reader
        self._writer = writer
        begins = resuming.beginning(spec, writer.stored(str(spec["pipeline"])))
        self._bookmarks = resuming.bookmarks(begins.state)
        self._epoch, self._sequence = begins.epoch, begins.sequence
        self._newer = begins.newer
        self.rows = 0

    def load(self, stream: Stream, target: Target) -> None:
        """Load one stream: once more with care where the first rows misled about the types."""
        bookmark = self._bookmark(stream, target)
        if self._spec.get("full_refresh") and target.method == "append":
            # All is read again: added to the table it would be there twice.
            target = Target(**{**vars(target), "method": "replace"})
        started = time.monotonic()
        progress = Progress(stream.name, target.table, target.method, self._writer)
        with progress:
            try:
                self._attempt(stream, target, bookmark, progress, careful=False)
            except GuessFailed as failed:
                log(f"{stream.name}: later rows of {failed} are of another type than the first; looking at all of them")
                progress.restart()
                self._attempt(stream, target, bookmark, progress, careful=True)
        self._say(stream, progress.counts, time.monotonic() - started)

    def _bookmark(self, stream: Stream, target: Target) -> dict[str, Any]:
        """Where to go on. A table that is gone is loaded from the start."""
        bookmark = dict(self._bookmarks.get(stream.name) or {})
        stored = self._newer.get(stream.name) or self._newer.get(ALL_STREAMS)
        if self._spec.get("full_refresh"):
            log(f"{stream.name}: full refresh, the stored state is not used")
            return {}
        if bookmark and not self._writer.has_table(target.table):
            log(f"{stream.name}: table {target.table} does not exist, so the stored state is not used", level="warning")
            return {}
        if stored:
            log(f"{stream.name}: the store knows a newer state than ours, from job {stored.job}; going on from there")
        return bookmark

    def _attempt(
        self, stream: Stream, target: Target, bookmark: Mapping[str, Any], progress: Progress, *, careful: bool
    ) -> None:
        engine = (
            None if self._writer.takes_copy and self._spec["extractor"]["plugin"] == "tap-sql" else self._writer.engine
        )
        with self._reader.open(
            stream, engine=engine, bookmark=bookmark, method=target.method, careful=careful
        ) as source:
            if source.nothing_new:
                return
            if not source.columns:
                log(f"{stream.name}: nothing was read, for no file holds anything", level="warning")
                return
            self._commit(stream, target, source, progress)

    def _commit(self, stream: Stream, target: Target, source: Source, progress: Progress) -> None:
        if target.method == "append" and source.is_full and self._writer.has_table(target.table):
            log(
                f"{stream.name}: append adds all rows again; replace, merge or incremental reading would not",
                level="warning",
            )
        files = [part.file for part in source.parts if part.file is not None] if source.by_file else []
        with self._writer.transaction() as transaction:
            load = transaction.load(target)
            load.prepare(source.columns, replaced_files=files)
            progress.watch(load.counts, source.parts)
            for part in source.parts:
                progress.part_begun(part)
                load.write(part)
                progress.part_done(part)
            state = {**source.bookmark}
            load.settle(
                Load(
                    pipeline=str(self._spec["pipeline"]),
                    stream=stream.name,
                    table=target.table,
                    job=str(self._spec["job"]),
                    attempt=int(self._spec.get("attempt") or 0),
                    epoch=self._epoch,
                    sequence=self._sequence + 1,
                    state=state,
                )
            )
            transaction.commit()
        self._sequence += 1
        self._bookmarks[stream.name] = state
        emit("state", state={"bookmarks": self._bookmarks}, epoch=self._epoch, sequence=self._sequence)

    def _say(self, stream: Stream, counts: Counts, seconds: float) -> None:
        self.rows += counts.written
        changes = ", ".join(
            f"{number:,} {word}"
            for number, word in ((counts.updated, "updated"), (counts.deleted, "removed"))
            if number
        )
        rate = f" ({counts.read / seconds:,.0f} rows/s)" if counts.read and seconds > 0 else ""
        log(
            f"{stream.name}: {counts.read:,} rows read, {counts.inserted:,} inserted{', ' if changes else ''}{changes}"
            f" in {seconds:.1f} s{rate}"
        )
