"""The page of a job with connectors: its processes, its streams, its versions, its sample rows and who sees them."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from jobs.words import headline_of
from tests.api_client import api_as
from tests.factories import make_component, make_job, make_pipeline
from tests.pages import page, signed_in

pytestmark = pytest.mark.django_db
START = timezone.now() - timedelta(hours=1)
SAMPLES = [{"stream": "people", "columns": ["id", "name"], "rows": [["1", "Ada Sampled"], ["2", None]]}]
ENVIRONMENT = {
    "name": "tap-orchard, target-barn",
    "requirements": "Tap_Orchard[all]==0.4 extra-package",
    "python": "3.11",
    "digest": "ab" * 32,
    "packages": {"tap-orchard": "0.4.1", "requests": "2.32.0"},
}


def address(job, name="job-page"):
    return reverse(name, args=[job.workspace.alias, job.number])


def part(name, code, *, after=0.0, seconds=1.0, was_ended=False):
    return {"name": name, "after": after, "seconds": seconds, "exit_code": code, "was_ended": was_ended}


def pair(pipeline, *parts, status="ERROR", **values):
    """A job whose pair of programs ended like this."""
    step = {"name": "Extract and load", "status": status.lower(), "started_at": START.isoformat(), "seconds": 5.0}
    step |= {"exit_code": 1, "parts": list(parts)}
    return make_job(pipeline, status=status, now=START, steps=[step], **values)


def test_the_process_that_failed_first_is_named_and_the_others_only_follow(pipeline, viewer):
    job = pair(
        pipeline,
        part("tap-orchard", 143, seconds=3.1, was_ended=True),
        part("target-barn", 1, seconds=3.0),
        part("relay", 1, seconds=3.2),
        part("count", 0, seconds=3.4),
    )
    markup = page(signed_in(viewer), address(job))
    assert "tap-orchard ended by TERM" in markup.text
    assert "target-barn failed first" in markup.text
    assert "relay between the two failed after it" in markup.text
    assert markup.text.count("failed first") == 1
    assert len([attrs for attrs in markup.all("td") if "code bad-ink" in attrs.get("class", "")]) == 2  # step, cause


def test_an_echo_is_not_first_though_it_was_seen_first(pipeline, viewer):
    tap, target = part("tap-orchard", 1, seconds=2.9), part("target-barn", 1, seconds=3.0)
    text = page(signed_in(viewer), address(pair(pipeline, {**tap, "is_echo": True}, target))).text
    assert "target-barn failed first" in text and "tap-orchard failed after it" in text


def test_nobody_failed_first_in_a_run_that_was_stopped(pipeline, viewer):
    job = pair(pipeline, part("tap-orchard", 143), part("target-barn", 137), status="STOPPED")
    text = page(signed_in(viewer), address(job)).text
    assert "tap-orchard ended by TERM" in text and "target-barn ended by KILL" in text
    assert "failed first" not in text


def test_a_step_that_had_read_enough_shows_no_fault(pipeline, viewer):
    step = {"name": "Read sample rows", "status": "complete", "started_at": START.isoformat(), "seconds": 1.0}
    job = make_job(pipeline, type="PIPELINE_ENV", status="COMPLETE", now=START, steps=[{**step, "exit_code": 143}])
    markup = page(signed_in(viewer), address(job))
    assert "Read sample rows ended by TERM" in markup.text
    assert not [attrs for attrs in markup.all("td") if "bad-ink" in attrs.get("class", "")]


def stream(name, **values):
    return {"stream": name, "mode": "singer", "rows_read": 10, "rows_written": 10, "done": True, **values}


def test_counts_that_could_not_be_verified_say_why(pipeline, viewer):
    streams = [
        stream("merged", verified=None),
        stream("counted", verified=True),
        stream("empty", rows_read=0, rows_written=0, verified=None),
    ]
    parts = [part("tap-orchard", 0), part("target-barn", 0), part("relay", 0), part("count", 0)]
    text = page(signed_in(viewer), address(pair(pipeline, *parts, status="COMPLETE", streams=streams))).text
    assert "Not verified The table held rows before and some may have been updated" in text
    assert "Counts agree" in text and "Nothing to count" in text and "By the loader" in text
    assert text.count("Not verified") == 1


def test_a_loader_whose_definition_names_no_store_is_said_not_to_be_verified(pipeline, viewer):
    parts = [part("tap-orchard", 0), part("target-barn", 0), part("relay", 0)]
    job = pair(pipeline, *parts, status="COMPLETE", streams=[stream("blind", verified=None)])
    text = page(signed_in(viewer), address(job)).text
    assert "Not verified The loader's definition does not say where its rows can be counted." in text


def test_rows_that_a_loader_may_have_stored_are_not_said_to_be_none(pipeline, viewer):
    open_stream = {"stream": "people", "mode": "singer", "rows_read": 4200, "bytes": 90, "done": False}
    job = pair(pipeline, streams=[open_stream], rows_read=4200, headline="target-barn ended with exit code 1")
    text = page(signed_in(viewer), address(job)).text
    assert "Rows read 4,200 the loader has not said how many are stored" in text
    assert "What the loader had confirmed by then is stored" in text
    assert "what the store had before is unchanged" not in text and "Rows stored 0" not in text


def test_the_versions_used_are_shown_with_all_packages(pipeline, viewer):
    job = make_job(pipeline, status="COMPLETE", environments=[ENVIRONMENT])
    text = page(signed_in(viewer), address(job)).text
    assert (
        "tap-orchard, target-barn Tap_Orchard[all]==0.4 extra-package 0.4.1 3.11 abababababab All 2 packages of tap-orchard, target-barn"
        in text
    )
    assert "requests 2.32.0" in text


def test_sample_rows_are_for_operators_and_owners_only(pipeline, owner, operator, viewer):
    job = make_job(pipeline, type="PIPELINE_ENV", status="COMPLETE", samples=SAMPLES)
    for person in (owner, operator):
        for name in ("job-page", "job-live"):
            text = page(signed_in(person), address(job, name), **{"HX-Request": "true"}).text
            assert "Sample rows of people" in text and "Ada Sampled" in text and "NULL" in text
        body = api_as(person).get(f"/api/jobs/{job.pk}").json()
        assert body["samples"] == SAMPLES
    for name in ("job-page", "job-live"):
        text = page(signed_in(viewer), address(job, name), **{"HX-Request": "true"}).text
        assert "Sampled" not in text and "operators and owners of" in text
    answer = api_as(viewer).get(f"/api/jobs/{job.pk}")
    assert answer.status_code == 200 and "samples" not in answer.json() and b"Sampled" not in answer.content


def test_a_token_that_may_only_read_gets_no_sample_rows(pipeline, owner):
    job = make_job(pipeline, type="PIPELINE_ENV", status="COMPLETE", samples=SAMPLES)
    assert b"Sampled" not in api_as(owner, scope="read").get(f"/api/jobs/{job.pk}").content


def test_a_component_test_is_named_after_its_component(workspace, operator):
    component = make_component(workspace, "tap-files", "Shop files")
    job = make_job(workspace=workspace, type="COMPONENT_TEST", status="COMPLETE", component=component)
    browser = signed_in(operator)
    markup = page(browser, address(job))
    again = reverse("component-test", args=[workspace.alias, component.pk])
    assert "Component test of Shop files" in markup.text and "Complete: Shop files, job" in markup.text
    assert again in markup.actions
    listing = page(browser, reverse("job-pages", args=[workspace.alias])).text
    assert f"Shop files · job {job.number} Component test" in listing


def test_tests_are_started_from_pages_and_say_so(workspace, operator):
    component = make_component(workspace, "tap-files", "Shop files")
    pipeline = make_pipeline(workspace, "Orders nightly", components=[component], status="FAILED")
    browser = signed_in(operator)
    for name, number, kind, said in (
        ("pipeline-test", pipeline.number, "PIPELINE_ENV", "The test of Orders nightly is queued"),
        ("component-test", component.pk, "COMPONENT_TEST", "The test of Shop files is queued"),
    ):
        answer = browser.post(reverse(name, args=[workspace.alias, number]), follow=True)
        job = Job.objects.get(type=kind)
        assert answer.redirect_chain[-1][0] == address(job) and said in answer.content.decode()
        assert (job.created_by, job.trigger) == (operator, "MANUAL")
    assert Job.objects.get(type="COMPONENT_TEST").component == component


def test_a_component_of_another_workspace_cannot_be_tested_from_here(workspace, stranger, operator):
    other = stranger.memberships.get().workspace
    component = make_component(other, "tap-files", "Theirs")
    answer = signed_in(operator).post(reverse("component-test", args=[workspace.alias, component.pk]))
    assert answer.status_code == 404 and not Job.objects.exists()


@pytest.mark.parametrize(
    ("kind", "samples", "oks", "said"),
    [
        ("PIPELINE_ENV", SAMPLES, [True, True], "Both ends answer: 2 checks passed, 2 sample rows of 1 stream"),
        ("PIPELINE_ENV", [], [True, None], "Both ends answer: 1 check passed, with 1 warning"),
        ("COMPONENT_TEST", [], [True], "Shop files answers: 1 check passed"),
        ("PIPELINE_CONFIG", [], [True, None], "Ready to run, with 1 warning"),
    ],
)
def test_the_headline_of_a_test_counts_what_passed(workspace, kind, samples, oks, said):
    component = make_component(workspace, "tap-files", "Shop files")
    job = make_job(workspace=workspace, type=kind, status="RUNNING", component=component)
    assert headline_of(job, {"checks": [{"ok": ok} for ok in oks], "samples": samples}) == said
