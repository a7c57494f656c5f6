"""`manage.py up`: one command that serves, restarts what ends and stops all of it."""

import json
import re
import signal
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError

import psutil
import pytest

from jobs.models import Job, Worker
from jobs.status import JobStatus
from tests.e2e.installation import alive, until, wait_for_end
from tests.factories import make_component, make_pipeline, make_user, make_workspace
from workspaces.services import issue_token

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def port():
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def status_of(url, *, method="GET", token=""):
    """The status a request gets; None while nobody answers."""
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code
    except OSError:
        return None


def test_it_serves_prints_a_link_restarts_a_killed_worker_and_stops_clean_on_ctrl_c(installation, port):
    process = installation.start("up", "--port", str(port))
    until(lambda: "Ctrl-C stops it" in installation.log, seconds=40, what="the site")
    link = re.search(r"http://\S+/welcome/\S+", installation.log)[0]
    assert status_of(link) == 200
    assert status_of(f"http://127.0.0.1:{port}/api/workspaces") == 401

    until(lambda: Worker.objects.exists(), seconds=20, what="the worker")
    first = Worker.objects.get()
    psutil.Process(first.pid).kill()
    until(lambda: Worker.objects.exclude(pk=first.pk).exists(), seconds=30, what="another worker")

    everyone = installation.tree(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    assert not [one for one in everyone if alive(one)]
    assert not Worker.objects.exclude(pk=first.pk).exists()


def test_a_taken_port_is_named_with_another_to_try(installation, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        process = installation.start("up", "--port", str(port), "--no-worker")
        assert process.wait(30) == 1

    assert f"Port {port} cannot be used" in installation.log
    assert f"--port {port + 1}" in installation.log


def test_without_a_worker_fifty_requests_make_one_job_and_a_worker_then_runs_it(installation, port):
    owner = make_user("olga")
    workspace = make_workspace(owner=owner)
    tap = make_component(workspace, "tap-files", properties={"files": json.dumps([{"stream": "x", "path": "x.csv"}])})
    store = make_component(workspace, "target-duckdb", "Warehouse", is_default=True)
    pipeline = make_pipeline(workspace, components=[tap, store])
    token = issue_token(owner, name="test", scope="admin")[1]
    installation.start("up", "--port", str(port), "--no-worker")
    until(lambda: "Ctrl-C stops it" in installation.log, seconds=40, what="the site")

    url = f"http://127.0.0.1:{port}/api/pipelines/{pipeline.pk}/jobs"
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: status_of(url, method="POST", token=token), range(50)))
    assert sorted(statuses) == [201] + [409] * 49

    job = Job.objects.get()
    assert job.status == JobStatus.QUEUED
    installation.start("worker")
    wait_for_end(job)
    assert Job.objects.count() == 1
