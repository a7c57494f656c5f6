"""Counts the rows of a target's tables before and after a run, through the mover's verb count."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from jobs.engine.interface import Connector, Failure
from jobs.engine.process import Child, exit_code_of
from jobs.engine.steps.context import RunContext
from jobs.engine.steps.mover_process import MoverProcess
from jobs.engine.steps.verdict import APPENDS, Sent, missing_rows

BEFORE_SECONDS = 60.0  # the longest that a target waits for a count before the run
AFTER_SECONDS = 600.0  # the longest that a run waits for the counts after it
EXCLUSIVE = ("duckdb",)  # kinds of stores that nobody else may have open while they are written


class Counter:
    """One counting mover for the whole run: started beside the target, so that its own start costs no time."""

    def __init__(self, context: RunContext, loader: Connector, mover: Mapping[str, Any]) -> None:
        self._context = context
        self._loader = loader
        self._kind = str(loader.store.get("kind") or "")
        end = {"plugin": loader.plugin, "name": loader.name, "settings": dict(loader.config)}
        spec = {**mover, "extractor": None, "loader": end, "store": dict(loader.store)}
        self._process = MoverProcess(context, "count", spec, name="count", on_event=self._on_event)
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}
        self._waiting: dict[str, Callable[[], None]] = {}
        self._is_asked = self._is_answered = self._is_there = False
        self._since = time.monotonic()  # when it was last asked for something
        self._is_given_up = False
        self.verified: dict[str, bool | None] = {}

    @property
    def child(self) -> Child:
        """Its process."""
        return self._process.child

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.has_ended

    def hang_up(self) -> None:
        """Nothing more will be asked."""
        self._process.hang_up()

    @property
    def is_in_the_way(self) -> bool:
        """Whether the target must wait: nobody can write a DuckDB file while it is read."""
        return self._kind in EXCLUSIVE and not self._is_there and not self._process.has_ended

    @property
    def wants_keys(self) -> bool:
        """Whether rows are told apart by their keys: a store that only grows needs none."""
        return self._kind not in APPENDS

    def before(self, stream: str, *, then: Callable[[], None]) -> None:
        """Count a stream's table, then go on. A counter that has ended counts nothing, and holds nothing up."""
        if self._process.has_ended:
            then()
            return
        self._waiting[stream] = then
        self._since = time.monotonic()
        self._process.tell({"count": "before", "streams": [stream]})

    def _on_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind != "counted":
            return
        tables = event.get("tables") or {}
        self._is_there = True  # what it read at its start is closed again
        if event.get("when") == "before":
            for stream, facts in tables.items():
                self._before[stream] = facts
                if then := self._waiting.pop(stream, None):
                    then()
        elif event.get("when") == "after":
            self._after, self._is_answered = tables, True

    def finish(self, sent: Mapping[str, Mapping[str, Any]] | None) -> bool:
        """Ask for the counts after the run (None: it failed, and nothing is to be compared); True when all is known."""
        if self._process.has_ended:
            return self._context.processes.is_done([self.child])
        if sent is None or self._is_answered:
            self._process.hang_up()
        elif not self._is_asked:
            self._is_asked, self._since = True, time.monotonic()
            keys = {
                name: {"columns": facts["keys"], "samples": facts["samples"]}
                for name, facts in sent.items()
                if facts["keys"]
            }
            self._process.tell({"count": "after", "streams": list(sent), "keys": keys})
        return False

    def tick(self, now: float) -> None:
        """Neither a counter that is gone nor one that takes too long holds the run up: then nothing is verified."""
        if self._process.has_ended:
            for stream in list(self._waiting):
                self._waiting.pop(stream)()
            if not self._is_answered and self._process.child.returncode and not self._is_given_up:
                self._give_up(
                    f"the process that counts ended with exit code {exit_code_of(self.child.returncode or 0)}"
                )
            return
        limit = self._limit()
        if limit is not None and now - self._since > limit and not self._is_given_up:
            self._give_up(f"that took longer than {limit:.0f} s")
            self.child.signal(signal.SIGKILL)

    def _limit(self) -> float | None:
        """For how long may be waited for what is waited for; None where nothing is."""
        if self._is_asked and not self._is_answered:
            return AFTER_SECONDS
        return BEFORE_SECONDS if self._waiting or not self._is_there else None

    def _give_up(self, why: str) -> None:
        self._is_given_up = self.child.was_ended = True
        text = f"The rows in the store of {self._loader.plugin} were not counted: {why}. This run is not verified."
        self._context.write("eltsite", "warning", text)

    def compare(self, sent: Mapping[str, Mapping[str, Any]]) -> Failure | None:
        """The first stream whose rows are not all there; notes what was verified."""
        first: Failure | None = None
        for stream, facts in sent.items():
            what = Sent(facts["records"], facts["keys"], facts["distinct"], facts["samples"])
            verified, failure = missing_rows(
                stream,
                what,
                self._before.get(stream) or {},
                self._after.get(stream) or {},
                kind=self._kind,
                loader=self._loader.plugin,
            )
            self.verified[stream] = verified
            first = first or failure
            counts = (self._after.get(stream) or {}, self._before.get(stream) or {})
            if why := next((facts["why"] for facts in counts if facts.get("why")), ""):
                self._context.write("eltsite", "warning", f"{stream}: the rows in the store were not counted: {why}")
        return first
