"""Numbers, times and sizes as people read them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from eltsite import words

NOW = datetime(2026, 11, 23, 8, 14, tzinfo=UTC)
HELSINKI = ZoneInfo("Europe/Helsinki")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "n/a"),
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (41, "41 s"),
        (59.6, "1 min 00 s"),
        (134, "2 min 14 s"),
        (3599.7, "1 h 00 min"),
        (3600 * 26, "1 d 2 h"),
        (-3, "0 s"),
    ],
)
def test_durations_read_as_people_say_them(seconds, said):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(seconds=-2), "just now"),
        (timedelta(seconds=-40), "40 s ago"),
        (timedelta(hours=-5, minutes=-38), "5 h 38 min ago"),
        (timedelta(hours=-20), "20 h ago"),
        (timedelta(days=-3), "3 days ago"),
        (timedelta(minutes=16), "in 16 min"),
    ],
)
def test_times_are_relative_to_now(ahead, said):
    assert words.relative(NOW + ahead, NOW) == said


def test_clock_names_the_day_in_the_persons_zone():
    late_evening = datetime(2026, 11, 22, 22, 30, tzinfo=UTC)  # half past midnight of today in Helsinki
    assert words.clock(late_evening, NOW, HELSINKI) == "00:30"
    assert words.clock(late_evening, NOW, ZoneInfo("UTC")) == "Yesterday 22:30"
    assert words.clock(NOW + timedelta(days=1), NOW, UTC) == "Tomorrow 08:14"
    assert words.clock(datetime(2025, 10, 21, 5, 0, tzinfo=UTC), NOW, UTC) == "21 Oct 2025 05:00"


def test_exact_time_names_its_zone():
    assert words.exact(NOW, HELSINKI) == "Mon 23 Nov 2026, 10:14:00 EET"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (134_500_000, "134.5 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes(count, said):
    assert words.size(count) == said


def test_lists_counts_and_sentences():
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.counted(1, "row") == "1 row"
    assert words.counted(1200, "entry", "entries") == "1,200 entries"
    assert words.sentence("failed at orders") == "Failed at orders."
    assert words.sentence("Why?") == "Why?"
    assert words.short_number(1_500_000) == "1.5M"
    assert words.clock_mark(100) == "1:40"
