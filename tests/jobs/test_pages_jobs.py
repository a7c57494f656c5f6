"""A job's page: its headline, its cause, its live part, and what one may do to it."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.counters import remember_run
from jobs.models import Job
from tests.factories import make_job, make_pipeline
from tests.pages import SIGNING_IN, Markup, page, queries_of, signed_in, write_log

pytestmark = pytest.mark.django_db
STREAMS = [
    {
        "stream": "customers",
        "rows_read": 12408,
        "rows_written": 12408,
        "bytes": 3_100_000,
        "done": True,
        "verified": True,
    },
    {"stream": "orders", "rows_read": 182403, "rows_written": 0, "bytes": 41_800_000, "done": False},
]


def address(job, name="job-page"):
    return reverse(name, args=[job.workspace.alias, job.number])


@pytest.fixture
def failed(pipeline):
    start = timezone.now() - timedelta(hours=1)
    steps = [
        {
            "name": "Extract and load",
            "started_at": start.isoformat(),
            "seconds": 10.0,
            "status": "error",
            "exit_code": 1,
        },
        {"name": "SQL models", "status": "skipped"},
    ]
    job = make_job(
        pipeline,
        status="ERROR",
        now=start,
        headline="Failed at orders: column slot turned from integer to text",
        exit_code=1,
        error={
            "reason": "The source changed",
            "remedy": "Allow widening, then run again",
            "stream": "orders",
            "line": 7,
        },
        steps=steps,
        streams=STREAMS,
        rows_read=194811,
        rows_written=12408,
        state_before={"bookmarks": {"customers": {"id": 1}}},
        state_after={"bookmarks": {"customers": {"id": 2}, "products": {"id": 5}}},
    )
    write_log(job, [("info", f"line {number}") for number in range(150)] + [("error", "could not convert AM")])
    return job


def test_a_failure_says_what_happened_why_and_what_to_try(failed, operator):
    markup = page(signed_in(operator), address(failed))
    assert markup.all("title") and "Error: Orders nightly, job" in markup.text
    for said in (
        "Failed at orders: column slot turned from integer to text",
        "The step Extract and load ended with exit code 1.",
        "Customers is stored and safe.",
        "The source changed.",
        "Allow widening, then run again.",
        "reads orders again",
        "could not convert AM",
    ):
        assert said in markup.text, said
    assert address(failed, "job-retry") in markup.actions
    assert "#L150" in markup.links


def test_the_log_opens_around_the_first_error(failed, viewer):
    rows = [
        attrs["id"]
        for attrs in page(signed_in(viewer), address(failed)).all("tr")
        if attrs.get("id", "").startswith("L")
    ]
    assert rows == [f"L{number}" for number in range(142, 151)]


def test_the_state_is_shown_as_a_difference(failed, viewer):
    text = page(signed_in(viewer), address(failed)).text
    assert "~ changed customers.id 1 2" in text
    assert "+ added products.id not set 5" in text


def test_a_job_that_has_ended_asks_for_nothing_more(failed, viewer):
    markup = page(signed_in(viewer), address(failed, "job-live"), **{"HX-Request": "true"})
    assert not [attrs for _, attrs in markup.tags if "hx-get" in attrs]
    assert [attrs for _, attrs in markup.tags if attrs.get("hx-swap-oob")] == [
        {"id": "state", "class": "after", "hx-swap-oob": "true"}
    ]


def test_a_running_job_says_what_it_does_and_how_long_it_usually_takes(pipeline, operator):
    for _ in range(3):
        done = make_job(
            pipeline, status="COMPLETE", rows_written=1000, streams=[{"stream": "orders", "rows_written": 200_000}]
        )
        Job.objects.filter(pk=done.pk).update(ended_at=done.started_at + timedelta(seconds=600))
        remember_run(Job.objects.select_related("pipeline").get(pk=done.pk))
    start = timezone.now() - timedelta(seconds=120)
    step = {"name": "Extract and load", "status": "running", "started_at": start.isoformat()}
    job = make_job(pipeline, status="RUNNING", now=start, steps=[step], streams=STREAMS, rows_written=12408)
    markup = page(signed_in(operator), address(job, "job-live"), **{"HX-Request": "true"})
    assert "Loading orders, about 8 min left" in markup.text or "about 7 min left" in markup.text
    assert "about 200,000" in markup.text and "Against the usual 10 min 00 s" in markup.text
    assert [attrs["hx-get"] for _, attrs in markup.tags if "hx-get" in attrs] == [address(job, "job-live")]
    assert markup.all("title")


def test_a_queued_job_says_what_it_waits_for(pipeline, viewer):
    job = make_job(pipeline, queued_reason="Waits for job 7, which holds the warehouse.")
    markup = page(signed_in(viewer), address(job))
    assert "Waits for job 7, which holds the warehouse" in markup.text
    assert "Not started yet" in markup.text


def test_a_job_that_no_worker_can_take_says_so(pipeline, viewer):
    assert "No worker is running" in page(signed_in(viewer), address(make_job(pipeline))).text


def test_a_time_out_is_shown_as_a_failure(pipeline, viewer):
    job = make_job(pipeline, status="STOPPED", stop_reason="TIMEOUT", headline="Timed out after 300 s", exit_code=124)
    markup = page(signed_in(viewer), address(job))
    assert "What happened" in markup.text and "stopped by the time limit" in markup.text


def test_a_stopped_job_names_who_stopped_it(pipeline, operator, viewer):
    job = make_job(pipeline, status="STOPPED", stop_reason="USER", stop_requested_by=operator)
    text = page(signed_in(viewer), address(job)).text
    assert "stopped by oscar" in text and "What happened" not in text


def test_attempts_are_listed_in_order(pipeline, viewer):
    first = make_job(pipeline, status="ERROR", headline="Connection reset")
    second = make_job(pipeline, status="ERROR", headline="Type change", retry_of=first, attempt=1, trigger="RETRY")
    third = make_job(pipeline, status="COMPLETE", retry_of=second, attempt=2, trigger="RETRY")
    other = make_job(pipeline, status="ERROR", headline="Of another day")
    for job in (first, second, third):
        markup = page(signed_in(viewer), address(job))
        text = markup.text[markup.text.index("Attempts") :]
        assert text.index("Connection reset") < text.index("Type change")
        assert "Of another day" not in text
    assert "Attempts" not in page(signed_in(viewer), address(other)).text


def test_models_and_checks_are_listed(pipeline, viewer):
    job = make_job(
        pipeline,
        status="ERROR",
        models_built=[
            {"name": "daily", "kind": "table", "status": "error", "error": "no column total", "seconds": 0.2}
        ],
        checks=[
            {"name": "Source", "ok": None, "text": "answers slowly"},
            {"name": "Store", "ok": True, "text": "is writable"},
        ],
    )
    text = page(signed_in(viewer), address(job)).text
    assert "Error: daily" in text and "no column total" in text
    assert "Warning: Source answers slowly" in text and "Good: Store is writable" in text


def test_what_started_a_job_is_linked(workspace, pipeline, owner, viewer):
    upstream = make_job(make_pipeline(workspace, "Shop"), status="COMPLETE")
    job = make_job(pipeline, status="COMPLETE", trigger="PIPELINE", trigger_job=upstream)
    assert address(upstream) in page(signed_in(viewer), address(job)).links
    by_hand = make_job(pipeline, status="COMPLETE", trigger="MANUAL", created_by=owner)
    assert "started by olga" in page(signed_in(viewer), address(by_hand)).text.lower()


def test_a_deleted_job_is_gone(pipeline, viewer):
    job = make_job(pipeline, status="COMPLETE", deleted_at=timezone.now())
    markup = page(signed_in(viewer), address(job), status=404)
    assert f"There is no job {job.number}" in markup.text


def test_an_unchanged_page_is_not_sent_again(failed, viewer):
    browser = signed_in(viewer)
    first = browser.get(address(failed, "job-log-lines"))
    again = browser.get(address(failed, "job-log-lines"), headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304 and not again.content


# ---------- doing ----------


def test_run_now_queues_a_job_and_shows_it(pipeline, operator):
    browser = signed_in(operator)
    response = browser.post(reverse("pipeline-run", args=[pipeline.workspace.alias, pipeline.number]), follow=True)
    job = Job.objects.get()
    assert response.redirect_chain == [(address(job), 302)]
    assert (job.status, job.trigger, job.created_by, job.full_refresh) == ("QUEUED", "MANUAL", operator, False)
    assert f"Orders nightly is queued as job {job.number}." in Markup(response.content.decode()).text


def test_run_from_the_list_stays_there_with_a_link(pipeline, operator):
    address_of_run = reverse("pipeline-run", args=[pipeline.workspace.alias, pipeline.number])
    response = signed_in(operator).post(f"{address_of_run}?stay=1&full=1", follow=True)
    assert response.request["PATH_INFO"] == reverse("pipeline-pages", args=[pipeline.workspace.alias])
    assert address(Job.objects.get(full_refresh=True)) in Markup(response.content.decode()).links


def test_stop_asks_a_running_job_and_ends_a_queued_one(pipeline, operator):
    browser = signed_in(operator)
    running, queued = make_job(pipeline, status="RUNNING"), make_job(make_pipeline(pipeline.workspace), status="QUEUED")
    for job in (running, queued):
        assert browser.post(address(job, "job-stop")).status_code == 302
        job.refresh_from_db()
    assert running.status == "RUNNING" and running.stop_requested_by == operator
    assert (queued.status, queued.stop_reason) == ("STOPPED", "USER")
    assert "Stopping: its processes are ending" in page(browser, address(running)).text
    refused = browser.post(address(queued, "job-stop"))
    assert refused.status_code == 409 and "already ended stopped" in Markup(refused.content.decode()).text


def test_retry_makes_the_next_attempt(failed, operator):
    signed_in(operator).post(address(failed, "job-retry"))
    again = Job.objects.get(status="QUEUED")
    assert (again.retry_of, again.attempt, again.trigger, again.full_refresh) == (failed, 1, "RETRY", False)


def test_a_run_from_the_beginning_is_asked_for_by_its_own_button(failed, operator):
    browser = signed_in(operator)
    action = next(action for action in page(browser, address(failed)).actions if action.endswith("?full=1"))
    browser.post(action)
    assert Job.objects.get(status="QUEUED").full_refresh


def test_delete_removes_a_job_and_says_so(failed, owner):
    response = signed_in(owner).post(address(failed, "job-delete"), follow=True)
    assert not Job.objects.filter(pk=failed.pk).exists()
    assert "and its log of 151 lines are deleted" in Markup(response.content.decode()).text


def test_doing_takes_a_press_not_a_link(failed, owner):
    for name in ("job-stop", "job-retry", "job-delete"):
        assert signed_in(owner).get(address(failed, name)).status_code == 405


@pytest.mark.parametrize("typed", ["{number}", "#{number}", "job {number}"])
def test_find_leads_to_a_job_by_its_number(failed, viewer, typed):
    found = reverse("find", args=[failed.workspace.alias])
    response = signed_in(viewer).get(found, {"q": typed.format(number=failed.number)})
    assert response["Location"] == address(failed)


def test_find_leads_to_a_pipeline_by_its_name_else_to_headlines(failed, viewer):
    found, browser = reverse("find", args=[failed.workspace.alias]), signed_in(viewer)
    assert browser.get(found, {"q": "nightly"})["Location"].endswith(f"/pipelines/{failed.pipeline.number}/")
    assert browser.get(found, {"q": "column slot"})["Location"].endswith("/jobs/?q=column+slot")
    assert browser.get(found, {"q": "9" * 40}).status_code == 302


# ---------- budgets ----------


def test_a_jobs_page_keeps_its_budget(failed, viewer, pipeline):
    browser = signed_in(viewer)
    few = queries_of(browser, address(failed))
    for _ in range(30):
        make_job(pipeline, status="ERROR", retry_of=failed)
    assert queries_of(browser, address(failed)) == few <= 8 + SIGNING_IN
    assert queries_of(browser, address(failed, "job-live"), **{"HX-Request": "true"}) <= 6 + SIGNING_IN
    assert len(browser.get(address(failed)).content) < 60_000
    assert len(browser.get(address(failed, "job-live"), headers={"HX-Request": "true"}).content) < 15_000
