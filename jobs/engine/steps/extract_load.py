"""A pair of which at least one end is a Singer program: tap and target, tap and our loader, our extractor and target.

How the ends are joined:
  tap | relay | target      the relay (movers/relay.py) passes large blocks on and counts
  tap | our loader          one pipe; the loader counts, and the tap starts when it has said where to begin
  our extractor | relay | target
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.engine.interface import Connector, ExtractLoadStep, Failure
from jobs.engine.process import Child, exit_code_of
from jobs.engine.steps.context import RunContext
from jobs.engine.steps.counting import Counter
from jobs.engine.steps.mover_process import MoverProcess
from jobs.engine.steps.programs import (
    CannotStart,
    Program,
    failure_of,
    private_file,
    selection_arguments,
    start_connector,
)
from jobs.engine.steps.verdict import Ended, first_failure

LINGER_SECONDS = 5.0  # what an ended extractor started may still hold its pipe open for
KILL_SECONDS = 10.0  # between TERM and KILL for the side whose other side failed
SAVE_SECONDS = 1.0  # between two saves of a target's state


class ExtractLoadRunner:
    """Starts the pair, ends one side when the other has failed, and says which was the cause."""

    def __init__(self, step: ExtractLoadStep, context: RunContext) -> None:
        self._step = step
        self._context = context
        self._tap: Program | None = None
        self._target: Program | None = None
        self._source: MoverProcess | None = None  # our extractor
        self._store: MoverProcess | None = None  # our loader
        self._relay: MoverProcess | None = None
        self._counter: Counter | None = None
        self._waiting: int | None = None  # the writing end of the pipe that the tap is to get
        self._held: int | None = None  # the reading end of the pipe that the target is to get
        self._start_failure: Failure | None = None
        self._ended_at: dict[str, float] = {}
        self._told_exit = False
        self._state: dict[str, Any] | None = None  # the last one the target printed
        self._sequence = step.sequence
        self._saved_at = 0.0
        self._is_saved = True
        self._asked_at: dict[str, float] = {}  # when a side was asked to end
        self.is_said = False

    # ---------- starting ----------

    @property
    def children(self) -> Sequence[Child]:
        """Extractor, loader, and what stands between them."""
        found = [self._tap, self._source, self._target, self._store, self._relay, self._counter]
        return [each.child for each in found if each is not None and each.child is not None]

    def start(self) -> None:
        """Start all sides, but for a tap whose loader is ours: that begins when the loader is ready."""
        step = self._step
        try:
            if step.loader is None:
                self._start_store()
            elif step.extractor is None:
                self._start_target(step.loader, self._start_source)
            else:
                tap = step.extractor
                self._start_target(step.loader, lambda writing: self._start_tap(tap, writing, step.state))
        except CannotStart as error:
            self._start_failure = error.failure
            self._end_all()

    def _start_store(self) -> None:
        reading, self._waiting = os.pipe()
        spec = {**self._step.mover, "state": self._step.state, "epoch": self._step.epoch}
        spec |= {"sequence": self._step.sequence, "full_refresh": self._step.full_refresh}
        try:
            self._store = MoverProcess(
                self._context, "singer_load", spec, name="loader", stdin=reading, on_event=self._on_store_event
            )
        finally:
            os.close(reading)

    def _start_target(self, loader: Connector, start_extractor: Any) -> None:
        context = self._context
        tap_reading, tap_writing = os.pipe()
        target_reading, target_writing = os.pipe()
        try:
            if loader.store:
                self._counter = Counter(context, loader, self._step.mover)
            self._held = os.dup(target_reading)
            self._start_held_target()
            relay_spec = {
                "gate": self._counter is not None,
                "keys": self._counter is not None and self._counter.wants_keys,
            }
            self._relay = MoverProcess(
                context,
                "relay",
                relay_spec,
                name="relay",
                stdin=tap_reading,
                stdout=target_writing,
                on_event=self._on_relay_event,
            )
            start_extractor(tap_writing)
        finally:
            for end in (tap_reading, tap_writing, target_reading, target_writing):
                os.close(end)

    def _start_held_target(self) -> None:
        """Start the target, unless the counter still has its store open: then it is tried again a moment later."""
        loader = self._step.loader
        if self._held is None or loader is None or (self._counter is not None and self._counter.is_in_the_way):
            return
        reading, self._held = self._held, None
        try:
            self._target = start_connector(self._context, loader, [], stdin=reading, on_stdout=self._on_target_line)
        finally:
            os.close(reading)

    def _start_source(self, writing: int) -> None:
        spec = {**self._step.mover, "state": self._step.state, "full_refresh": self._step.full_refresh}
        if self._step.loader is not None:
            spec["store"] = dict(self._step.loader.store)  # one that only grows is not sent a row again
        self._source = MoverProcess(
            self._context, "singer_tap", spec, name="extractor", stdout=writing, on_event=self._on_source_event
        )

    def _start_tap(self, tap: Connector, writing: int, state: Mapping[str, Any]) -> None:
        arguments, _ = selection_arguments(self._context, tap, self._step.catalog)
        if state and not self._step.full_refresh and "state" in tap.capabilities:
            arguments += ["--state", private_file(self._context, "state.json", state)]
        self._tap = start_connector(self._context, tap, arguments, stdout=writing)

    # ---------- what the sides say ----------

    def _on_store_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "ready":
            self._start_waiting_tap(event["state"])
        elif kind == "state":
            self._context.state.save(state=event["state"], epoch=event["epoch"], sequence=event["sequence"])
        else:
            self._context.control.progress({"event": kind, **event})

    def _start_waiting_tap(self, state: Mapping[str, Any]) -> None:
        writing, self._waiting = self._waiting, None
        if writing is None or self._step.extractor is None:
            return
        try:
            self._start_tap(self._step.extractor, writing, state)
        except CannotStart as error:
            self._start_failure = error.failure
            self._end_all()
        finally:
            os.close(writing)

    def _on_source_event(self, kind: str, event: dict[str, Any]) -> None:
        """What the relay counts is the truth about rows; ours tells the rest."""
        if kind not in ("stream", "result"):
            self._context.control.progress({"event": kind, **event})

    def _on_relay_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "schema" and self._relay is not None:
            relay = self._relay
            if self._counter is None:
                relay.tell({"go": True})
            else:
                self._counter.before(event["stream"], then=lambda: relay.tell({"go": True}))
        elif kind == "stream":
            self._context.control.progress({"event": kind, "mode": "singer", "done": False, **event})

    def _on_target_line(self, line: str) -> None:
        """A target prints each state whose rows it has stored."""
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            self._state = value.get("value", value) if value.get("type") == "STATE" else value
            self._is_saved = False
        elif line.strip() and self._step.loader is not None:
            self._context.write(self._step.loader.plugin, "info", line)

    # ---------- while they work ----------

    def tick(self) -> bool:
        """End a side whose other side is gone; over when nothing of the pair runs any more."""
        now = time.monotonic()
        self._note_ends(now)
        if self._counter is not None and self._counter.has_ended:
            self._counter.release()
        if self._start_failure is None:
            self._try_held_target()
            self._tell_store()
            self._end_the_other(now)
            self._end_lingering(now)
            if not self._is_saved and now - self._saved_at >= SAVE_SECONDS:
                self._save(is_partial=True)
        pair = [child for child in self.children if self._counter is None or child is not self._counter.child]
        if self._held is not None or not self._context.processes.is_done(pair):
            return False
        return self._counter is None or self._counter.finish(self._sent() if self._is_well() else None)

    def close(self) -> None:
        """The pipes we speak on, whatever happened."""
        self._drop_waiting()
        for mover in (self._store, self._source, self._relay, self._counter):
            if mover is not None:
                mover.hang_up()

    def _note_ends(self, now: float) -> None:
        for child in self.children:
            if child.poll():
                self._ended_at.setdefault(child.name, child.ended or now)

    def _try_held_target(self) -> None:
        try:
            self._start_held_target()
        except CannotStart as error:
            self._start_failure = error.failure
            self._end_all()

    def _tell_store(self) -> None:
        """Our loader commits the rest only when it hears that the extractor ended well."""
        if self._store is None or self._told_exit:
            return
        if self._store.has_ended:
            self._drop_waiting()
        elif self._tap is not None and self._tap.has_ended:
            self._told_exit = True
            self._store.tell({"extractor_exit": self._tap.exit_code})

    def _drop_waiting(self) -> None:
        for end in (self._waiting, self._held):
            if end is not None:
                os.close(end)
        self._waiting = self._held = None

    def _end_the_other(self, now: float) -> None:
        """A side that ended before its time, or failed, ends the other: it could wait for its source for hours."""
        loader, extractor = self._target or self._store, self._tap or self._source
        between = self._relay
        gone = (loader is not None and loader.has_ended) or (between is not None and between.has_ended)
        if gone and extractor is not None and not extractor.has_ended:
            self._ask_to_end(extractor, now)

    def _ask_to_end(self, side: Program | MoverProcess, now: float) -> None:
        asked = self._asked_at.get(side.child.name)
        if asked is None:
            self._asked_at[side.child.name] = now
            side.child.was_ended = True
            side.child.signal(signal.SIGTERM)
        elif now - asked > KILL_SECONDS:
            side.child.signal(signal.SIGKILL)

    def _end_lingering(self, now: float) -> None:
        """What an ended extractor has started may hold its pipe open: then nobody would ever see the end of it."""
        extractor, reader = self._tap or self._source, self._relay or self._store
        if extractor is None or reader is None or not extractor.has_ended or reader.has_ended:
            return
        ended = self._ended_at.get(extractor.child.name, now)
        if now - ended > LINGER_SECONDS and not self._asked_at.get("lingering"):
            self._asked_at["lingering"] = now
            if extractor.child.signal(signal.SIGKILL):
                name = extractor.child.name
                self._context.write("eltsite", "warning", f"What {name} had started outlived it and was killed.")

    def _end_all(self) -> None:
        self._drop_waiting()
        for child in self.children:
            child.signal(signal.SIGKILL)

    # ---------- the end ----------

    def _is_well(self) -> bool:
        ended = [child.returncode for child in self.children if child.returncode is not None]
        return self._start_failure is None and not any(ended)

    def _sent(self) -> dict[str, Any]:
        return dict((self._relay.result if self._relay else {}).get("streams") or {})

    def judge(self) -> Failure | None:
        """The failure that caused the others; else whether all rows are there, and then the state is final."""
        failure = self._start_failure or self._cause()
        if self._step.loader is None:
            return self._said(failure)
        if failure is None and self._counter is not None:
            failure = self._counter.compare(self._sent())
            if failure is not None:
                self._roll_back()
                return self._said(failure)
        if failure is None:
            self._finish_streams()
        if self._state is not None:
            self._save(is_partial=failure is not None)
        elif failure is None and self._tap is not None and "state" in self._tap.connector.capabilities:
            self._context.write(
                "eltsite", "info", f"{self._tap.connector.plugin} wrote no state: the next run begins as this one did."
            )
        return self._said(failure)

    def _said(self, failure: Failure | None) -> Failure | None:
        """A mover writes its own error into the log; the others' are written by the executor."""
        movers = [mover for mover in (self._store, self._source, self._relay) if mover is not None]
        self.is_said = failure is not None and any(mover.failure is failure for mover in movers)
        return failure

    def _cause(self) -> Failure | None:
        extractor = self._ended(self._tap or self._source, doing="read its source")
        loader = self._ended(self._target or self._store, doing="store what it was given")
        if extractor is None or loader is None:
            return loader.failure if loader else extractor.failure if extractor else None
        relay = self._relay.judge() if self._relay is not None and not self._relay.is_silent else None
        if self._is_cut() and loader.exit_code == 0:
            return _stopped_reading(self._step.loader)  # not everything was passed on, though nobody refused anything
        failure = first_failure(extractor, loader, relay)
        # Both may have ended well though what stands between them did not even start: then nothing was passed on.
        return failure or (self._relay.judge() if self._relay is not None else None)

    def _is_cut(self) -> bool:
        """Whether the loader ended while there was still something to read. Their times do not tell: both ends may be
        seen in one look. A relay that had nobody to write to ends with 1 and says nothing."""
        if self._relay is not None:
            return self._relay.is_silent and self._relay.child.returncode == 1
        return not self._told_exit

    def _ended(self, side: Program | MoverProcess | None, *, doing: str) -> Ended | None:
        if side is None:
            return None
        is_first = side in (self._target, self._store) and self._is_cut()
        code = exit_code_of(side.child.returncode or 0)
        if isinstance(side, MoverProcess):
            failure = side.judge()
            return Ended(code or (1 if failure else 0), failure, side.child.was_ended, is_first)
        return Ended(code, failure_of(side, doing=doing) if code else None, side.child.was_ended, is_first)

    def _finish_streams(self) -> None:
        verified = self._counter.verified if self._counter is not None else {}
        can_count = self._counter is not None
        for name, facts in self._sent().items():
            event = {"event": "stream", "stream": name, "rows_read": facts["records"], "rows_written": facts["records"]}
            counted = {"verified": verified.get(name), "can_count": can_count}
            self._context.control.progress({**event, "done": True, "mode": "singer", **counted})

    def _save(self, *, is_partial: bool) -> None:
        self._is_saved, self._saved_at = True, time.monotonic()
        self._sequence += 1
        self._context.state.save(
            state=self._state or {}, epoch=self._step.epoch, sequence=self._sequence, is_partial=is_partial
        )

    def _roll_back(self) -> None:
        """Rows are missing: the state must not say that they are there."""
        self._state = dict(self._step.state)
        if self._sequence != self._step.sequence:
            self._save(is_partial=False)


def _stopped_reading(loader: Connector | None) -> Failure:
    name = loader.plugin if loader else "The loader"
    return Failure(
        f"{name} stopped reading before the extractor was done",
        reason="It ended with exit code 0 while rows were still coming, so some of them are not stored.",
        remedy="Look at its last lines in the log; use another version of it if it does so again.",
        details={"code": "target-ended-early"},
    )
