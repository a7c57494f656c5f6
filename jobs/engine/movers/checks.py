"""Verbs `check` (is the pipeline well defined? opens nothing) and `test` (can both ends be reached?)."""

from __future__ import annotations

from typing import Any

from jobs.engine.movers.check_config import check_config
from jobs.engine.movers.check_ends import check_ends
from jobs.engine.movers.checklist import Checklist


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Make all checks, whichever fail; the first failure then ends the verb."""
    checks = Checklist()
    if verb == "check":
        check_config(spec, checks)
    else:
        check_ends(spec, checks)
    return checks.finish()
