"""A pair of which at least one end is a Singer program: tap and target, tap and our loader, our extractor and target.

How the ends are joined:
  tap | relay | target      the relay (movers/relay.py) passes large blocks on and counts
  tap | our loader          one pipe; the loader counts, and the tap starts when it has said where to begin
  our extractor | relay | target
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.engine.interface import Connector, ExtractLoadStep, Failure, StopRequest
from jobs.engine.process import Child, exit_code_of
from jobs.engine.steps.context import CannotStart, RunContext, not_started
from jobs.engine.steps.counting import Counter
from jobs.engine.steps.mover_process import MoverProcess
from jobs.engine.steps.pair_ends import PairEnds
from jobs.engine.steps.programs import Program, failure_of, private_file, selection_arguments, start_connector
from jobs.engine.steps.target_state import TargetState
from jobs.engine.steps.verdict import Ended, first_failure

OWN_END_SECONDS = 30.0  # what an extractor may still do after it has closed its output
RESULT_SECONDS = 2.0  # in which the relay says that it came to its end, after the target has seen that end


class ExtractLoadRunner:
    """Starts the pair, ends one side when the other has failed, and says which was the cause."""

    def __init__(self, step: ExtractLoadStep, context: RunContext) -> None:
        self._step = step
        self._context = context
        self._extractor: Program | MoverProcess | None = None
        self._loader: Program | MoverProcess | None = None
        self._relay: MoverProcess | None = None
        self._counter: Counter | None = None
        self._ends = PairEnds(context)
        self._state = TargetState(step, context)
        self._waiting: int | None = None  # the writing end of the pipe that the tap is to get
        self._held: int | None = None  # the reading end of the pipe that the target is to get
        self._start_failure: Failure | None = None
        self._told_exit = False
        self._is_stopping = False
        self.is_said = False

    # ---------- starting ----------

    @property
    def children(self) -> Sequence[Child]:
        """Extractor, loader, and what stands between them."""
        beside = [self._counter.child] if self._counter is not None else []
        return [*self._pair, *beside]

    @property
    def _pair(self) -> list[Child]:
        return [side.child for side in (self._extractor, self._loader, self._relay) if side is not None]

    def start(self) -> None:
        """Start all sides, but for a tap whose loader is ours: that begins when the loader is ready."""
        step = self._step
        with self._starting():
            if step.loader is None:
                self._start_our_loader()
            elif step.extractor is None:
                self._start_target(step.loader, self._start_our_extractor)
            else:
                tap = step.extractor
                self._start_target(step.loader, lambda writing: self._start_tap(tap, writing, step.state))

    @contextlib.contextmanager
    def _starting(self) -> Any:
        """What cannot be started is the step's failure, and ends what has started."""
        try:
            yield
        except (CannotStart, OSError) as error:
            why = error if isinstance(error, CannotStart) else not_started("The pair", error)
            self._start_failure = why.failure
            self._let_go()
            self._ends.kill_all(self.children)

    def _start_our_loader(self) -> None:
        step = self._step
        spec = {**step.mover, "state": step.state, "epoch": step.epoch}
        spec |= {"sequence": step.sequence, "full_refresh": step.full_refresh}
        with _pipes(1) as [(reading, writing)]:
            self._waiting = os.dup(writing)
            self._loader = MoverProcess(
                self._context, "singer_load", spec, name="loader", stdin=reading, on_event=self._on_loader_event
            )

    def _start_target(self, target: Connector, start_extractor: Callable[[int], None]) -> None:
        with _pipes(2) as [(tap_reading, tap_writing), (target_reading, target_writing)]:
            if target.store:
                self._counter = Counter(self._context, target, self._step.mover)
            self._held = os.dup(target_reading)
            self._start_held_target()
            wants_keys = self._counter is not None and self._counter.wants_keys
            self._relay = MoverProcess(
                self._context,
                "relay",
                {"gate": self._counter is not None, "keys": wants_keys},
                name="relay",
                stdin=tap_reading,
                stdout=target_writing,
                on_event=self._on_relay_event,
            )
            start_extractor(tap_writing)

    def _start_held_target(self) -> None:
        """Start the target, unless the counter still has its store open: then it is tried again a moment later."""
        target = self._step.loader
        if self._held is None or target is None or (self._counter is not None and self._counter.is_in_the_way):
            return
        reading, self._held = self._held, None
        try:
            self._loader = start_connector(self._context, target, [], stdin=reading, on_stdout=self._on_target_line)
        finally:
            os.close(reading)

    def _start_our_extractor(self, writing: int) -> None:
        spec = {**self._step.mover, "state": self._step.state, "full_refresh": self._step.full_refresh}
        if self._step.loader is not None:
            spec["store"] = dict(self._step.loader.store)  # one that only grows is not sent a row again
        self._extractor = MoverProcess(
            self._context, "singer_tap", spec, name="extractor", stdout=writing, on_event=self._on_extractor_event
        )

    def _start_tap(self, tap: Connector, writing: int, state: Mapping[str, Any]) -> None:
        arguments, _ = selection_arguments(self._context, tap, self._step.catalog)
        if state and not self._step.full_refresh and "state" in tap.capabilities:
            arguments += ["--state", private_file(self._context, "state.json", state)]
        self._extractor = start_connector(self._context, tap, arguments, stdout=writing)

    def _start_waiting_tap(self, state: Mapping[str, Any]) -> None:
        writing, self._waiting = self._waiting, None
        if writing is None or self._step.extractor is None:
            return
        try:
            with self._starting():
                self._start_tap(self._step.extractor, writing, state)
        finally:
            os.close(writing)

    # ---------- what the sides say ----------

    def _on_loader_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "ready":
            if not self._is_stopping:
                self._start_waiting_tap(event["state"])
        elif kind == "state":
            self._context.state.save(state=event["state"], epoch=event["epoch"], sequence=event["sequence"])
        else:
            self._context.control.progress({"event": kind, **event})

    def _on_extractor_event(self, kind: str, event: dict[str, Any]) -> None:
        """What the relay counts is the truth about rows; ours tells the rest."""
        if kind not in ("stream", "result"):
            self._context.control.progress({"event": kind, **event})

    def _on_relay_event(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "schema":
            if self._counter is None:
                self._open_gate()
            else:
                self._counter.before(event["stream"], then=self._open_gate)
        elif kind == "stream":
            self._context.control.progress({"event": kind, "mode": "singer", "done": False, **event})

    def _open_gate(self) -> None:
        if self._relay is not None:
            self._relay.tell({"go": True})

    def _on_target_line(self, line: str) -> None:
        if not self._state.take(line) and line.strip() and self._step.loader is not None:
            self._context.write(self._step.loader.plugin, "info", line)

    # ---------- while they work ----------

    def tick(self) -> bool:
        """End a side whose other side is gone; over when nothing of the pair runs any more."""
        now = time.monotonic()
        self._ends.note(self.children, now)
        if self._counter is not None:
            self._counter.tick(now)
        if self._start_failure is None:
            with self._starting():
                self._start_held_target()
            self._tell_our_loader()
            self._end_the_other(now)
            self._end_lingering(now)
            self._state.save_in_time(now)
        if self._held is not None or not self._context.processes.is_done(self._pair):
            return False
        return self._counter is None or self._counter.finish(self._sent() if self._is_well() else None)

    def stop(self, why: StopRequest | None) -> None:
        """Start nothing more; what the target has stored is worth remembering."""
        self._is_stopping = True
        if why != StopRequest.LOST:
            self._state.stop()

    def close(self) -> None:
        """The pipes we speak on, whatever happened."""
        self._let_go()
        for side in (self._loader, self._extractor, self._relay, self._counter):
            if isinstance(side, MoverProcess | Counter):
                side.hang_up()

    def _let_go(self) -> None:
        """Close the ends of pipes that nobody is to get any more."""
        for end in (self._waiting, self._held):
            if end is not None:
                os.close(end)
        self._waiting = self._held = None

    def _tell_our_loader(self) -> None:
        """Our loader commits the rest only when it hears that the extractor ended well."""
        loader, tap = self._loader, self._extractor
        if not isinstance(loader, MoverProcess) or self._told_exit:
            return
        if loader.has_ended:
            self._let_go()
        elif isinstance(tap, Program) and tap.has_ended:
            self._told_exit = True
            loader.tell({"extractor_exit": tap.exit_code})

    def _end_the_other(self, now: float) -> None:
        """An extractor whose reader is gone could wait for its source for hours.

        One that closed its output itself, so that the relay came to its end, has only its own end before it.
        """
        extractor, relay = self._extractor, self._relay
        readers = [side for side in (self._loader, relay) if side is not None and side.has_ended]
        if extractor is None or extractor.has_ended or not readers:
            return
        is_well = relay is not None and not any(side.child.returncode for side in readers)
        patience = (OWN_END_SECONDS if relay is not None and relay.result else RESULT_SECONDS) if is_well else 0.0
        if now - min(self._ends.at(side.child) for side in readers) >= patience:
            self._ends.ask(extractor.child, now)

    def _end_lingering(self, now: float) -> None:
        extractor, reader = self._extractor, self._relay or self._loader
        if extractor is not None and reader is not None and extractor.has_ended and not reader.has_ended:
            self._ends.kill_left_behind(extractor.child, now)

    # ---------- the end ----------

    def _is_well(self) -> bool:
        ended = [child.returncode for child in self.children if child.returncode is not None]
        return self._start_failure is None and not any(ended)

    def _sent(self) -> dict[str, Any]:
        return dict((self._relay.result if self._relay else {}).get("streams") or {})

    def judge(self) -> Failure | None:
        """The failure that caused the others; else whether all rows are there, and then the state is final."""
        failure = self._start_failure or self._cause()
        if self._step.loader is not None:
            if failure is None and self._counter is not None:
                failure = self._counter.compare(self._sent())
                if failure is not None:
                    self._state.roll_back()
                    self._say_streams(is_done=False)
                    return failure
            if failure is None:
                self._say_streams(is_done=True)
            self._state.finish(is_well=failure is None)
            if failure is None and not self._state.is_there:
                self._say_no_state()
        movers = [side for side in (self._loader, self._extractor, self._relay) if isinstance(side, MoverProcess)]
        # A mover writes its own error into the log; the others' are written by the executor.
        self.is_said = failure is not None and any(mover.failure is failure for mover in movers)
        return failure

    def _cause(self) -> Failure | None:
        extractor = self._ended(self._extractor, doing="read its source")
        loader = self._ended(self._loader, doing="store what it was given")
        if extractor is None or loader is None:
            return loader.failure if loader else extractor.failure if extractor else None
        relay = self._ended(self._relay, doing="")
        failure = first_failure(extractor, loader, relay, stopped_reading=_stopped_reading(self._step.loader))
        for side, ended in ((self._extractor, extractor), (self._loader, loader), (self._relay, relay)):
            # The exit code that counts is that of the cause.
            if failure is not None and side is not None and ended is not None and ended.failure is not failure:
                side.child.is_echo = True
        return failure

    def _ended(self, side: Program | MoverProcess | None, *, doing: str) -> Ended | None:
        if side is None:
            return None
        child = side.child
        at, code = self._ends.at(child), exit_code_of(child.returncode or 0)
        if isinstance(side, MoverProcess):
            failure = side.judge()
            return Ended(code or (1 if failure else 0), at, failure, child.was_ended, side.is_cut)
        return Ended(code, at, failure_of(side, doing=doing) if code else None, child.was_ended)

    def _say_streams(self, *, is_done: bool) -> None:
        verified = self._counter.verified if self._counter is not None else {}
        for name, facts in self._sent().items():
            event = {"event": "stream", "stream": name, "mode": "singer", "verified": verified.get(name)}
            rows = {"rows_read": facts["records"]} | ({"rows_written": facts["records"]} if is_done else {})
            self._context.control.progress({**event, **rows, "done": is_done})

    def _say_no_state(self) -> None:
        tap = self._extractor
        if isinstance(tap, Program) and "state" in tap.connector.capabilities:
            name = tap.connector.plugin
            self._context.write("eltsite", "info", f"{name} wrote no state: the next run begins as this one did.")


@contextlib.contextmanager
def _pipes(count: int) -> Any:
    """Pipes, each (reading end, writing end), closed again here: whoever is to have an end has got it by then."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(os.pipe())
            for end in made[-1]:
                stack.callback(os.close, end)
        yield made


def _stopped_reading(loader: Connector | None) -> Failure:
    name = loader.plugin if loader else "The loader"
    return Failure(
        f"{name} stopped reading before the extractor was done",
        reason="It ended with exit code 0 while rows were still coming, so some of them are not stored.",
        remedy="Look at its last lines in the log; use another version of it if it does so again.",
        details={"code": "target-ended-early"},
    )
