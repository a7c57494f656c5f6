"""How the processes of a pair end: when each did, and how one is ended whose other side is gone."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from jobs.engine.process import Child
from jobs.engine.steps.context import RunContext

KILL_SECONDS = 10.0  # between TERM and KILL for the side whose other side is gone
LINGER_SECONDS = 5.0  # what an ended extractor started may still hold its pipe open for


class PairEnds:
    """When each process of a pair was seen to have ended, and which were asked to."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._at: dict[str, float] = {}  # a child's part to the time of its end
        self._asked: dict[str, float] = {}
        self._looked = 0.0  # for what an ended extractor left
        self._is_alone = False  # nothing of it is left

    def note(self, children: Sequence[Child], now: float) -> None:
        """See which have ended."""
        for child in children:
            if child.poll():
                self._at.setdefault(child.part, child.ended or now)

    def at(self, child: Child) -> float:
        """When it ended; 0 while that was not seen."""
        return self._at.get(child.part, 0.0)

    def ask(self, child: Child, now: float) -> None:
        """TERM, and KILL where that was not heard. Call it again and again until it has ended."""
        asked = self._asked.get(child.part)
        if asked is None:
            self._asked[child.part] = now
            child.was_ended = True
            child.signal(signal.SIGTERM)
        elif now - asked > KILL_SECONDS:
            child.signal(signal.SIGKILL)

    def kill_left_behind(self, child: Child, now: float) -> None:
        """What an ended extractor had started may hold its pipe open: then nobody would ever see the end of it."""
        if self._is_alone or now - max(self.at(child), self._looked) <= LINGER_SECONDS:
            return
        self._looked = now
        killed = self._context.processes.kill_left_behind(child)
        self._is_alone = not killed
        if killed:
            self._context.write("eltsite", "warning", f"What {child.name} had started outlived it and was killed.")

    def kill_all(self, children: Sequence[Child]) -> None:
        """The pair could not be started whole."""
        for child in children:
            if not child.poll():
                child.was_ended = True
                child.signal(signal.SIGKILL)
