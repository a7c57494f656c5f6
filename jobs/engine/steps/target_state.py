"""The states a target prints: each says that the rows before it are stored. Saved as far as printed, never further."""

from __future__ import annotations

import json
import time
from typing import Any

from jobs.engine.interface import ExtractLoadStep
from jobs.engine.steps.context import RunContext

SAVE_SECONDS = 1.0  # between two saves while the target works


class TargetState:
    """The last state a target printed, and how far it is saved. Partial until the run is known to have ended well."""

    def __init__(self, step: ExtractLoadStep, context: RunContext) -> None:
        self._step = step
        self._context = context
        self._last: dict[str, Any] | None = None
        self._sequence = step.sequence
        self._saved_at = 0.0
        self._is_saved = True
        self._is_stopping = False

    @property
    def is_there(self) -> bool:
        """Whether the target printed any."""
        return self._last is not None

    def take(self, line: str) -> bool:
        """Whether a line of the target is a state; then it is kept."""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, dict):
            return False
        self._last = value.get("value", value) if value.get("type") == "STATE" else value
        self._is_saved = False
        if self._is_stopping:
            self._save(is_partial=True)
        return True

    def save_in_time(self, now: float) -> None:
        """Save what is new, not more than once a second: a target may print a state after each row."""
        if not self._is_saved and now - self._saved_at >= SAVE_SECONDS:
            self._save(is_partial=True)

    def stop(self) -> None:
        """The run ends before its time: what was printed is stored, and what will still be printed is saved at once."""
        self._is_stopping = True
        if not self._is_saved:
            self._save(is_partial=True)

    def finish(self, *, is_well: bool) -> None:
        """The target has ended. Only a run that ended well makes a state complete."""
        if self._last is not None:
            self._save(is_partial=not is_well)

    def roll_back(self) -> None:
        """Rows are missing: the state must not say that they are there, so what counted before the run counts again.

        As a partial one: laid over what was complete it gives just that, and an unfinished run stays unfinished.
        """
        self._last = dict(self._step.state)
        if self._sequence != self._step.sequence:
            self._save(is_partial=True)

    def _save(self, *, is_partial: bool) -> None:
        self._is_saved, self._saved_at = True, time.monotonic()
        self._sequence += 1
        self._context.state.save(
            state=self._last or {}, epoch=self._step.epoch, sequence=self._sequence, is_partial=is_partial
        )
