"""A job's log on pages: any range of it, its matches, and the whole as text."""

from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse

from jobs.models import Job
from tests.factories import make_job
from tests.pages import SIGNING_IN, page, queries_of, signed_in, write_log

pytestmark = pytest.mark.django_db
LINES = 950


@pytest.fixture
def job(pipeline):
    made = make_job(pipeline, status="COMPLETE")
    words = {7: ("warning", "slow Answer"), 400: ("error", "could not ANSWER"), 900: ("error", "gave up")}
    write_log(made, [words.get(number, ("info", f"line {number}")) for number in range(LINES)])
    return made


def address(job, name="job-log-lines"):
    return reverse(name, args=[job.workspace.alias, job.number])


def ask(user, job, **parameters):
    response = signed_in(user).get(address(job), parameters, headers={"Accept": "application/json"})
    assert response.status_code == 200
    return response.json()


def test_any_range_of_lines_is_read_by_number(job, viewer):
    data = ask(viewer, job, **{"from": 395, "limit": 10})
    assert [line[0] for line in data["lines"]] == list(range(395, 405))
    assert data["lines"][5][2:] == ["extractor", "error", "Error", "could not ANSWER"]
    assert (data["total"], data["errors"], data["firstError"], data["isFinal"]) == (LINES, 2, 400, True)


def test_a_range_behind_the_end_is_empty(job, viewer):
    assert ask(viewer, job, **{"from": LINES})["lines"] == []
    assert ask(viewer, job, **{"from": 10**15})["lines"] == []


def test_matches_are_numbers_in_any_case(job, viewer):
    assert ask(viewer, job, matches=1, q="answer")["numbers"] == [7, 400]
    assert ask(viewer, job, matches=1, level="error", **{"from": 401})["numbers"] == [900]
    assert ask(viewer, job, matches=1, q="nowhere")["numbers"] == []


def test_one_level_alone(job, viewer):
    assert [line[0] for line in ask(viewer, job, level="error")["lines"]] == [400, 900]


@pytest.mark.parametrize(
    "bad", [{"from": "-1"}, {"from": "x"}, {"limit": "1e9"}, {"level": "loud"}, {"from": "9" * 30}]
)
def test_nonsense_in_the_address_counts_as_absent(job, viewer, bad):
    assert ask(viewer, job, **bad)["lines"][0][0] == 0


def test_no_answer_is_longer_than_a_thousand_lines(job, viewer, pipeline):
    write_log(long := make_job(pipeline, status="COMPLETE"), [("info", "x")] * 1500, chunk=500)
    assert len(ask(viewer, long, limit=100_000)["lines"]) == 1000


def test_times_are_in_the_persons_zone(job, viewer):
    viewer.time_zone = "Asia/Kolkata"
    viewer.save()
    shown = ask(viewer, job, limit=1)["lines"][0][1]
    expected = job.created_at.astimezone(ZoneInfo("Asia/Kolkata"))
    assert shown.startswith(f"{expected:%H:%M:%S}.")


def test_a_range_costs_the_same_wherever_it_lies(job, viewer):
    browser = signed_in(viewer)
    costs = {
        queries_of(browser, f"{address(job)}?from={start}&limit=50", Accept="application/json")
        for start in (0, 425, 870)
    }
    assert len(costs) == 1 and costs.pop() <= 5 + SIGNING_IN


def test_the_log_is_read_without_scripts(job, viewer):
    browser = signed_in(viewer)
    first = page(browser, address(job, "job-log"))
    assert len([row for row in first.all("tr") if row.get("id", "").startswith("L")]) == 500
    following = next(link for link in first.links if "from=500" in link)
    assert "line 949" in page(browser, address(job, "job-log") + following).text
    errors = page(browser, address(job, "job-log") + "?level=error&q=gave")
    assert [row["id"] for row in errors.all("tr") if "id" in row] == ["L900"]
    assert "No line matches" in page(browser, address(job, "job-log") + "?q=nowhere").text


def test_the_whole_log_as_text(job, viewer):
    plain = signed_in(viewer).get(address(job, "job-log-plain"))
    lines = b"".join(plain.streaming_content).decode().splitlines()
    assert len(lines) == LINES and lines[400].endswith("Z extractor ERROR could not ANSWER")
    assert plain["Content-Type"] == "text/plain; charset=utf-8" and plain["X-Content-Type-Options"] == "nosniff"
    download = signed_in(viewer).get(address(job, "job-log-download"))
    assert download["Content-Disposition"] == f'attachment; filename="job-{job.number}.log"'


def test_a_job_without_a_log_says_so(pipeline, viewer):
    job = make_job(pipeline, status="RUNNING")
    assert "No line yet" in page(signed_in(viewer), address(job, "job-page")).text
    Job.objects.filter(pk=job.pk).update(status="STOPPED", ended_at=job.started_at)
    assert "wrote no log" in page(signed_in(viewer), address(job, "job-page")).text
    assert b"".join(signed_in(viewer).get(address(job, "job-log-plain")).streaming_content) == b""
