"""POST verification: tests of a pipeline and of a component by itself, and who may ask for them."""

import pytest

from jobs.models import Job
from tests.api_client import api_as, send
from tests.factories import make_component, make_pipeline

pytestmark = pytest.mark.django_db


@pytest.fixture
def addresses(workspace):
    """Of a pipeline that failed its check, and of its component."""
    component = make_component(workspace, "tap-files", "Shop files")
    pipeline = make_pipeline(workspace, "Orders nightly", components=[component], status="FAILED")
    return {
        "PIPELINE_ENV": f"/api/pipelines/{pipeline.pk}/verification",
        "COMPONENT_TEST": f"/api/datacomponents/{component.pk}/verification",
    }


@pytest.mark.parametrize("kind", ["PIPELINE_ENV", "COMPONENT_TEST"])
def test_an_operator_gets_the_job_of_a_test(addresses, operator, kind):
    answer = send(api_as(operator), "POST", addresses[kind])
    body = answer.json()
    assert (answer.status_code, body["type"], body["status"], body["triggeredBy"]) == (200, kind, "QUEUED", "API")
    job = Job.objects.get(pk=body["id"])
    assert (job.created_by, job.component is not None) == (operator, kind == "COMPONENT_TEST")


@pytest.mark.parametrize("kind", ["PIPELINE_ENV", "COMPONENT_TEST"])
def test_who_may_only_read_is_refused(addresses, owner, viewer, kind):
    assert send(api_as(viewer), "POST", addresses[kind]).status_code == 403
    assert send(api_as(owner, scope="read"), "POST", addresses[kind]).status_code == 403
    assert not Job.objects.exists()


@pytest.mark.parametrize("kind", ["PIPELINE_ENV", "COMPONENT_TEST"])
def test_what_is_elsewhere_is_not_found(addresses, stranger, kind):
    assert send(api_as(stranger), "POST", addresses[kind]).status_code == 404
    assert not Job.objects.exists()
