"""Counts the rows of a target's tables before and after a run, through the mover's verb count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobs.engine.interface import Connector, Failure
from jobs.engine.process import Child
from jobs.engine.steps.context import RunContext
from jobs.engine.steps.mover_process import MoverProcess
from jobs.engine.steps.verdict import APPENDS, Sent, missing_rows

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
            self._is_asked = True
            keys = {
                name: {"columns": facts["keys"], "samples": facts["samples"]}
                for name, facts in sent.items()
                if facts["keys"]
            }
            self._process.tell({"count": "after", "streams": list(sent), "keys": keys})
        return False

    def release(self) -> None:
        """Let go what waits for a count that will not come."""
        for stream in list(self._waiting):
            self._waiting.pop(stream)()

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
            if why := (self._after.get(stream) or {}).get("why"):
                self._context.write("eltsite", "warning", f"{stream}: the rows in the store were not counted: {why}")
        return first
