"""Tests of a pair and of one component by itself: real connectors, nothing loaded, nothing of a secret seen."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from eltsite.errors import Conflict
from jobs import folders
from jobs.claims import claim_job
from jobs.connectors import catalog_key
from jobs.definitions import ends_of_component
from jobs.logs import read_log
from jobs.models import Job, JobCount
from jobs.retention import drop_old
from jobs.runner import execute_job
from jobs.services import JobNotRetriable, create_component_test, request_stop, retry_job, why_queued
from jobs.status import JobStatus, JobType
from pipelines.models import ComponentCatalog, DataComponent, Pipeline
from pipelines.services import delete_component, save_plugin
from tests.api_client import api_as, send
from tests.factories import make_component, make_pipeline
from tests.fixtures.plugins import definition, fixture_component
from tests.pages import page, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "hunter22-secret"


@pytest.fixture
def tap(workspace, requirement):
    """A tap that tells its password to whoever listens."""
    plugin = save_plugin(workspace, definition=definition("EXTRACTOR", requirement=requirement))
    return fixture_component(
        workspace, plugin, "Shop", streams={"orders": 30, "items": 3}, password=SECRET, fault="tells"
    )


@pytest.fixture
def target(workspace, requirement):
    """A target in the workspace's folder."""
    plugin = save_plugin(workspace, definition=definition("LOADER", requirement=requirement))
    out = folders.prepare(workspace) / "files" / "out"
    out.mkdir(exist_ok=True)
    os.chmod(out, 0o2777)
    return fixture_component(workspace, plugin, "Files", folder="out", required="yes")


def run_next():
    """The next job, run to its end, and its log."""
    job = claim_job(worker_id=None)
    assert job is not None
    execute_job(job)
    job.refresh_from_db()
    return job, "\n".join(line.text for _, line in read_log(job, limit=100_000))


def everything(job):
    """All that is kept of a job."""
    kept = {field.name: str(getattr(job, field.name)) for field in Job._meta.fields}
    return json.dumps(kept)


def test_a_test_of_a_pair_shows_the_environment_tests_both_ends_and_loads_nothing(
    workspace, tap, target, operator, viewer
):
    pipeline = make_pipeline(workspace, "Pair", components=[tap, target])
    answer = send(api_as(operator), "POST", f"/api/pipelines/{pipeline.pk}/verification")
    assert answer.status_code == 200, answer.content
    job, log = run_next()

    assert (job.type, job.status) == (JobType.PIPELINE_ENV, JobStatus.COMPLETE), log
    assert "PATH=/usr/local/bin:/usr/bin:/bin" in log
    assert "Shop.password = ***" in log
    assert "TAP_FIXTURE_PASSWORD=***" in log
    assert 'TAP_FIXTURE_STREAMS={"orders": 30, "items": 3}' in log
    assert "connected with ***" in log
    assert [(check["name"], check["ok"]) for check in job.checks] == [
        ("Streams of Shop", True),
        ("Sample rows of Shop", True),
        ("Settings of Files", True),
    ]
    assert {sample["stream"]: len(sample["rows"]) for sample in job.samples} == {"orders": 10, "items": 3}
    assert "***" in job.samples[0]["rows"][0]
    catalog = ComponentCatalog.objects.get(component=tap)
    assert SECRET not in log + everything(job) + json.dumps(catalog.catalog)
    assert list((folders.of_workspace(workspace) / "files" / "out").iterdir()) == []
    assert list((folders.of_workspace(workspace) / "runs").iterdir()) == []

    shown = api_as(viewer).get(f"/api/datacomponents/{tap.pk}").json()
    assert [(stream["name"], stream["selected"]) for stream in shown["streams"]] == [
        ("orders", "SELECTED"),
        ("items", "SELECTED"),
    ]
    assert "samples" not in api_as(viewer).get(f"/api/jobs/{job.pk}").json()
    assert api_as(operator).get(f"/api/jobs/{job.pk}").json()["samples"] == job.samples


def test_a_component_is_tested_without_any_pipeline(workspace, tap, operator, viewer):
    assert Pipeline.objects.count() == 0
    answer = send(api_as(operator), "POST", f"/api/datacomponents/{tap.pk}/verification")
    assert answer.status_code == 200, answer.content
    job = Job.objects.get()
    assert "No worker is running" in why_queued(job)
    job, log = run_next()

    assert (job.type, job.status, job.pipeline, job.component) == (
        JobType.COMPONENT_TEST,
        JobStatus.COMPLETE,
        None,
        tap,
    )
    assert len(job.samples) == 2, log
    assert [stream["name"] for stream in DataComponent.objects.get(pk=tap.pk).streams] == ["orders", "items"]
    assert SECRET not in log + everything(job)
    text = page(signed_in(viewer), reverse("job-page", args=[workspace.alias, job.number])).text
    assert "Component test of Shop" in text
    assert SECRET not in text


def test_a_test_of_a_target_says_what_is_wrong_with_its_settings(workspace, target):
    create_component_test(target)
    job, log = run_next()
    assert job.status == JobStatus.COMPLETE, log
    DataComponent.objects.filter(pk=target.pk).update(properties={"folder": "out"})
    create_component_test(target)
    job, log = run_next()

    assert job.status == JobStatus.ERROR
    assert "'required' is a required property" in job.headline
    assert job.exit_code == 1


def test_an_old_test_of_a_component_goes_and_cannot_be_retried(workspace, target):
    create_component_test(target)
    job, _ = run_next()
    with pytest.raises(JobNotRetriable, match="Start the test again"):
        retry_job(job)
    drop_old(timezone.now() + timedelta(days=400))

    assert not Job.objects.exists()
    assert not JobCount.objects.filter(count__gt=0).exists()


def test_a_component_is_not_deleted_while_a_test_of_it_is_active(workspace, owner):
    component = make_component(workspace, "tap-files", "Shop files")
    job = create_component_test(component)
    with pytest.raises(Conflict, match=f"Job {job.number}, a test of Shop files, is queued. Stop it"):
        delete_component(component)
    running = claim_job(worker_id=None)
    request_stop(running)
    with pytest.raises(Conflict, match="is being stopped"):
        delete_component(component)
    execute_job(running)
    delete_component(component)

    assert not Job.objects.exists()
    assert not JobCount.objects.filter(count__gt=0).exists()


def test_a_catalogs_key_changes_with_a_secret_and_tells_nobody_without_ours_what_it_is(tap, settings):
    end = ends_of_component(tap).extractor
    key = catalog_key(end)
    end.settings["password"] = "another"
    other = catalog_key(end)
    end.settings["password"] = SECRET
    settings.SECRET_KEY = "of another installation"

    assert len({key, other, catalog_key(end)}) == 3
    assert SECRET not in key


def test_every_text_of_a_secret_object_is_a_secret(workspace):
    keys = {"name": "keys", "kind": "OBJECT", "sensitive": True}
    plugin = save_plugin(workspace, definition=definition("EXTRACTOR", requirement="x==1", settings=[keys]))
    component = fixture_component(
        workspace, plugin, "Shop", keys={"private_key": "line-one", "more": [{"a": "deep"}], "n": 1}
    )

    assert set(ends_of_component(component).extractor.secrets) == {"line-one", "deep"}
