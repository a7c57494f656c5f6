"""What becomes of a job that cannot even start: a status and a sentence, never a stuck row."""

import json

import pytest

from jobs.claims import claim_job
from jobs.logs import read_log
from jobs.runner import execute_job
from jobs.services import create_job
from jobs.status import JobStatus
from tests.factories import make_component, make_pipeline

pytestmark = pytest.mark.django_db(transaction=True)


def run(pipeline):
    """Claim the pipeline's job and run it here."""
    create_job(pipeline)
    job = claim_job(worker_id=None)
    execute_job(job)
    job.refresh_from_db()
    return job


def test_a_definition_with_a_fault_ends_as_error_that_names_it_without_a_traceback(workspace):
    source = make_component(workspace, "tap-sql", "Shop", properties={"host": "db", "port": "seven"})
    store = make_component(workspace, "target-duckdb", "Warehouse")
    job = run(make_pipeline(workspace, components=[source, store]))

    assert job.status == JobStatus.ERROR
    assert "Shop.port" in job.headline
    assert job.error["remedy"]
    text = "\n".join(line.text for _, line in read_log(job))
    assert "Shop.port" in text
    assert "Traceback" not in text


def test_a_defect_of_ours_ends_as_error_with_its_traceback_and_without_secrets(workspace, monkeypatch):
    source = make_component(
        workspace,
        "tap-sql",
        "Shop",
        properties={
            **{"host": "db", "user": "me", "database": "shop", "password": "hunter22-secret"},
            "tables": json.dumps([{"table": "orders"}]),
        },
    )
    store = make_component(workspace, "target-duckdb", "Warehouse")

    def broken(*_, **__):
        raise RuntimeError("could not use hunter22-secret")

    monkeypatch.setattr("jobs.runner.execute_run", broken)
    job = run(make_pipeline(workspace, components=[source, store]))

    assert (job.status, job.headline) == (JobStatus.ERROR, "could not use ***")
    text = "\n".join(line.text for _, line in read_log(job))
    assert "Traceback" in text
    assert "hunter22" not in text + json.dumps(job.error)


def test_a_pipeline_without_a_pair_does_nothing_and_says_so(workspace):
    job = run(make_pipeline(workspace))

    assert (job.status, job.exit_code) == (JobStatus.COMPLETE, 0)
    assert "no pair of extractor and loader" in job.headline
    assert "nothing to do" in "\n".join(line.text for _, line in read_log(job))
