"""A stop, a death or a silence at each stage of a pair, and what is remembered of it."""

import fcntl
import json
import sys
import time

import pytest

from jobs.engine.interface import Outcome, StopRequest
from jobs.engine.steps import counting, mover_process
from tests.unit.pairs.test_pairs import duckdb_loader, stored
from tests.unit.ports import MemoryControl

ORDERS = {"orders": 120}


class StopWhen(MemoryControl):
    """Asks for a stop as soon as something is so."""

    def __init__(self, condition):
        super().__init__()
        self._condition = condition

    def poll(self):
        return StopRequest.USER if self._condition(self) else None


def step_runs(name):
    """Whether a step has begun."""
    return lambda control: control.steps().get(name, {}).get("status") == "running"


@pytest.fixture
def instead(monkeypatch):
    """Puts a small program in the place of a mover; it speaks as that mover would."""
    real = mover_process.command
    programs = {}

    def command(verb, *args):
        found = programs.get(verb)
        # The options that follow are its arguments: --spec-fd N --events-fd M.
        return [sys.executable, "-c", HEADER + found] if found else real(verb, *args)

    monkeypatch.setattr(mover_process, "command", command)
    return programs.__setitem__


HEADER = """
import json, os, signal, sys, time
options = dict(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
told = open(options["--spec-fd"])
said = open(options.get("--events-fd", 1), "w")
def say(event, **values): print(json.dumps({"event": event, **values}), file=said, flush=True)
"""


# ---------- stops ----------


def test_a_stop_while_another_builds_the_environment(pairs, installed, monkeypatch, tmp_path):
    environments = tmp_path / "environments"
    environments.mkdir()
    pairs._environments = environments
    real = fcntl.flock

    def held(file, operation):
        if operation & fcntl.LOCK_NB:
            raise BlockingIOError
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", held)
    before = time.monotonic()
    result = pairs.run(pairs.tap(), pairs.target(), control=StopWhen(step_runs("Prepare environments")))

    assert result.outcome == Outcome.STOPPED
    assert "this one waits for it" in pairs.sink.text
    assert time.monotonic() - before < 3


def test_a_stop_before_our_loader_is_ready_starts_no_tap(pairs, instead):
    pairs.run(pairs.tap(), pairs.target())
    # It says that it is ready only when it is asked to end.
    instead(
        "singer_load",
        "def ready(*_): say('ready', state={}, epoch=0, sequence=0); time.sleep(0.5); sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, ready); say('log', text='up')\nwhile True: time.sleep(0.05)",
    )
    control = StopWhen(lambda _: "up" in pairs.sink.text)
    result = pairs.run(pairs.tap(), None, loader=duckdb_loader(), control=control)

    parts = control.steps()["Extract and load"]["parts"]
    assert result.outcome == Outcome.STOPPED
    assert parts == []  # of one process only: the loader
    assert "ignored TERM" not in pairs.sink.text


@pytest.mark.parametrize("way", ["stop", "time"])
def test_a_stop_or_a_time_out_while_the_gate_is_held(pairs, instead, way):
    instead("count", "say('counted', when='ready', tables={})\nwhile True: time.sleep(0.05)")
    pairs.run(pairs.tap(), pairs.target(store=False))
    control = StopWhen(step_runs("Extract and load")) if way == "stop" else None
    before = time.monotonic()
    result = pairs.run(pairs.tap(), pairs.target(), control=control, seconds=60 if way == "stop" else 2)

    assert result.outcome == (Outcome.STOPPED if way == "stop" else Outcome.TIMED_OUT)
    assert len(pairs.rows()) == 120  # of the first run
    assert time.monotonic() - before < 6


def test_a_stop_while_the_rows_are_counted_after_the_run_keeps_the_state(pairs, instead):
    instead("count", COUNTS_BEFORE + "while True: time.sleep(0.05)")
    control = StopWhen(lambda _: (pairs.files / "asked").exists())
    result = pairs.run(pairs.tap(), pairs.target(), control=control)

    assert result.outcome == Outcome.STOPPED
    assert pairs.state == {"bookmarks": {"orders": {"id": 120}}}
    assert pairs.states.kinds[-1] is True  # nobody has seen that all rows are there


def test_what_the_target_stored_until_a_stop_is_remembered(pairs):
    tap = pairs.tap(fault="hang", at=110)
    result = pairs.run(tap, pairs.target(), control=StopWhen(lambda _: len(pairs.rows()) >= 100))

    assert result.outcome == Outcome.STOPPED
    assert pairs.state == {"bookmarks": {"orders": {"id": 100}}}
    assert pairs.states.kinds[-1] is True


def test_a_run_that_is_no_longer_ours_saves_nothing(pairs):
    class Lost(MemoryControl):
        def poll(self):
            return StopRequest.LOST if len(pairs.rows()) >= 50 else None

    pairs.run(pairs.tap(fault="hang", at=60), pairs.target(), control=Lost())
    saved = len(pairs.states.saved)

    assert pairs.stop == StopRequest.LOST
    assert saved <= 1  # what was saved before it was lost


# ---------- counting ----------

COUNTS_BEFORE = """
say('counted', when='ready', tables={})
told.readline()  # its specification
stream = json.loads(told.readline())['streams'][0]
say('counted', when='before', tables={stream: {'rows': 0, 'exists': False}})
told.readline()
open('files/asked', 'w').close()
"""


@pytest.mark.parametrize("kind", ["jsonl", "duckdb"])
def test_a_counter_that_hangs_at_its_start_does_not_hang_the_run(pairs, instead, monkeypatch, kind):
    monkeypatch.setattr(counting, "BEFORE_SECONDS", 0.7)
    instead("count", "while True: time.sleep(0.05)")
    target = pairs.target()
    if kind == "duckdb":  # then the target itself is held back
        target.store["kind"] = kind
    result = pairs.run(pairs.tap(), target)

    assert result.outcome == Outcome.COMPLETE, pairs.sink.text
    assert len(pairs.rows()) == 120
    assert "that took longer than 1 s. This run is not verified" in pairs.sink.text
    assert pairs.control.streams()["orders"]["verified"] is None


def test_a_counter_that_hangs_after_the_run_does_not_hang_it(pairs, instead, monkeypatch):
    monkeypatch.setattr(counting, "AFTER_SECONDS", 0.7)
    instead("count", COUNTS_BEFORE + "while True: time.sleep(0.05)")
    result = pairs.run(pairs.tap(), pairs.target())

    assert (result.outcome, result.exit_code) == (Outcome.COMPLETE, 0), pairs.sink.text
    assert "not verified" in pairs.sink.text
    assert pairs.states.kinds[-1] is False


@pytest.mark.parametrize("when", ["", COUNTS_BEFORE])
def test_a_counter_that_dies_is_said_and_does_not_fail_the_run(pairs, instead, when):
    pairs.files.joinpath("asked").touch()
    instead("count", when + "os.kill(os.getpid(), 9)")
    result = pairs.run(pairs.tap(), pairs.target())

    assert (result.outcome, len(pairs.rows())) == (Outcome.COMPLETE, 120), pairs.sink.text
    assert "ended with exit code 137. This run is not verified" in pairs.sink.text


# ---------- deaths ----------


def test_a_relay_that_is_killed_is_named(pairs, instead):
    instead("relay", "os.write(1, os.read(0, 3000)); time.sleep(0.2); os.kill(os.getpid(), 9)")
    result = pairs.run(pairs.tap(streams={"orders": 50_000}), pairs.target(store=False))

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 137), pairs.sink.text
    assert "Relay ended with signal KILL" in result.failure.headline


@pytest.mark.parametrize("rows", [3_000, 100_000])
def test_a_target_that_dies_is_named_and_not_the_taps_broken_pipe(pairs, rows):
    result = pairs.run(pairs.tap(streams={"orders": rows}), pairs.target(fault="dies", at=60))

    assert result.outcome == Outcome.ERROR
    assert result.failure.headline.startswith("target-fixture ended with exit code 1: RuntimeError: the table orders")
    assert result.exit_code == 1


def test_our_loader_that_refuses_a_record_ends_a_tap_that_idles(pairs):
    before = time.monotonic()
    result = pairs.run(pairs.tap(fault="print", then_hang=True), None, loader=duckdb_loader())

    assert result.outcome == Outcome.ERROR
    assert "is not a Singer message" in result.failure.headline
    assert time.monotonic() - before < 15


def test_what_left_the_session_of_a_tap_does_not_keep_its_pipe_open(pairs):
    result = pairs.run(pairs.tap(fault="daemon"), pairs.target(), seconds=30)

    assert result.outcome == Outcome.COMPLETE, pairs.sink.text
    assert "outlived it and was killed" in pairs.sink.text
    assert len(pairs.rows()) == 120


def test_a_tap_that_has_closed_its_output_is_not_ended_before_its_own_end(pairs):
    result = pairs.run(pairs.tap(fault="closes_output"), pairs.target())

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 3), pairs.sink.text
    assert "could not say goodbye" in result.failure.headline
    assert pairs.states.kinds[-1] is True


# ---------- states ----------


def test_a_state_of_five_mebibytes_passes_every_pipe(pairs):
    tap = pairs.tap(state_bytes=5 << 20, state_every=1000)
    assert pairs.run(tap, pairs.target()).outcome == Outcome.COMPLETE, pairs.sink.text
    assert len(pairs.state["more"]) == 5 << 20
    for _ in range(2):
        result = pairs.run(pairs.tap(state_bytes=5 << 20, streams={"orders": 130}), None, loader=duckdb_loader())
        assert result.outcome == Outcome.COMPLETE, pairs.sink.text[-2000:]
    assert len(pairs.state["more"]) == 5 << 20
    assert stored(pairs, "select count(*) from shop.orders") == [(130,)]


def test_a_target_that_prints_a_million_states_is_saved_once_a_second(pairs):
    before = time.monotonic()
    result = pairs.run(pairs.tap(state_every=1000), pairs.target(times=500_000))  # it prints two states

    assert result.outcome == Outcome.COMPLETE
    assert pairs.state == {"bookmarks": {"orders": {"id": 120}}}
    assert len(pairs.states.saved) <= 3 + (time.monotonic() - before)


def test_an_unfinished_run_is_partial_and_the_next_finished_one_is_complete(pairs):
    pairs.run(pairs.tap(fault="exit", at=70), pairs.target())
    assert (pairs.state, pairs.states.kinds[-1]) == ({"bookmarks": {"orders": {"id": 50}}}, True)
    pairs.run(pairs.tap(fault="exit", at=60), pairs.target())
    assert (pairs.state, pairs.states.kinds[-1]) == ({"bookmarks": {"orders": {"id": 100}}}, True)
    result = pairs.run(pairs.tap(), pairs.target())

    assert result.outcome == Outcome.COMPLETE
    assert (pairs.state, pairs.states.kinds[-1]) == ({"bookmarks": {"orders": {"id": 120}}}, False)


def test_missing_rows_roll_a_state_back_that_was_saved_while_the_target_worked(pairs):
    pairs.run(pairs.tap(streams={"orders": 50}), pairs.target())
    before = pairs.state
    tap = pairs.tap(streams={"orders": 200}, fault="rests", at=100)
    result = pairs.run(tap, pairs.target(fault="loses_first"))

    assert result.outcome == Outcome.ERROR
    assert len(pairs.states.saved) >= 2  # one that was ahead of the rows, and the one that took it back
    assert pairs.states.saved[0][0] != before
    assert (pairs.state, pairs.states.kinds[-1]) == (before, True)
    assert pairs.control.streams()["orders"]["verified"] is False
    assert json.dumps(pairs.state)
