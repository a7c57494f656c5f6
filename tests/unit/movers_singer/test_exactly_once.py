"""Exactly once, whatever happens: messages in any order, the loader killed at any moment, taps that fail at any byte.

Every round resumes from what the loader says in `ready`. After each of them the rows that a reader sees are those of
the store's state, neither more nor fewer. SINGER_ROUNDS and SINGER_SEED ask for more rounds and others.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.engine.movers.file_journal import MANIFEST
from tests.unit.movers.conftest import ROOT, Workspace, events_of, to_files
from tests.unit.movers_singer.conftest import TAP, Store, data_files, loaded, record, schema, state

ROUNDS = int(os.environ.get("SINGER_ROUNDS", "2"))
SEED = os.environ.get("SINGER_SEED", "1")
STREAMS = ("orders", "clients", "visits")
# The real mover, but for that commits and flushes come so often that a small run has many of them.
MOVER = """
import os, signal, sys
from jobs.engine.movers import __main__, singer_batches, singer_load
singer_load.COMMIT_ROWS = 60
singer_load.FLUSH_ROWS = singer_batches.FLUSH_ROWS = 25
calls = int(os.environ.get("KILL_AT_CALL") or 0)
def counted(name):
    real = getattr(os, name)
    def call(*values, **more):
        global calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*values, **more)
    setattr(os, name, call)
if calls:
    for name in ("replace", "unlink", "fsync"):
        counted(name)
sys.exit(__main__.main())
"""


@dataclass
class Source:
    """A tap's source: each stream is a row of numbers. A state says how many of each were read."""

    dice: random.Random
    folder: Path
    batches: int = 0
    wide: set[str] = field(default_factory=set)  # streams whose schema has one more column in this run

    def messages(self, begin: dict[str, int], size: int) -> Iterator[str]:
        """A run's output; its last state covers all of it. Some runs begin with one, some tell the same one twice."""
        dice, at = self.dice, {name: begin.get(name, 0) for name in STREAMS}
        self.wide = set()
        seen: set[str] = set()
        if dice.random() < 0.3:
            yield state(**at)
        while size > 0:
            name = dice.choice(STREAMS)
            if name not in seen or dice.random() < 0.05:
                yield self._schema(name)
                seen.add(name)
            count = min(dice.choice((0, 1, 2, 10, 70)), size)
            yield from self._rows(name, at[name], count)
            at[name] += count
            size -= max(count, 1)
            if dice.random() < 0.3:
                yield state(**at)
            if dice.random() < 0.05:
                yield json.dumps({"type": "ACTIVATE_VERSION", "stream": name, "version": 1})
                if dice.random() < 0.5:
                    yield state(**at)
        yield state(**at)

    def _schema(self, name: str) -> str:
        properties: dict[str, Any] = {"id": {"type": "integer"}, "note": {"type": ["null", "string"]}}
        if self.dice.random() < 0.3:
            self.wide.add(name)
        if name in self.wide:
            properties["extra"] = {"type": ["null", "number"]}
        return schema(name, properties)

    def _rows(self, name: str, first: int, count: int) -> Iterator[str]:
        rows = [{"id": number, "note": f"{name} {number}"} for number in range(first, first + count)]
        if count < 2 or self.dice.random() > 0.2:
            yield from (record(name, version=1, **row) for row in rows)
            return
        self.batches += 1
        path = self.folder / f"batch-{self.batches}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        manifest = {"encoding": {"format": "jsonl"}, "manifest": [path.as_uri()], "version": 1}
        yield json.dumps({"type": "BATCH", "stream": name, **manifest})


@dataclass
class Run:
    """A loader that says `ready` before it is fed."""

    store: Store
    method: str
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Run:
        loader = self.store.loader(self.method)
        spec = self.store.place.spec(TAP, loader)
        spec.pop("streams")
        reading, self._writing = os.pipe()
        argv = [sys.executable, "-c", MOVER, "singer_load", "--folder", str(self.store.place.folder)]
        self._process = subprocess.Popen(
            [*argv, "--needs", loader["plugin"], "--spec-fd", str(reading)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TZ": "UTC", **self.environment},
            pass_fds=[reading],
        )
        os.close(reading)
        os.write(self._writing, json.dumps(spec).encode() + b"\n")
        self.events: list[dict[str, Any]] = []
        while not self.ready and (line := self._stdout.readline()):
            self.events += events_of(line.decode())
        return self

    @property
    def _stdout(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def ready(self) -> dict[str, Any]:
        return next((event for event in self.events if event["event"] == "ready"), {})

    @property
    def begin(self) -> dict[str, int]:
        return self.ready["state"].get("bookmarks") or {}

    def feed(self, output: bytes, extractor_exit: int | None, *, kill_after: float | None = None) -> int:
        """Write what the tap writes, and say how it ended; answers how the loader did."""
        assert self._process.stdin is not None
        killer = threading.Timer(kill_after or 0, self._process.send_signal, [signal.SIGKILL])
        if kill_after is not None:
            killer.start()
        # A full pipe of events would hold the loader up.
        listener = threading.Thread(target=self._listen)
        listener.start()
        with suppress(BrokenPipeError):
            self._process.stdin.write(output)
            self._process.stdin.flush()
            if extractor_exit is not None:
                os.write(self._writing, json.dumps({"extractor_exit": extractor_exit}).encode() + b"\n")
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        os.close(self._writing)
        self._writing = -1
        code = self._process.wait(60)
        killer.cancel()
        listener.join()
        return code

    def _listen(self) -> None:
        for line in self._stdout:
            self.events += events_of(line.decode())

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._writing >= 0:
            os.close(self._writing)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._stdout.close()


def check(store: Store, begin: dict[str, int], where: str) -> None:
    """The rows that a reader sees are those of the state."""
    for name in STREAMS:
        wanted = begin.get(name, 0)
        counts = "count(*), count(DISTINCT id), coalesce(max(id) + 1, 0)"
        found = store.rows(name, counts) if has_table(store, name) else []
        assert found == [(wanted, wanted, wanted)] or (not wanted and not found), (where, name, wanted, found)
        if store.kind == "files" and found:
            folder = store.place.folder / "exports" / name
            named = {path.name for path in data_files(folder)}
            assert named == {path.name for path in folder.glob("[!.]*")} - {MANIFEST}, (where, name)


def has_table(store: Store, name: str) -> bool:
    if store.kind == "files":
        return (store.place.folder / "exports" / name / MANIFEST).exists()
    catalog = "information_schema.tables WHERE table_schema = 'shop' AND table_name"
    sql = f"SELECT count(*) FROM {catalog} = '{name}'"
    assert store.server is not None or store.kind == "duckdb"
    return bool((store.place.query(sql) if store.kind == "duckdb" else store.server.run(sql))[0][0])  # type: ignore[union-attr]


def resumed(store: Store, method: str, where: str) -> dict[str, int]:
    """Where the next run would begin; the store is closed again, and holds what belongs to it."""
    with Run(store, method) as run:
        assert run.ready, (where, run.events)
        assert run.feed(b"", 0) == 0, (where, run.events)
        begin = run.begin
    check(store, begin, where)
    return begin


@pytest.mark.parametrize("method", ["append", "merge"])
def test_each_row_is_there_exactly_once_after_kills_and_failing_taps(store: Store, method: str):
    dice = random.Random(f"{store.kind} {method} {SEED}")
    source = Source(dice, store.place.files)
    for number in range(ROUNDS):
        fate = dice.choice(("killed", "killed", "killed", "tap failed", "supervisor gone", "well"))
        where = f"round {number}, {fate}"
        with Run(store, method) as run:
            assert run.ready, (where, run.events)
            output = "".join(line + "\n" for line in source.messages(run.begin, dice.randrange(1, 800))).encode()
            if fate == "killed":
                run.feed(output, 0, kill_after=dice.random() * 0.5)
            elif fate == "well":
                assert run.feed(output, 0) == 0, (where, run.events)
            else:
                cut = output[: dice.randrange(len(output) + 1)]
                assert run.feed(cut, 1 if fate == "tap failed" else None) == 0, (where, run.events)
                assert run.events[-1]["incomplete"] is True, where
        resumed(store, method, where)


def test_files_are_whole_whichever_step_of_a_commit_is_the_last(place: Workspace):
    """A kill before each single renaming, removal and flush to the disk."""
    store, names = Store("files", place, None), STREAMS[:2]
    first = [*(schema(name) for name in names), *(record(name, id=0) for name in names)]
    loaded(place, to_files("merge"), [*first, state(**dict.fromkeys(names, 1))])
    at, call, code = 1, 0, -9
    while code:
        call += 1
        with Run(store, "merge", {"KILL_AT_CALL": str(call)}) as run:
            lines = [*(schema(name) for name in names), *(record(name, id=at) for name in names)]
            output = "\n".join([*lines, state(**dict.fromkeys(names, at + 1))]).encode()
            code = run.feed(output, 0) if run.ready else -9
        begin = resumed(store, "merge", f"call {call}")
        assert begin["orders"] in (at, at + 1)
        at = begin["orders"]
    assert call > 10
