"""Kills at the worst moments: no row twice, the right status within 60 s, no process left.

CHAOS_ROUNDS sets how often each kill is repeated (`make chaos` uses ten).
"""

import json
import os
import time

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.engine.process import MARK
from jobs.models import Job
from jobs.services import create_job
from jobs.status import JobStatus
from pipelines.models import PipelineState
from pipelines.services import save_component, save_pipeline
from tests.e2e.installation import alive, until, wait_for_end
from tests.e2e.test_run import files_pipeline, plugin, rows_of, run, settle, slow_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))


@pytest.fixture
def scheduler(installation):
    """A running scheduler: the one that finds what a killed worker leaves."""
    return installation.start("scheduler")


def supervisor_of(job):
    """The worker process that runs a job."""
    job.refresh_from_db()
    return psutil.Process(job.supervisor_pid)


def mover_of(installation):
    """The mover that runs now."""
    until(installation.job_processes, what="the mover")
    return installation.job_processes()[0]


def cluster_of(parent):
    """The cluster's main process, a child of our parent."""
    return psutil.Process(parent.pid).children()[0]


def is_lost(job):
    """Whether the job ended as lost."""
    job.refresh_from_db()
    return job.status == JobStatus.ERROR and job.headline == "Worker lost"


def database_of(url):
    """A test database as the settings of a plugin."""
    parts = conninfo_to_dict(url)
    return {"host": parts["host"], "user": "postgres", "database": parts["dbname"]}


def append_pipeline(workspace, url, *, loader="Warehouse", streams=1):
    """A pipeline that appends rows after a replication key, from one stream or several."""
    tables = []
    with psycopg.connect(url) as connection:
        for number in range(streams):
            connection.execute(f"create table events{number} as select n as id from generate_series(1, 1000) n")
            tables.append(
                {
                    "stream": f"events{number}",
                    "table": f"events{number}",
                    "replication_method": "INCREMENTAL",
                    "replication_key": "id",
                }
            )
    source = {"dialect": "postgresql", **database_of(url), "tables": json.dumps(tables)}
    tap = save_component(workspace, name="Events source", plugin=plugin("tap-sql"), properties=source)
    return settle(
        save_pipeline(workspace, label="Events", components=[tap, loader], properties={}, timeout_seconds=600)
    )


def test_a_kill_between_duckdbs_commit_and_our_save_doubles_no_row(shop, installation, scheduler, postgres_url):
    pipeline = append_pipeline(shop, postgres_url)
    job = create_job(pipeline)
    until(lambda: Job.objects.get(pk=job.pk).status == JobStatus.RUNNING)
    mover, supervisor = mover_of(installation), supervisor_of(job)
    supervisor.suspend()  # from here on nothing the mover says is heard
    until(lambda: not alive(mover), what="the mover to commit and end")
    assert rows_of(shop, "select count(*) from {schema}.events0") == [(1000,)]
    assert not PipelineState.objects.get(pipeline=pipeline).state
    supervisor.kill()

    until(lambda: is_lost(job), seconds=60, what="the job to be lost")
    second = run(pipeline)
    assert (second.status, second.rows_written) == (JobStatus.COMPLETE, 0)
    assert rows_of(shop, "select count(*), count(distinct id) from {schema}.events0") == [(1000, 1000)]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_mover_killed_right_after_a_commit_doubles_no_row(shop, installation, scheduler, postgres_url, round_):
    """Many streams, each its own commit: the kill comes the moment the first of them is in the store."""
    streams = 40
    store = save_component(
        shop, name="Store", plugin=plugin("target-postgres"), properties={**database_of(postgres_url), "schema": "out"}
    )
    pipeline = append_pipeline(shop, postgres_url, loader=store, streams=streams)
    job = create_job(pipeline)
    mover = mover_of(installation)
    supervisor_of(job).suspend()

    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def committed():
            return connection.execute("select to_regclass('out.events0')").fetchone()[0] is not None

        until(committed, what="the first commit")
        mover.kill()
        assert not PipelineState.objects.get(pipeline=pipeline).state
        supervisor_of(job).kill()
        until(lambda: is_lost(job), seconds=60, what="the job to be lost")
        second = run(pipeline)

        assert second.status == JobStatus.COMPLETE
        assert second.rows_written < streams * 1000, "the kill came before the first commit"
        for number in range(streams):
            row = connection.execute(f"select count(*), count(distinct id) from out.events{number}").fetchone()
            assert row == (1000, 1000), f"events{number}"


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_mover_is_an_error_that_names_the_signal_and_nothing_is_half_written(
    shop, installation, postgres_url, round_
):
    pipeline = slow_pipeline(shop, postgres_url)
    job = create_job(pipeline)
    mover_of(installation).kill()

    ended = wait_for_end(job)
    assert (ended.status, ended.exit_code) == (JobStatus.ERROR, 137)
    assert "KILL" in ended.headline


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_busy_worker_loses_its_job_and_the_next_one_runs(shop, installation, scheduler, postgres_url, round_):
    job = create_job(slow_pipeline(shop, postgres_url))
    mover_of(installation)
    supervisor_of(job).kill()

    assert until(lambda: is_lost(job), seconds=60, what="the job to be lost") < 60
    assert_nothing_left_and_work_goes_on(shop, installation)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_idle_worker_does_not_wedge_the_host(shop, installation, scheduler, worker, postgres_url, round_):
    busy = create_job(slow_pipeline(shop, postgres_url, seconds=25))
    mover_of(installation)
    supervisor = supervisor_of(busy)
    sentinel = cluster_of(worker).children()[0]
    idle = next(process for process in sentinel.children() if process.pid != supervisor.pid)
    idle.kill()

    assert_nothing_left_and_work_goes_on(shop, installation, busy=busy)
    assert wait_for_end(busy).status == JobStatus.COMPLETE


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_cluster_is_started_anew_and_its_job_is_lost(
    shop, installation, scheduler, worker, postgres_url, round_
):
    job = create_job(slow_pipeline(shop, postgres_url))
    mover_of(installation)
    everyone = installation.tree(worker)[1:]
    cluster_of(worker).kill()

    until(lambda: is_lost(job), seconds=60, what="the job to be lost")
    until(lambda: not any(alive(process) for process in everyone), seconds=10, what="the old cluster to be gone")
    assert_nothing_left_and_work_goes_on(shop, installation)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_parent_takes_everything_with_it_and_another_worker_goes_on(
    shop, installation, scheduler, worker, postgres_url, round_
):
    job = create_job(slow_pipeline(shop, postgres_url))
    mover_of(installation)
    everyone = installation.tree(worker)
    worker.kill()
    worker.wait()

    until(lambda: not any(alive(process) for process in everyone), seconds=10, what="its processes to be gone")
    until(lambda: is_lost(job), seconds=60, what="the job to be lost")
    installation.start("worker")
    assert_nothing_left_and_work_goes_on(shop, installation)


def assert_nothing_left_and_work_goes_on(workspace, installation, *, busy=None):
    """No process of an ended job lives, and a new job that needs no store is run to its end."""
    marks = {str(busy.pk)} if busy else set()
    until(lambda: {p.environ()[MARK].split(":")[0] for p in installation.job_processes()} <= marks, seconds=10)
    made = files_pipeline(workspace, f"After {time.monotonic()}", [{"stream": "x", "path": "x.csv"}])
    assert made.status, "the check ran"
