"""What stands between the two sides of a pair may fail as well."""

import sys

import pytest

from jobs.engine.interface import Outcome
from jobs.engine.steps import mover_process


@pytest.mark.parametrize("rows", [5, 60_000])
def test_a_relay_that_cannot_even_start_ends_the_run_as_error(pairs, monkeypatch, rows):
    real = mover_process.command

    def command(verb, *args):
        broken = [sys.executable, "-c", "raise SystemExit(1)"]
        return broken if verb == "relay" else real(verb, *args)

    monkeypatch.setattr(mover_process, "command", command)
    result = pairs.run(pairs.tap(streams={"orders": rows}), pairs.target())

    assert result.outcome == Outcome.ERROR, pairs.sink.text
    assert pairs.rows() == []
    assert pairs.states.saved == []
