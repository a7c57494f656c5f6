"""The job list: filters in the address, pages by key, fresh rows."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.counters import count_job
from tests.factories import make_job, make_pipeline
from tests.pages import SIGNING_IN, page, queries_of, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def listing(workspace):
    return reverse("job-pages", args=[workspace.alias])


def shown(markup):
    """The numbers of the jobs a list shows, in its order."""
    return [int(row["id"].removeprefix("job-")) for row in markup.all("tr") if row.get("id", "").startswith("job-")]


def test_newest_first_with_what_each_row_says(listing, workspace, pipeline, owner, viewer):
    now = timezone.now()
    old = make_job(
        pipeline, status="COMPLETE", now=now - timedelta(hours=2), headline="Loaded 5 streams", rows_written=1234567
    )
    new = make_job(pipeline, status="RUNNING", now=now - timedelta(minutes=1), trigger="MANUAL", created_by=owner)
    markup = page(signed_in(viewer), listing)
    assert shown(markup) == [new.number, old.number]
    assert "Loaded 5 streams Orders nightly · job" in markup.text
    assert "1,234,567" in markup.text and "olga" in markup.text
    assert "1 running, 0 queued, 0 ended badly in the last 24 hours" in markup.text


def test_filters_are_in_the_address(listing, workspace, pipeline, viewer):
    other = make_pipeline(workspace, "Stock levels")
    long_ago = timezone.now() - timedelta(days=3)
    error = make_job(pipeline, status="ERROR", headline="Lost the connection", trigger="SCHEDULE")
    done = make_job(other, status="COMPLETE", trigger="MANUAL", headline="Loaded")
    check = make_job(
        other, status="COMPLETE", type="PIPELINE_CONFIG", trigger="SYSTEM", headline="Ready to run", now=long_ago
    )
    browser = signed_in(viewer)
    for query, expected in {
        "status=ERROR": [error],
        "status=ERROR&status=COMPLETE&since=24h": [done, error],
        "q=connection": [error],
        f"pipeline={other.pk}": [done, check],
        "type=PIPELINE_CONFIG": [check],
        "trigger=SCHEDULE": [error],
        f"created_before={(timezone.now() - timedelta(days=1)):%Y-%m-%dT%H:%M}": [check],
        f"created_after={(timezone.now() - timedelta(days=1)):%Y-%m-%dT%H:%M}": [done, error],
    }.items():
        assert shown(page(browser, f"{listing}?{query}")) == [job.number for job in expected], query


def test_the_form_shows_what_is_chosen(listing, pipeline, viewer):
    make_job(pipeline, status="ERROR", headline="Lost")
    markup = page(signed_in(viewer), f"{listing}?status=ERROR&q=Lost&type=PIPELINE_RUN&since=7d&pipeline={pipeline.pk}")
    assert [box["value"] for box in markup.all("input", name="status") if "checked" in box] == ["ERROR"]
    assert markup.all("input", id="fq")[0]["value"] == "Lost"
    chosen = [option["value"] for option in markup.all("option") if "selected" in option]
    assert chosen == [str(pipeline.pk), "PIPELINE_RUN", "7d"]


def test_times_in_filters_are_of_the_persons_zone(listing, pipeline, viewer):
    viewer.time_zone = "Asia/Tokyo"
    viewer.save()
    job = make_job(pipeline, status="COMPLETE")
    local = job.created_at + timedelta(hours=9)
    browser = signed_in(viewer)
    before, after = local - timedelta(minutes=2), local + timedelta(minutes=2)
    query = f"created_after={before:%Y-%m-%dT%H:%M}&created_before={after:%Y-%m-%dT%H:%M}"
    assert shown(page(browser, f"{listing}?{query}")) == [job.number]


def test_a_fault_in_a_filter_is_named_and_nothing_is_shown(listing, pipeline, viewer):
    make_job(pipeline, status="ERROR")
    markup = page(signed_in(viewer), f"{listing}?status=BROKEN&created_after=yesterday")
    assert shown(markup) == []
    assert "BROKEN" in markup.text and "yesterday" in markup.text and "A filter has a fault" in markup.text


def test_pages_follow_each_other_without_a_gap(listing, pipeline, viewer):
    same_moment = timezone.now() - timedelta(minutes=5)  # many at once: the key must tell them apart
    jobs = [make_job(pipeline, status="COMPLETE", now=same_moment) for _ in range(60)]
    jobs += [make_job(pipeline, status="COMPLETE", now=same_moment - timedelta(hours=n + 1)) for n in range(70)]
    browser, seen, query = signed_in(viewer), [], ""
    while True:
        markup = page(browser, listing + query)
        seen += shown(markup)
        older = [link["href"] for link in markup.all("a", rel="next")]
        if not older:
            break
        query = older[0]
    assert len(seen) == len(set(seen)) == len(jobs)
    assert set(seen) == {job.number for job in jobs}
    back = markup.all("a", rel="prev")[0]["href"]
    assert shown(page(browser, listing + back)) == seen[50:100]


def test_filters_stay_when_one_turns_the_page(listing, pipeline, viewer):
    for _ in range(51):
        make_job(pipeline, status="ERROR")
    make_job(pipeline, status="COMPLETE")
    browser = signed_in(viewer)
    older = page(browser, f"{listing}?status=ERROR").all("a", rel="next")[0]["href"]
    assert "status=ERROR" in older
    assert len(shown(page(browser, listing + older))) == 1


def test_fresh_rows_are_the_active_ones_and_new_jobs_are_counted(listing, workspace, pipeline, viewer):
    running = make_job(pipeline, status="RUNNING")
    done = make_job(pipeline, status="COMPLETE")
    live = reverse("job-list-live", args=[workspace.alias])
    make_job(pipeline, status="COMPLETE")
    make_job(pipeline, status="ERROR")
    query = {"top": done.number, "rows": f"{running.number},{done.number},x"}
    response = signed_in(viewer).get(live, query, headers={"HX-Request": "true"})
    html = response.content.decode()
    assert "2 new jobs" in html
    assert f'hx-swap-oob="true" id="job-{running.number}"' in html
    assert "status=ERROR" not in html
    filtered = signed_in(viewer).get(live, query | {"status": "ERROR"}, headers={"HX-Request": "true"}).content.decode()
    assert "1 new job<" in filtered and "status=ERROR" in filtered


def test_empty_lists_say_what_to_do(listing, pipeline, viewer):
    browser = signed_in(viewer)
    assert "Nothing has run here yet" in page(browser, listing).text
    make_job(pipeline, status="COMPLETE")
    assert "No job matches" in page(browser, f"{listing}?status=ERROR").text


def test_deleted_jobs_and_other_workspaces_are_not_listed(listing, pipeline, stranger, viewer):
    make_job(pipeline, status="COMPLETE", deleted_at=timezone.now())
    make_job(make_pipeline(stranger.memberships.get().workspace), status="COMPLETE")
    assert shown(page(signed_in(viewer), listing)) == []


def test_the_total_is_known_where_it_is_cheap(listing, workspace, pipeline, viewer):
    for _ in range(55):
        count_job(make_job(pipeline, status="ERROR", headline="Lost"), status="ERROR", delta=1)
    browser = signed_in(viewer)
    assert "50 of 55, newest first" in page(browser, listing).text
    assert "50 of 55, newest first" in page(browser, f"{listing}?status=ERROR").text
    assert "50 of 55, newest first" in page(browser, f"{listing}?since=24h").text
    assert "50, newest first" in page(browser, f"{listing}?q=Lost").text


def test_a_chosen_pipeline_is_offered_however_many_there_are(listing, workspace, viewer):
    for number in range(101):
        make_pipeline(workspace, f"Pipeline {number:03}")
    last = make_pipeline(workspace, "Zebra")
    offered = page(signed_in(viewer), f"{listing}?pipeline={last.pk}").all("option", value=str(last.pk))
    assert [option.get("selected") for option in offered] == [""]


def test_the_list_keeps_its_budget(listing, workspace, pipeline, viewer, owner):
    browser = signed_in(viewer)
    for _ in range(51):
        make_job(pipeline, status="COMPLETE")
    few = queries_of(browser, listing)
    for number in range(60):
        busy = make_pipeline(workspace, f"Pipeline number {number}")
        make_job(busy, status="COMPLETE", created_by=owner, headline="Loaded 1,234,567 rows in 5 streams")
    assert queries_of(browser, listing) == few <= 7 + SIGNING_IN
    assert len(browser.get(listing).content) < 60_000
