"""Nothing is left in a worker that lives for thousands of runs, however they end."""

import itertools
import os

import pytest

from jobs.engine import process
from jobs.engine.interface import Outcome
from tests.unit.pairs.test_pairs import duckdb_loader

RUNS = 30


def open_descriptors():
    """Number to what it leads to, of all that are open in this process."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        if os.path.lexists(path := f"/proc/self/fd/{number}"):
            found[number] = os.readlink(path)
    return found


def ways(pairs):
    """Ways to run a pair, and how each ends."""
    loader = duckdb_loader(load_method="merge")
    return [
        (lambda: pairs.run(pairs.tap(streams={"orders": 5}), pairs.target()), Outcome.COMPLETE),
        (lambda: pairs.run(pairs.tap(streams={"orders": 5}), None, loader=loader), Outcome.COMPLETE),
        (lambda: pairs.run(pairs.tap(fault="exit"), pairs.target()), Outcome.ERROR),
        (lambda: pairs.run(pairs.tap(fault="killed"), None, loader=loader), Outcome.ERROR),
        (lambda: pairs.run(pairs.tap(streams={"orders": 3000}), pairs.target(fault="dies")), Outcome.ERROR),
        (lambda: pairs.run(pairs.tap(select=["none.*"]), pairs.target()), Outcome.ERROR),
        (lambda: pairs.run(pairs.tap(select=["none.*"]), None, loader=loader), Outcome.ERROR),
        (lambda: pairs.run(pairs.tap(fault="hang"), pairs.target(), seconds=1.0), Outcome.TIMED_OUT),
    ]


def test_after_thirty_pairs_as_many_descriptors_are_open_as_before(pairs):
    pairs.run(pairs.tap(), pairs.target())
    before = open_descriptors()
    for number, (run, outcome) in zip(range(RUNS), itertools.cycle(ways(pairs)), strict=False):
        assert run().outcome == outcome, (number, pairs.sink.text)

    assert open_descriptors() == before


@pytest.mark.parametrize("broken", ["count", "relay", "extractor", "loader", "tap-fixture", "target-fixture"])
def test_a_process_that_cannot_be_started_half_way_leaves_nothing_open(pairs, monkeypatch, broken):
    pairs.run(pairs.tap(), pairs.target())
    real = process.ProcessGroup.start

    def start(self, argv, *, name, **more):
        if name == broken and "--discover" not in argv:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(self, argv, name=name, **more)

    monkeypatch.setattr(process.ProcessGroup, "start", start)
    before = open_descriptors()
    tap = None if broken == "extractor" else pairs.tap()
    target = None if broken == "loader" else pairs.target()
    extractor = {"plugin": "tap-files", "name": "Files", "settings": {"files": []}} if tap is None else None
    result = pairs.run(tap, target, extractor=extractor, loader=duckdb_loader() if target is None else None)

    assert result.outcome == Outcome.ERROR
    assert "could not be started" in result.failure.headline
    assert "Resource temporarily unavailable" in result.failure.reason
    assert open_descriptors() == before
