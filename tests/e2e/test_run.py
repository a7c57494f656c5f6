"""A real pipeline through a real worker: files into DuckDB, twice, with what changed in between."""

import gzip
import json
import signal
import time

import duckdb
import pytest
from django.conf import settings

from jobs import folders
from jobs.logs import read_log
from jobs.models import Job
from jobs.services import create_job, delete_job, request_stop, why_queued
from jobs.status import JobStatus, JobType, StopReason
from pipelines.models import DataPlugin, PipelineStatus
from pipelines.services import save_component, save_file, save_pipeline
from tests.e2e.installation import until, wait_for_end

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def plugin(name):
    """A shipped plugin."""
    return DataPlugin.objects.get(name=name, variant="eltsite", workspace__isnull=True)


def files_pipeline(workspace, label, files, *, properties=None, **values):
    """A pipeline from files into the warehouse, checked and READY."""
    tap = save_component(
        workspace, name=f"{label} files", plugin=plugin("tap-files"), properties={"files": json.dumps(files)}
    )
    made = save_pipeline(
        workspace,
        label=label,
        components=[tap, "Warehouse"],
        properties=properties or {},
        timeout_seconds=values.pop("timeout_seconds", 600),
        **values,
    )
    return settle(made)


def settle(pipeline):
    """Wait until the pipeline was checked."""

    def is_settled():
        pipeline.refresh_from_db()
        return pipeline.status != PipelineStatus.PROVISIONING

    until(is_settled, what="the check")
    return pipeline


def run(pipeline, **values):
    """Run the pipeline to its end."""
    return wait_for_end(create_job(pipeline, **values))


def rows_of(workspace, query):
    """What the published snapshot of the warehouse answers."""
    snapshot = folders.of_workspace(workspace) / "warehouse.duckdb.snapshot"
    with duckdb.connect(str(snapshot), read_only=True) as store:
        return store.execute(query.format(schema=workspace.alias)).fetchall()


def log_of(job):
    """The job's log as one text."""
    return "\n".join(line.text for _, line in read_log(job, limit=100_000))


@pytest.fixture
def data(shop):
    """The folder of the workspace's files."""
    return folders.of_workspace(shop) / "files"


def write_orders(data, name, numbers):
    """A file of orders."""
    (data / "orders").mkdir(exist_ok=True)
    lines = "".join(json.dumps({"id": number, "amount": number * 1.5}) + "\n" for number in numbers)
    (data / "orders" / name).write_bytes(gzip.compress(lines.encode()))


def test_files_are_loaded_once_and_then_only_what_changed(shop, data):
    write_orders(data, "a.jsonl.gz", range(100))
    write_orders(data, "b.jsonl.gz", range(100, 150))
    save_file(shop, path="models/totals.sql", content=b"-- materialized: table\nselect count(*) as n from orders")
    pipeline = files_pipeline(shop, "Orders", [{"stream": "orders", "path": "orders/*.jsonl.gz"}])
    assert pipeline.status == PipelineStatus.READY, pipeline.status_reason

    first = run(pipeline)
    assert first.status == JobStatus.COMPLETE, log_of(first)
    assert (first.rows_read, first.rows_written, first.exit_code) == (150, 150, 0)
    assert rows_of(shop, "select n from {schema}.totals") == [(150,)]

    second = run(pipeline)
    assert (second.status, second.rows_written) == (JobStatus.COMPLETE, 0)

    write_orders(data, "c.jsonl.gz", range(200, 230))
    write_orders(data, "b.jsonl.gz", range(100, 160))
    third = run(pipeline)
    assert (third.status, third.rows_written) == (JobStatus.COMPLETE, 90)
    assert rows_of(shop, "select count(*), count(distinct id) from {schema}.orders") == [(190, 190)]
    assert rows_of(shop, "select n from {schema}.totals") == [(190,)]
    assert [step["status"] for step in third.steps] == ["complete", "complete"]


def test_a_bad_line_names_file_line_and_column_and_nothing_is_half_written(shop, data):
    (data / "good.csv").write_text("id,amount\n1,10\n2,20\n")
    pipeline = files_pipeline(
        shop, "Sums", [{"stream": "sums", "path": "*.csv", "columns": {"id": "BIGINT", "amount": "BIGINT"}}]
    )
    assert run(pipeline).status == JobStatus.COMPLETE

    (data / "later.csv").write_text("id,amount\n3,30\n4,forty\n")
    job = run(pipeline)
    assert job.status == JobStatus.ERROR
    assert job.error["file"].endswith("later.csv")
    assert (job.error["line"], job.error["column"]) == (3, "amount")
    assert "forty" in job.headline + job.error["reason"]
    assert job.error["remedy"]
    assert rows_of(shop, "select count(*) from {schema}.sums") == [(2,)]

    (data / "later.csv").write_text("id,amount\n3,30\n4,40\n")
    assert run(pipeline).rows_written == 2
    assert rows_of(shop, "select sum(amount) from {schema}.sums") == [(100,)]


def test_a_stop_ends_the_job_within_two_seconds_and_leaves_no_process(shop, data, installation, postgres_url):
    job = create_job(slow_pipeline(shop, postgres_url))
    until(lambda: installation.job_processes(), what="the mover")
    request_stop(job)
    took = until(lambda: Job.objects.get(pk=job.pk).status == JobStatus.STOPPED, seconds=10)

    assert took < 2.5  # 2 s, and our own look at it
    job.refresh_from_db()
    assert (job.stop_reason, job.exit_code) == (StopReason.USER, 143)
    assert not installation.job_processes()


def test_a_run_over_its_timeout_is_stopped_and_its_query_cancelled(shop, installation, postgres_url):
    pipeline = slow_pipeline(shop, postgres_url, timeout_seconds=2)
    job = run(pipeline)

    assert (job.status, job.stop_reason, job.exit_code) == (JobStatus.STOPPED, StopReason.TIMEOUT, 124)
    assert "Timed out after 2 s" in job.headline
    assert not installation.job_processes()


def test_a_second_writer_of_the_warehouse_waits_with_its_reason_and_then_runs(shop, data, postgres_url):
    (data / "x.csv").write_text("id\n1\n")
    slow = create_job(slow_pipeline(shop, postgres_url, seconds=3))
    until(lambda: Job.objects.get(pk=slow.pk).status == JobStatus.RUNNING)
    pipeline = files_pipeline(shop, "Quick", [{"stream": "x", "path": "x.csv"}])
    quick = create_job(pipeline)

    def is_explained():
        quick.refresh_from_db()
        return f"Waits for job {slow.number} of Slow" in why_queued(quick)

    until(is_explained, seconds=5, what="the reason")
    assert quick.status == JobStatus.QUEUED
    assert wait_for_end(slow).status == JobStatus.COMPLETE
    assert wait_for_end(quick).status == JobStatus.COMPLETE


def test_a_deleted_running_job_disappears_at_once_and_its_processes_soon(shop, installation, postgres_url):
    job = create_job(slow_pipeline(shop, postgres_url))
    until(lambda: installation.job_processes(), what="the mover")
    delete_job(job)

    assert not Job.objects.visible().filter(pk=job.pk).exists()
    until(lambda: not Job.objects.filter(pk=job.pk).exists(), seconds=10, what="the row to go")


def test_a_worker_that_is_stopped_hands_its_job_back_and_the_next_one_finishes_it(
    shop, installation, worker, postgres_url
):
    pipeline = slow_pipeline(shop, postgres_url, seconds=4)
    job = create_job(pipeline)
    until(lambda: installation.job_processes(), what="the mover")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)

    job.refresh_from_db()
    assert (job.status, job.stop_reason) == (JobStatus.STOPPED, StopReason.SHUTDOWN)
    again = Job.objects.get(retry_of=job)
    assert again.status == JobStatus.QUEUED
    assert not installation.job_processes()

    installation.start("worker")
    assert wait_for_end(again).status == JobStatus.COMPLETE
    assert rows_of(shop, "select count(*) from {schema}.slow") == [(1,)]


def test_verification_shows_the_environment_masked_and_tests_both_ends(shop, postgres_url):
    pipeline = slow_pipeline(shop, postgres_url, seconds=1, properties={"Slow source.password": "hunter22-secret"})
    job = run(pipeline, type=JobType.PIPELINE_ENV)

    text = log_of(job)
    assert job.status == JobStatus.COMPLETE, text
    assert f"PIPELINE_ID={pipeline.pk}" in text
    assert "Slow source.password = ***" in text
    assert "hunter22" not in text + json.dumps([job.checks, job.error, job.headline])
    assert all(check.get("ok") is not False for check in job.checks)
    assert len(job.checks) >= 4


def test_a_job_is_running_within_half_a_second_and_its_first_line_is_readable_within_one_more(shop, data):
    (data / "x.csv").write_text("id\n1\n")
    pipeline = files_pipeline(shop, "Quick", [{"stream": "x", "path": "x.csv"}])
    waits = []
    for _ in range(5):
        started = time.monotonic()
        job = create_job(pipeline)
        until(lambda job=job: Job.objects.get(pk=job.pk).status != JobStatus.QUEUED, seconds=10)
        running = time.monotonic() - started
        until(lambda job=job: read_log(job, limit=1), seconds=10)
        waits.append((running, time.monotonic() - started - running))
        wait_for_end(job)

    assert sorted(first for first, _ in waits)[2] < 0.5, waits
    assert sorted(second for _, second in waits)[2] < 1.0, waits


def slow_pipeline(workspace, url, *, seconds=60, **values):
    """A pipeline whose source takes its time: it costs the test no work."""
    host = url.split("host=")[1]
    tables = [{"stream": "slow", "query": f"select 1 as id from (select pg_sleep({seconds})) as nap"}]
    source = {
        "dialect": "postgresql",
        "host": host,
        "user": "postgres",
        "database": url.split("/")[3].split("?")[0],
        "tables": json.dumps(tables),
    }
    tap = save_component(workspace, name="Slow source", plugin=plugin("tap-sql"), properties=source)
    made = save_pipeline(
        workspace,
        label="Slow",
        components=[tap, "Warehouse"],
        properties=values.pop("properties", {}),
        timeout_seconds=values.pop("timeout_seconds", 600),
        **values,
    )
    settle(made)
    assert made.status == PipelineStatus.READY, made.status_reason
    return made


def test_a_link_out_of_the_workspace_leads_nowhere(shop, data):
    (data / "link.csv").symlink_to(settings.ELTSITE_HOME / "key")
    pipeline = files_pipeline(shop, "Spy", [{"stream": "key", "path": "link.csv"}])
    text = pipeline.status_reason
    if pipeline.status == PipelineStatus.READY:
        text = log_of(run(pipeline))

    assert "outside the allowed folders" in text
    assert (settings.ELTSITE_HOME / "key").read_text().strip() not in text
