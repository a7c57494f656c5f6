"""A workspace's home: does anything need me?"""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.counters import remember_run
from jobs.home_views import Need, fire_times, needs_headline
from jobs.models import DayCount, Job, SkippedSlot, Worker
from pipelines.models import Pipeline
from tests.factories import make_job, make_pipeline, make_workspace
from tests.pages import SIGNING_IN, page, queries_of, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(workspace):
    return reverse("workspace-home", args=[workspace.alias])


def need(status):
    return Need(status, "", None, "", None)


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([], "Nothing needs you"),
        (["error"], "One failure needs you"),
        (["late", "skipped"], "Two warnings need you"),
        (["error", "failed", "stopped", "late"], "Three failures and one warning need you"),
        (["error"] * 12, "12 failures need you"),
    ],
)
def test_the_headline_is_the_answer(statuses, said):
    assert needs_headline([need(status) for status in statuses]) == said


def test_a_calm_day_looks_calm(home, pipeline, viewer):
    markup = page(signed_in(viewer), home)
    assert "Nothing needs you" in markup.text and "Needs you" not in markup.text
    assert "No worker is running" in markup.text


def test_a_failed_run_needs_a_person_until_a_newer_one(home, workspace, pipeline, operator):
    failed = make_job(
        pipeline, status="ERROR", headline="Lost the connection", now=timezone.now() - timedelta(minutes=9)
    )
    timed_out = make_job(
        make_pipeline(workspace, "Slow"), status="STOPPED", stop_reason="TIMEOUT", headline="Timed out after 300 s"
    )
    make_job(make_pipeline(workspace, "Stopped by hand"), status="STOPPED", stop_reason="USER")
    browser = signed_in(operator)
    markup = page(browser, home)
    assert "Two failures need you" in markup.text and "Lost the connection." in markup.text
    for job in (failed, timed_out):
        assert reverse("job-retry", args=[workspace.alias, job.number]) in markup.actions
    make_job(pipeline, status="RUNNING")
    assert "One failure needs you" in page(browser, home).text


def test_a_failed_check_a_late_slot_and_a_skipped_one_need_a_person(home, workspace, pipeline, viewer):
    now = timezone.now()
    Pipeline.objects.filter(pk=pipeline.pk).update(status="FAILED", status_reason="The source does not answer.")
    make_pipeline(workspace, "Exchange rates", schedule="0 0 * * * *", next_run_at=now - timedelta(minutes=34))
    make_pipeline(workspace, "Paused", schedule="0 0 * * * *", next_run_at=now - timedelta(hours=3), is_paused=True)
    SkippedSlot.objects.create(pipeline=pipeline, slot_at=now - timedelta(hours=1), reason="job 7 was still running")
    SkippedSlot.objects.create(pipeline=pipeline, slot_at=now - timedelta(days=2), reason="long ago")
    text = page(signed_in(viewer), home).text
    assert "One failure and two warnings need you" in text
    for said in ("The source does not answer.", "34 min late", "Job 7 was still running."):
        assert said in text, said
    assert "long ago" not in text


def test_running_now_shows_rate_and_what_waits(home, workspace, pipeline, viewer):
    now = timezone.now()
    Worker.objects.create(host="h", pid=1, slots=4, version="1", started_at=now, heartbeat_at=now)
    make_job(pipeline, status="RUNNING", now=now - timedelta(seconds=100), rows_written=200_000)
    make_job(make_pipeline(workspace, "Waiting"), queued_reason="Waits for job 3")
    markup = page(signed_in(viewer), home, **{"HX-Request": "true"})
    assert "Running now 1 of 4 slots" in markup.text
    assert "200,000 rows" in markup.text and "Waits for job 3" in markup.text
    part = signed_in(viewer).get(f"{home}?part=now", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section") and "<html" not in part


def test_jobs_by_day_come_from_the_counters(home, workspace, pipeline, viewer):
    today = timezone.now().date()
    DayCount.objects.create(workspace=workspace, day=today, status="COMPLETE", count=5694)
    DayCount.objects.create(workspace=workspace, day=today - timedelta(days=2), status="ERROR", count=31)
    DayCount.objects.create(workspace=workspace, day=today - timedelta(days=40), status="ERROR", count=1000)
    DayCount.objects.create(workspace=make_workspace("Other"), day=today, status="ERROR", count=1000)
    text = page(signed_in(viewer), home).text
    assert "5,694 complete" in text and "31 error" in text
    assert "5,694 runs ended today: 5,694 complete." in text


def test_next_fires_are_listed_in_order(home, workspace, pipeline, viewer):
    now = timezone.now()
    make_pipeline(workspace, "Later", schedule="0 0 0 1 1 *", next_run_at=now + timedelta(hours=3))
    make_pipeline(workspace, "Sooner", schedule="0 */15 * * * *", next_run_at=now + timedelta(minutes=3))
    make_pipeline(workspace, "Tomorrow", schedule="0 0 0 * * *", next_run_at=now + timedelta(hours=20))
    text = page(signed_in(viewer), home).text
    fires = text[text.index("Next fires") : text.index("Pipelines 4")]
    assert fires.index("Sooner") < fires.index("Later") and "Tomorrow" not in fires


def test_a_schedule_that_fires_often_is_drawn_at_each_fire():
    now = datetime(2026, 11, 23, 8, 14, tzinfo=UTC)
    often = Pipeline(schedule="0 */15 * * * *", time_zone="UTC", next_run_at=datetime(2026, 11, 23, 8, 15, tzinfo=UTC))
    once = Pipeline(schedule="0 0 10 * * *", time_zone="UTC", next_run_at=datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    times = fire_times([often, once], now)
    assert len(times) == 24 + 1 and max(times) == datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def test_pipelines_that_need_one_come_first_and_paused_ones_say_so(home, workspace, viewer):
    for number in range(12):
        make_pipeline(workspace, f"A {number:02}")
    last = make_pipeline(workspace, "Zebra", is_paused=True)
    remember_run(make_job(last, status="ERROR", headline="Lost"))
    rows = page(signed_in(viewer), home)
    table = rows.text[rows.text.index("Last 30 runs") :]
    assert table.index("Zebra") < table.index("A 00") and "Paused" in table
    assert "10 of 13" in table and "A 11" not in table


def test_an_empty_workspace_says_how_to_begin(home, viewer):
    assert "Nothing runs here yet" in page(signed_in(viewer), home).text


def test_a_workspace_whose_set_up_failed_says_so(workspace, home, viewer):
    workspace.status, workspace.status_reason = "FAILED", "The disk is full."
    workspace.save()
    assert "The disk is full." in page(signed_in(viewer), home).text


def test_home_keeps_its_budget(home, workspace, viewer):
    def grow(count):
        for number in range(count):
            pipeline = make_pipeline(
                workspace, f"Pipeline {count} {number}", schedule="0 0 * * * *", next_run_at=timezone.now()
            )
            for status in ("COMPLETE", "COMPLETE", "ERROR"):
                remember_run(make_job(pipeline, status=status, headline="Loaded 5 streams"))
            if number % 2:
                make_job(pipeline, status="RUNNING")
            SkippedSlot.objects.create(pipeline=pipeline, slot_at=timezone.now(), reason="busy")

    browser = signed_in(viewer)
    grow(2)
    few = queries_of(browser, home)
    grow(20)
    Pipeline.objects.update(recent_runs=Pipeline.objects.first().recent_runs * 10)
    assert queries_of(browser, home) == few <= 14 + SIGNING_IN
    assert len(browser.get(home).content) < 120_000
    assert queries_of(browser, f"{home}?part=now", **{"HX-Request": "true"}) <= 4 + SIGNING_IN
    assert Job.objects.filter(status="RUNNING").exists()
