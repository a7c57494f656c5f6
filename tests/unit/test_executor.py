"""Steps in order, one deadline, and what a mover's end means. Movers here are small real programs that misbehave."""

import json
import os
import sys
import time
import uuid
from pathlib import Path

import pytest

from jobs.engine import executor
from jobs.engine.executor import execute_run
from jobs.engine.interface import Outcome, RunSpec, Step, StopRequest
from jobs.engine.process import marked_processes
from jobs.engine.steps import mover
from tests.unit.ports import MemoryControl, MemorySink, MemoryStates

HEADER = """
import json, os, signal, subprocess, sys, time
spec = json.load(sys.stdin)
def emit(event, **values): print(json.dumps({"event": event, **values}), flush=True)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs programs as the steps of a job."""
    mark = f"{uuid.uuid4()}:0"

    def _run(*programs, seconds=30.0, secrets=(), control=None, states=None, more=None):
        monkeypatch.setattr(
            mover, "command", lambda verb, mover_spec, spec: [sys.executable, "-c", HEADER + mover_spec["program"]]
        )
        scratch = tmp_path / "run"
        scratch.mkdir(exist_ok=True)
        spec = RunSpec(
            job="job",
            mark=mark,
            steps=[
                Step(f"Step {number}", "move", {"program": text, **(more or {})})
                for number, text in enumerate(programs, start=1)
            ],
            folder=str(tmp_path),
            run_folder=str(scratch),
            timeout_seconds=seconds,
            environment={"PATH": os.environ["PATH"]},
            secrets=secrets,
        )
        sink, control_, states_ = MemorySink(), control or MemoryControl(), states or MemoryStates()
        result, stop = execute_run(spec, log=sink, state=states_, control=control_)
        assert mark not in marked_processes(), "a process outlived the run"
        assert not scratch.exists(), "the run's folder was left"
        return result, stop, sink, control_, states_

    return _run


def test_a_run_whose_steps_all_end_well_is_complete(run):
    result, _, sink, control, states = run(
        "emit('log', source='tap-files', level='info', text='3 files'); emit('stream', stream='orders', rows_read=3);"
        "emit('state', state={'bookmarks': {}}, epoch=0, sequence=1); emit('result')",
        "emit('result')",
    )

    assert (result.outcome, result.exit_code, result.failure) == (Outcome.COMPLETE, 0, None)
    assert ("tap-files", "info", "3 files") in sink.lines
    assert states.saved == [({"bookmarks": {}}, 0, 1)]
    assert [step["status"] for step in control.steps().values()] == ["complete", "complete"]


def test_a_named_error_becomes_the_failure_and_later_steps_are_not_run(run):
    result, _, sink, control, _ = run(
        "emit('error', headline='No file matches x*.csv', reason='None.', remedy='Add one.', file='x*.csv', line=None); sys.exit(1)",
        "emit('result')",
    )

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 1)
    assert result.failure.headline == "No file matches x*.csv"
    assert result.failure.details == {"file": "x*.csv"}
    assert ("eltsite", "error", "No file matches x*.csv. None. Add one.") in sink.lines
    assert {name: step["status"] for name, step in control.steps().items()} == {"Step 1": "error", "Step 2": "skipped"}


def test_exit_code_0_without_a_result_is_not_believed(run):
    result, *_ = run("emit('stream', stream='orders', rows_read=3)")

    assert result.outcome == Outcome.ERROR
    assert "without a result" in result.failure.headline


def test_a_result_followed_by_a_failing_exit_code_is_an_error(run):
    result, *_ = run("emit('result'); sys.exit(7)")

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 7)
    assert "exit code 7" in result.failure.headline


def test_an_error_event_with_exit_code_0_is_an_error(run):
    result, *_ = run("emit('error', headline='Counts differ'); emit('result')")

    assert (result.outcome, result.exit_code, result.failure.headline) == (Outcome.ERROR, 1, "Counts differ")


@pytest.mark.parametrize(("number", "code", "words"), [(9, 137, "KILL"), (11, 139, "SEGV"), (15, 143, "signal 15")])
def test_a_mover_ended_by_a_signal_is_an_error_that_names_it(run, number, code, words):
    result, *_ = run(f"os.kill(os.getpid(), {number})")

    assert (result.outcome, result.exit_code) == (Outcome.ERROR, code)
    assert words in result.failure.headline


def test_a_run_over_its_time_is_ended_and_says_so(run):
    before = time.monotonic()
    result, stop, sink, control, _ = run("time.sleep(60)", seconds=0.6)

    assert (result.outcome, result.exit_code, stop) == (Outcome.TIMED_OUT, 124, None)
    assert "Timed out after 1 s" in sink.text
    assert control.steps()["Step 1"]["status"] == "timed_out"
    assert time.monotonic() - before < 5


def test_a_stop_ends_an_obedient_mover_within_two_seconds(run):
    before = time.monotonic()
    result, stop, *_ = run("time.sleep(60)", control=MemoryControl(StopRequest.USER))

    assert (result.outcome, result.exit_code, stop) == (Outcome.STOPPED, 143, StopRequest.USER)
    assert time.monotonic() - before < 2


def test_a_mover_that_ignores_term_is_killed_after_the_grace(run, monkeypatch):
    monkeypatch.setattr(executor, "GRACE_SECONDS", 0.5)
    result, _, sink, *_ = run(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); emit('log', text='deaf')\nwhile True: time.sleep(1)",
        control=MemoryControl(StopRequest.USER, after=1),
    )

    assert result.outcome == Outcome.STOPPED
    assert "ignored TERM" in sink.text


def test_lines_written_while_stopping_are_kept(run):
    *_, sink, _, _ = run(
        "def bye(*_): emit('log', text='rolled back'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye); emit('log', text='ready')\nwhile True: time.sleep(0.05)",
        control=MemoryControl(StopRequest.USER, after=1),
    )

    assert "rolled back" in sink.text


def test_a_descendant_that_escaped_is_killed_and_counted(run):
    result, _, sink, *_ = run(
        "subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "emit('result')"
    )

    assert result.outcome == Outcome.COMPLETE
    assert "1 process(es) outlived the run" in sink.text


def test_secrets_are_masked_in_lines_events_and_the_failure(run):
    result, _, sink, control, _ = run(
        "emit('log', text='connecting with hunter22'); print('hunter22', file=sys.stderr);"
        "emit('check', name='login', ok=False, text='hunter22 refused');"
        "emit('error', headline='Password hunter22 refused', remedy='Not hunter22.'); sys.exit(1)",
        secrets=["hunter22"],
    )

    everything = sink.text + json.dumps(control.events) + json.dumps(vars(result.failure))
    assert "hunter22" not in everything
    assert result.failure.headline == "Password *** refused"


@pytest.mark.parametrize("secret", ["1000", "stream", "true", '"rows_read": '])
def test_a_secret_that_looks_like_a_number_or_a_word_of_ours_breaks_no_event(run, secret):
    result, _, _, control, _ = run("emit('stream', stream='orders', rows_read=11000); emit('result')", secrets=[secret])

    assert result.outcome == Outcome.COMPLETE
    assert control.streams()["orders"]["rows_read"] == 11000


def test_texts_that_no_database_stores_are_made_storable(run):
    _, _, sink, control, _ = run(
        "emit('sample', stream='s', columns=['a'], rows=[['x\\x00y', '\\udcff']]);"
        "emit('log', text='a file \\udcff'); emit('result')"
    )

    sample = next(event for event in control.events if event["event"] == "sample")
    assert sample["rows"] == [["x\ufffdy", "\ufffd"]]
    assert "a file " in sink.text
    sink.text.encode()


@pytest.mark.parametrize(("secret", "key"), [("orders", ""), ("hunter22", "k1")])
def test_a_catalog_that_was_masked_is_used_by_no_later_run(run, secret, key):
    code = "emit('catalog', streams=[{'tap_stream_id': 'orders'}], component='c1', key='k1'); emit('result')"
    _, _, _, control, _ = run(code, secrets=[secret], more={"component": "c1", "key": "k1"})

    found = next(event for event in control.events if event["event"] == "catalog")
    assert found["key"] == key
    assert secret not in json.dumps(found)


def test_a_line_of_many_mebibytes_is_shown_shortened(run):
    *_, sink, _, _ = run("print('x' * 5_000_000); emit('result')")

    assert max(len(text) for _, _, text in sink.lines) < 1_100_000
    assert "(5,000,000 characters)" in sink.text


def test_a_state_that_cannot_be_stored_fails_the_run_and_leaves_no_process(run):
    with pytest.raises(RuntimeError, match="no database"):
        run(
            "emit('state', state={}, epoch=0, sequence=1); time.sleep(60)",
            states=MemoryStates(error=RuntimeError("no database")),
        )


def test_lines_that_are_no_events_are_kept_as_they_are(run):
    *_, sink, _, _ = run("print('plain words'); print('[1, 2]'); emit('result')")

    assert ("mover", "info", "plain words") in sink.lines
    assert ("mover", "info", "[1, 2]") in sink.lines


def test_the_mover_gets_its_command_without_any_value_a_person_wrote(tmp_path):
    spec = RunSpec("job", "m", [], str(tmp_path), str(tmp_path), 1, run_as=(1001, 2002))
    step = Step(
        "Move", "move", {"extractor": {"plugin": "tap-sql", "settings": {"password": "hunter22"}}, "loader": None}
    )
    argv = mover.command(step.verb, step.spec, spec)

    assert "hunter22" not in " ".join(argv)
    assert argv[argv.index("--needs") + 1] == "tap-sql"
    assert argv[argv.index("--run-as") + 1] == "1001:2002"
    assert Path(argv[0]).exists()
