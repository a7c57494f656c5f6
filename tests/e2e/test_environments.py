"""Environments under real workers: built once for all who need them, whoever dies on the way."""

import contextlib
import os
import signal

import psutil
import pytest
from django.conf import settings

from jobs import folders
from jobs.logs import read_log
from jobs.models import Job
from jobs.services import create_job
from jobs.status import JobStatus, JobType
from pipelines.models import PipelineStatus, PluginEnvironment
from pipelines.services import save_pipeline
from tests.e2e.installation import until, wait_for_end
from tests.fixtures.packages import make_connectors
from tests.fixtures.plugins import fixture_component, fixture_plugins

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def requirement(tmp_path_factory, monkeypatch):
    """The fixture connectors in a version that nobody has built yet, found without any index."""
    wheels = settings.ELTSITE_HOME / "wheels"
    version = f"1.{os.getpid()}.{len(list(wheels.glob('*.whl'))) if wheels.exists() else 0}"
    found = make_connectors(wheels, version=version)
    wheels.chmod(0o755)
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return found


def make_pipelines(workspace, requirement, count):
    """Pipelines of fixture connectors that share one environment."""
    tap_plugin, target_plugin = fixture_plugins(workspace, requirement)
    out = folders.prepare(workspace) / "files" / "out"
    out.mkdir(exist_ok=True)
    out.chmod(0o2777)
    made = []
    for number in range(count):
        stream = f"orders_{number}"
        tap = fixture_component(workspace, tap_plugin, f"Shop {number}", streams={stream: 30})
        target = fixture_component(workspace, target_plugin, f"Files {number}", folder="out", required="yes")
        made.append(save_pipeline(workspace, label=f"Pair {number}", components=[tap, target], properties={}))
    return made


def log_of(job):
    return "\n".join(line.text for _, line in read_log(job, limit=100_000))


def builds(jobs):
    return sum("Building the environment" in log_of(job) for job in jobs)


def test_ten_jobs_on_two_workers_make_one_build(requirement, shop, installation):
    second = installation.start("worker", ELTSITE_SLOTS="4")
    installation.start("scheduler")  # as `up` does: it wakes the worker that has free slots
    until(lambda: len(installation.tree(second)) > 4 + 3, what="the second worker's cluster")
    pipelines = make_pipelines(shop, requirement, 10)  # each is checked at once, and the checks build
    checks = [wait_for_end(job, seconds=120) for job in Job.objects.filter(type=JobType.PIPELINE_CONFIG)]

    assert len(checks) == 10
    assert {job.status for job in checks} == {JobStatus.COMPLETE}, "\n".join(map(log_of, checks))
    assert builds(checks) == 1
    assert len({job.worker_id for job in checks}) == 2
    row = PluginEnvironment.objects.get(requirements=requirement)
    assert row.lock and row.built_at
    for pipeline in pipelines:
        pipeline.refresh_from_db()
        assert pipeline.status == PipelineStatus.READY
    run = wait_for_end(create_job(pipelines[0]))
    assert (run.status, run.rows_written) == (JobStatus.COMPLETE, 30), log_of(run)
    assert run.environments[0]["requirements"] == requirement


def test_a_builder_that_is_killed_leaves_nothing_in_the_way_of_the_next(requirement, shop, installation):
    pipeline = make_pipelines(shop, requirement, 1)[0]
    check = Job.objects.get(type=JobType.PIPELINE_CONFIG)
    builder = []

    def is_building():
        builder[:] = [process for process in installation.job_processes() if "uv" in process.name()]
        return builder

    until(is_building, seconds=30, what="the build")
    check.refresh_from_db()
    for process in [psutil.Process(check.supervisor_pid), *builder]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    installation.start("scheduler")
    lost = wait_for_end(check, seconds=60)
    again = wait_for_end(create_job(pipeline, type=JobType.PIPELINE_CONFIG), seconds=60)

    assert (lost.status, lost.headline) == (JobStatus.ERROR, "Worker lost")
    assert again.status == JobStatus.COMPLETE, log_of(again)
    assert builds([again]) == 1
    assert not list(settings.ELTSITE_ENVIRONMENTS.glob(".building-*"))
