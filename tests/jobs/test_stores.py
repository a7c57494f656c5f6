"""The engine's ports on the database, and reading what they stored."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.engine.interface import StopRequest
from jobs.logs import error_lines, read_log
from jobs.models import Job, LogChunk
from jobs.services import request_stop
from jobs.status import JobStatus
from jobs.stores import ClaimLost, DatabaseLogSink, DatabaseStateStore, JobControl
from pipelines.models import PipelineState, PipelineStateChange
from tests.factories import make_component, make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(pipeline):
    """A running job."""
    return make_job(pipeline, status=JobStatus.RUNNING)


@pytest.fixture
def sink(job):
    """Its log."""
    return DatabaseLogSink(job, claim=job.claim_token)


def write(sink, count, *, level="info", start=0):
    """Some lines."""
    for number in range(start, start + count):
        sink.write(source="tap", level=level, text=f"line {number}\twith a tab")


def test_lines_are_numbered_from_zero_over_all_chunks(job, sink):
    for start in (0, 10, 20):
        write(sink, 10, start=start)
        sink.flush()

    lines = read_log(job)
    assert [number for number, _ in lines] == list(range(30))
    assert lines[25][1].text == "line 25\twith a tab"
    job.refresh_from_db()
    assert job.log_lines == 30


@pytest.mark.parametrize("sequence", [0, 1, 999, 5000, 39_999])
def test_any_range_is_read_from_the_middle_in_a_few_queries(job, sink, sequence, django_assert_max_num_queries):
    write(sink, 40_000)
    sink.flush()
    assert LogChunk.objects.count() > 20

    with django_assert_max_num_queries(4):
        lines = read_log(job, sequence=sequence, limit=3)
    assert [number for number, _ in lines] == list(range(sequence, min(sequence + 3, 40_000)))


def test_past_the_end_there_is_nothing(job, sink):
    write(sink, 5)
    sink.flush()

    assert read_log(job, sequence=5) == []
    assert read_log(job, sequence=10**12) == []
    assert read_log(job, limit=0) == []


def test_lines_are_found_by_level_source_and_text(job, sink):
    write(sink, 3)
    sink.write(source="target", level="error", text="Disk FULL")
    sink.flush()

    assert [number for number, _ in read_log(job, level="error")] == [3]
    assert [number for number, _ in read_log(job, source="target")] == [3]
    assert [number for number, _ in read_log(job, query="disk full")] == [3]
    assert read_log(job, query="nowhere") == []


def test_errors_are_counted_and_the_first_is_remembered(job, sink):
    write(sink, 7)
    write(sink, 2, level="error", start=7)
    sink.flush()
    write(sink, 1, level="error", start=9)
    sink.flush()

    job.refresh_from_db()
    assert (job.log_errors, job.first_error_line) == (3, 7)
    assert [number for number, _ in error_lines(job, limit=2)] == [8, 9]


def test_a_line_break_inside_a_text_does_not_shift_the_numbers(job, sink):
    sink.write(source="a\tb", level="info", text="one\ntwo\u2028three")
    sink.write(source="c", level="info", text="four")
    sink.flush()

    assert [line.text for _, line in read_log(job)] == ["one two\u2028three", "four"]


def test_nobody_writes_under_a_claim_that_is_gone(job, sink):
    Job.objects.update(claim_token=uuid.uuid4())
    write(sink, 1)

    with pytest.raises(ClaimLost):
        sink.flush()
    assert not LogChunk.objects.exists()


@pytest.fixture
def state(pipeline, workspace):
    """A stored state."""
    return PipelineState.objects.create(
        pipeline=pipeline,
        extractor=make_component(workspace, "tap-files"),
        loader=make_component(workspace, "target-duckdb"),
        state={"bookmarks": {"a": 1}},
        epoch=2,
        sequence=5,
    )


def test_each_commit_is_kept_and_history_has_one_entry_per_job(job, state):
    store = DatabaseStateStore(job, claim=job.claim_token, state=state)
    for sequence in (6, 7):
        store.save(state={"bookmarks": {"a": sequence}}, epoch=2, sequence=sequence)

    state.refresh_from_db()
    assert (state.state, state.sequence, state.job_id) == ({"bookmarks": {"a": 7}}, 7, job.pk)
    change = PipelineStateChange.objects.get()
    assert (change.before, change.after) == ({"bookmarks": {"a": 1}}, {"bookmarks": {"a": 7}})
    job.refresh_from_db()
    assert (job.state_before, job.state_after) == ({"bookmarks": {"a": 1}}, {"bookmarks": {"a": 7}})


def test_what_an_unfinished_run_came_to_is_kept_beside_and_counts(job, state):
    PipelineState.objects.update(state={"bookmarks": {"a": 1, "b": 1}}, partial={"bookmarks": {"b": 2}})
    state.refresh_from_db()
    store = DatabaseStateStore(job, claim=job.claim_token, state=state)
    store.save(state={"bookmarks": {"a": 6}}, epoch=2, sequence=6, is_partial=True)

    state.refresh_from_db()
    assert state.state == {"bookmarks": {"a": 1, "b": 1}}
    assert state.partial == {"bookmarks": {"a": 6, "b": 2}}
    change = PipelineStateChange.objects.get()
    assert (change.before, change.after) == ({"bookmarks": {"a": 1, "b": 2}}, {"bookmarks": {"a": 6, "b": 2}})

    store.save(state={"bookmarks": {"a": 7}}, epoch=2, sequence=7)
    state.refresh_from_db()
    assert (state.state, state.partial) == ({"bookmarks": {"a": 7}}, {})
    assert PipelineStateChange.objects.get().after == {"bookmarks": {"a": 7}}


@pytest.mark.parametrize(("epoch", "sequence"), [(2, 5), (2, 4), (1, 99)])
def test_an_older_state_never_replaces_a_newer_one(job, state, epoch, sequence):
    DatabaseStateStore(job, claim=job.claim_token, state=state).save(state={}, epoch=epoch, sequence=sequence)

    state.refresh_from_db()
    assert state.state == {"bookmarks": {"a": 1}}


def test_no_state_is_stored_under_a_claim_that_is_gone(job, state):
    store = DatabaseStateStore(job, claim=uuid.uuid4(), state=state)

    with pytest.raises(ClaimLost):
        store.save(state={}, epoch=2, sequence=6)
    state.refresh_from_db()
    assert state.sequence == 5


def test_a_poll_keeps_the_heartbeat_and_the_progress(job, sink):
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=20))
    control = JobControl(job, claim=job.claim_token, sink=sink)
    control.progress({"event": "stream", "stream": "orders", "rows_read": 5, "rows_written": 4, "bytes": 90})
    control.progress({"event": "stream", "stream": "orders", "rows_read": 8, "done": True})
    control.progress({"event": "step", "name": "Move", "status": "running"})

    assert control.poll() is None
    job.refresh_from_db()
    assert (job.rows_read, job.rows_written, job.bytes_read) == (8, 4, 90)
    assert job.streams[0]["done"] is True
    assert job.steps == [{"name": "Move", "status": "running"}]
    assert timezone.now() - job.heartbeat_at < timedelta(seconds=5)


def test_a_poll_sees_a_stop_and_why(job, sink):
    control = JobControl(job, claim=job.claim_token, sink=sink)
    request_stop(job, reason="SHUTDOWN")

    assert control.poll() == StopRequest.SHUTDOWN


def test_a_poll_sees_that_the_job_is_no_longer_ours(job, sink):
    control = JobControl(job, claim=job.claim_token, sink=sink)
    control.poll()
    Job.objects.update(status=JobStatus.ERROR)

    assert control.poll() == StopRequest.LOST
