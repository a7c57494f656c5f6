"""Pictures are well-formed, say in words what they show, and never trust what they are given."""

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree

import pytest

from jobs import pictures
from jobs.pictures import Bar, Day, Span

NOW = datetime(2026, 11, 23, 8, 14, tzinfo=UTC)


def parsed(markup):
    """The picture as XML; a fault in it fails the test."""
    return ElementTree.fromstring(f"<root>{markup}</root>")


def bars(*statuses):
    return [Bar(number, status, 10.0 + number, f"/jobs/{number}/") for number, status in enumerate(statuses)]


def test_strip_tells_ends_by_shape_as_well_as_by_colour():
    markup = pictures.strip(bars("complete", "error", "stopped", "skipped", "running", "queued"))
    root = parsed(markup)
    links = root.findall(".//a")
    shapes = [[child.tag for child in link][2:] for link in links]
    assert shapes == [["rect"], ["rect", "path"], ["rect", "rect"], ["path"], ["rect"], ["rect"]]
    assert "hollow is-running" in markup and "hollow is-queued" in markup
    assert root[0].get("aria-label") == "Last 6 runs: 1 complete, 1 error, 1 stopped, 1 skipped, 1 queued, 1 running"


def test_strip_is_one_tab_stop():
    assert {link.get("tabindex") for link in parsed(pictures.strip(bars("complete", "error"))).iter("a")} == {"-1"}


def test_one_long_run_does_not_flatten_the_others():
    runs = [Bar(n, "complete", 10.0, "/") for n in range(39)] + [Bar(40, "complete", 10_000.0, "/")]
    heights = [int(rect.get("height")) for rect in parsed(pictures.strip(runs)).iter("rect") if rect.get("rx")]
    assert heights == [30] * 40


@pytest.mark.parametrize("draw", [pictures.strip, pictures.wide_strip])
def test_addresses_are_escaped(draw):
    markup = draw([Bar(1, "complete", None, '/"><script>')])
    assert "<script>" not in markup
    parsed(markup)


def test_no_run_is_an_empty_picture():
    parsed(pictures.strip([]))
    parsed(pictures.wide_strip([]))
    assert pictures.trend([1.0], ["complete"], band=None, ends=("", ""), is_time=True) == ""
    assert pictures.spark([1.0], "complete") == ""


def test_one_error_among_two_hundred_stays_visible():
    day = Day(date(2026, 11, 23), 200, 1, 0, "/jobs/")
    rects = [
        rect for rect in parsed(pictures.days([day], today=day.day)).iter("rect") if "is-error" in rect.get("class")
    ]
    assert float(rects[0].get("height")) >= 3


def test_days_say_their_counts():
    quiet, busy = Day(date(2026, 11, 22), 0, 0, 0, "/"), Day(date(2026, 11, 23), 1200, 2, 1, "/")
    root = parsed(pictures.days([quiet, busy], today=busy.day))
    assert [title.text for title in root.iter("title")] == [
        "Sun 22 Nov: no jobs",
        "Mon 23 Nov: 1,200 complete, 2 error, 1 stopped",
    ]
    assert any(text.text == "Today" for text in root.iter("text"))


def test_fires_stack_where_they_fall_together():
    times = [NOW + timedelta(minutes=46)] * 3 + [NOW + timedelta(minutes=100)]
    rects = list(parsed(pictures.fires(times, now=NOW, hours=6, zone=UTC)).iter("rect"))
    assert len(rects) == 4
    assert sorted({rect.get("y") for rect in rects[:3]}) == ["10", "18", "26"]


@pytest.mark.parametrize("total", [0.1, 3.0, 8.4, 134.0, 3600.0, 90_000.0, 5_000_000.0])
def test_axis_has_few_round_marks(total):
    assert 1 <= len(pictures.axis_marks(total)) <= 6
    parsed(pictures.axis(total))


def test_gantt_lane_keeps_within_its_picture():
    rect = parsed(pictures.lane(Span(9.9, 30.0, "complete"), total=10.0)).find(".//rect")
    assert float(rect.get("x")[:-1]) + float(rect.get("width")[:-1]) <= 100
    assert "Not run" in pictures.lane(None, total=10.0, note="Not run")


def test_running_lane_shows_the_usual_length():
    markup = pictures.lane(Span(0.0, 3.0, "running"), total=10.0, usual_end=8.0)
    assert 'class="band" x="0%" y="9" width="80%"' in markup


def test_trend_marks_bad_ends():
    root = parsed(
        pictures.trend(
            [60.0, 10.0, 70.0], ["complete", "error", "stopped"], band=(50.0, 80.0), ends=("a", "<b>"), is_time=True
        )
    )
    assert len(root.findall(".//path")) == 1
    assert len([rect for rect in root.iter("rect") if "is-stopped" in rect.get("class")]) == 1


def test_minimap_puts_many_errors_of_one_pixel_into_one_mark():
    many = [(number, 1) for number in range(0, 1_000_000, 100)]
    marks = [
        rect for rect in parsed(pictures.minimap(many, total=1_000_000)).iter("rect") if "is-error" in rect.get("class")
    ]
    assert 100 < len(marks) < 400


def test_no_picture_carries_a_style_attribute():
    drawn = [
        pictures.strip(bars("complete", "error")),
        pictures.days([Day(date(2026, 11, 23), 1, 1, 1, "/")], today=date(2026, 11, 23)),
        pictures.lane(Span(0, 1, "error"), total=2),
        pictures.meter(0.5, "running"),
        pictures.spark([1.0, 2.0], "error"),
    ]
    assert not any("style" in markup for markup in drawn)
