"""The pages of pipelines: the list, the runs, the configuration and the state."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from jobs.counters import remember_run
from jobs.models import Job
from pipelines.models import Pipeline, PipelineState, PipelineStateChange
from tests.factories import make_component, make_job, make_pipeline
from tests.pages import SIGNING_IN, Markup, page, queries_of, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(workspace, owner):
    """A pipeline with both ends."""
    call_command("migrate", verbosity=0)
    source = make_component(
        workspace, "tap-sql", "Shop database", properties={"dialect": "postgresql", "host": "db.example"}
    )
    store = make_component(workspace, "target-duckdb", "Warehouse", properties={"path": "warehouse.duckdb"})
    return make_pipeline(
        workspace,
        "Orders nightly",
        components=[source, store],
        schedule="0 30 2 * * *",
        time_zone="Europe/Helsinki",
        next_run_at=timezone.now() + timedelta(hours=5, seconds=30),
        created_by=owner,
    )


def address(pipeline, name="pipeline-page"):
    return reverse(name, args=[pipeline.workspace.alias, pipeline.number])


def runs(pipeline, *statuses, streams=()):
    start = timezone.now() - timedelta(hours=len(statuses))
    for index, status in enumerate(statuses):
        job = make_job(
            pipeline,
            status=status,
            now=start + timedelta(hours=index),
            rows_written=1000 + index,
            streams=list(streams),
        )
        remember_run(Job.objects.select_related("pipeline").get(pk=job.pk))


def test_the_list_shows_last_run_next_run_and_status(shop, operator):
    runs(shop, "COMPLETE", "ERROR")
    listing = reverse("pipeline-pages", args=[shop.workspace.alias])
    markup = page(signed_in(operator), listing)
    assert "Orders nightly Shop database → Warehouse Error" in markup.text
    assert "1,001" in markup.text and "Last 2 runs: 1 complete, 1 error" in {
        tag.get("aria-label") for tag in markup.all("svg")
    }
    assert f"{address(shop, 'pipeline-run')}?stay=1" in markup.actions
    assert f"{address(shop, 'pipeline-pause')}?stay=1" in markup.actions


def test_a_running_pipeline_offers_its_job_instead_of_a_run(shop, operator):
    job = make_job(shop, status="RUNNING")
    listing = reverse("pipeline-pages", args=[shop.workspace.alias])
    markup = page(signed_in(operator), listing)
    assert f"See job {job.number}" in markup.text
    assert f"{address(shop, 'pipeline-run')}?stay=1" not in markup.actions
    assert f"/w/{shop.workspace.alias}/jobs/{job.number}/stop/" in page(signed_in(operator), address(shop)).actions


def test_search_finds_by_words_of_the_name(shop, viewer):
    make_pipeline(shop.workspace, "Stock levels")
    listing = reverse("pipeline-pages", args=[shop.workspace.alias])
    text = page(signed_in(viewer), f"{listing}?q=NIGHT").text
    assert "Orders nightly" in text and "Stock levels" not in text
    assert "No pipeline has “nothing”" in page(signed_in(viewer), f"{listing}?q=nothing").text


def test_the_list_has_pages(workspace, viewer):
    for number in range(30):
        make_pipeline(workspace, f"Pipeline {number:02}")
    listing, browser = reverse("pipeline-pages", args=[workspace.alias]), signed_in(viewer)
    first = page(browser, listing)
    assert "25 of 30" in first.text
    second = page(browser, listing + first.all("a", rel="next")[0]["href"])
    assert "Pipeline 29" in second.text and "5 of 30" in second.text
    assert "5 of 30" in page(browser, f"{listing}?page=99").text
    assert "25 of 30" in page(browser, f"{listing}?page=x").text


def test_pause_and_resume_with_a_way_back(shop, operator):
    browser = signed_in(operator)
    paused = browser.post(address(shop, "pipeline-pause"), follow=True)
    shop.refresh_from_db()
    assert shop.is_paused and shop.next_run_at is None
    markup = Markup(paused.content.decode())
    assert "Orders nightly is paused." in markup.text and address(shop, "pipeline-resume") in markup.actions
    resumed = browser.post(address(shop, "pipeline-resume"), follow=True)
    shop.refresh_from_db()
    assert not shop.is_paused and shop.next_run_at is not None
    assert "Orders nightly fires again." in Markup(resumed.content.decode()).text


def test_the_runs_are_compared_with_the_usual(shop, viewer):
    streams = [{"stream": "orders", "rows_written": 500, "done": True, "mode": "merge"}]
    runs(shop, *["COMPLETE"] * 5, "ERROR", streams=streams)
    text = page(signed_in(viewer), address(shop)).text
    for said in (
        "Every day at 02:30",
        "next in 5 h",
        "Last 6 runs",
        "5 complete",
        "1 error",
        "83 %",
        "5 of 6",
        "Usual duration 12 s",
    ):
        assert said in text, said
    assert "Rows by stream" in text and "orders" in text


def test_what_starts_it_and_what_it_starts_is_linked(shop, viewer):
    upstream, downstream = make_pipeline(shop.workspace, "Before"), make_pipeline(shop.workspace, "After")
    shop.triggered_by.add(upstream)
    downstream.triggered_by.add(shop)
    runs(shop, "COMPLETE")
    assert address(downstream) in page(signed_in(viewer), address(shop)).links
    links = page(signed_in(viewer), address(shop, "pipeline-configuration")).links
    assert address(upstream) in links and address(downstream) in links
    Pipeline.objects.filter(pk=shop.pk).update(schedule="", next_run_at=None)
    assert "After Before" in page(signed_in(viewer), reverse("pipeline-pages", args=[shop.workspace.alias])).text


def test_a_pipeline_that_never_ran_says_so(shop, viewer):
    assert "It has not run yet" in page(signed_in(viewer), address(shop)).text


def test_a_failed_check_is_said_on_the_page_and_run_is_off(shop, operator):
    Pipeline.objects.filter(pk=shop.pk).update(status="FAILED", status_reason="The source does not answer.")
    markup = page(signed_in(operator), address(shop))
    assert "The source does not answer." in markup.text
    run = next(button for button in markup.all("button") if button.get("formaction") == address(shop, "pipeline-run"))
    assert "disabled" in run


def test_configuration_shows_values_and_defaults(shop, viewer):
    text = page(signed_in(viewer), address(shop, "pipeline-configuration")).text
    for said in ("db.example", "5432", "by default", "Every day at 02:30", "Europe/Helsinki", "warehouse.duckdb"):
        assert said in text, said


def test_a_secret_set_by_the_pipeline_is_not_shown(shop, owner):
    Pipeline.objects.filter(pk=shop.pk).update(properties={"Shop database.password": "pipeline-secret-1"})
    markup = page(signed_in(owner), address(shop, "pipeline-configuration"))
    assert "pipeline-secret-1" not in markup.text and "Stored, never shown" in markup.text


def test_state_is_shown_and_reset(shop, operator):
    ends = [step.component for step in shop.steps.all()]
    bookmarks = {"bookmarks": {"orders": {"updated_at": "2026-11-22T00:31:40Z"}, "customers": {"id": 7}}}
    state = PipelineState.objects.create(pipeline=shop, extractor=ends[0], loader=ends[1], state=bookmarks)
    PipelineStateChange.objects.create(state=state, before={}, after=bookmarks, reason="Job 3")
    browser = signed_in(operator)
    markup = page(browser, address(shop, "pipeline-state"))
    assert "updated_at 2026-11-22T00:31:40Z" in markup.text and "Job 3" in markup.text
    browser.post(next(action for action in markup.actions if "stream=orders" in action))
    state.refresh_from_db()
    assert "orders" not in state.state["bookmarks"] and "customers" in state.state["bookmarks"]
    done = browser.post(address(shop, "pipeline-reset"), follow=True)
    assert "reads all streams from the beginning" in Markup(done.content.decode()).text
    state.refresh_from_db()
    assert not state.state["bookmarks"]


def test_deleting_asks_for_the_name(shop, owner):
    browser = signed_in(owner)
    runs(shop, "COMPLETE")
    assert "1 job with" in page(browser, address(shop, "pipeline-delete")).text
    refused = browser.post(address(shop, "pipeline-delete"), {"label": "Orders"})
    assert refused.status_code == 400 and "“Orders” is not the pipeline's name" in Markup(refused.content.decode()).text
    browser.post(address(shop, "pipeline-delete"), {"label": "Orders nightly"})
    assert not Pipeline.objects.visible_to(owner).filter(pk=shop.pk).exists()
    assert browser.get(address(shop)).status_code == 404


def test_pipeline_pages_keep_their_budgets(shop, viewer, workspace):
    browser = signed_in(viewer)
    runs(shop, "COMPLETE", "ERROR")
    listing = reverse("pipeline-pages", args=[workspace.alias])
    few, few_listed = queries_of(browser, address(shop)), queries_of(browser, listing)
    streams = [{"stream": f"stream_{number}", "rows_written": 500, "done": True} for number in range(10)]
    runs(shop, *["COMPLETE"] * 60, streams=streams)
    for number in range(20):
        runs(make_pipeline(workspace, f"Other {number}"), "COMPLETE")
    assert queries_of(browser, address(shop)) == few <= 12 + SIGNING_IN
    assert queries_of(browser, listing) == few_listed <= 8 + SIGNING_IN
    assert len(browser.get(address(shop)).content) < 80_000
