"""A list of checks that are all made, whichever fail, each with its event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jobs.engine.movers.protocol import MoverError, emit, log

SOURCE = "check"


class Doubtful(Exception):
    """Not a failure, but worth knowing before the first run: the check ends as a warning."""


class Checklist:
    """Makes checks one by one and remembers what failed."""

    def __init__(self) -> None:
        self.failures: list[MoverError] = []
        self.passed = 0
        self.doubtful = 0

    def make(self, name: str, check: Callable[[], str]) -> bool:
        """Make one check; `check` returns what is to be said when all is well. Answers whether it did not fail."""
        started = time.monotonic()
        try:
            text = check()
        except Doubtful as doubt:
            self.doubtful += 1
            self._report(name, None, str(doubt), started)
            return True
        except MoverError as error:
            self.failures.append(error)
            reason = str(error.event["reason"] or "")
            self._report(name, False, f"{error}. {reason}".strip(), started)
            return False
        self.passed += 1
        self._report(name, True, text, started)
        return True

    def finish(self) -> dict[str, Any]:
        """What the verb answers. Raises the first failure, which then names the others."""
        if not self.failures:
            return {"passed": self.passed, "warnings": self.doubtful}
        first, *others = self.failures
        if others:
            reason = str(first.event["reason"] or "")
            first.event["reason"] = f"{reason} Also: {'; '.join(str(other) for other in others)}.".strip()
        raise first

    def _report(self, name: str, ok: bool | None, text: str, started: float) -> None:
        level = {True: "info", None: "warning", False: "error"}[ok]
        log(f"{name}: {text}", source=SOURCE, level=level)
        emit("check", name=name, ok=ok, text=text, seconds=round(time.monotonic() - started, 3))
