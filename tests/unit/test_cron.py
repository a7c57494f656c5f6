"""Schedules: what is accepted, when they fire, and what a clock change does to them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines.cron import CronFault, next_fires, next_run_at, validate

BERLIN = "Europe/Berlin"
LORD_HOWE = "Australia/Lord_Howe"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expression: str, after: str, count: int = 3, zone: str = "UTC") -> list[str]:
    return [found.strftime("%Y-%m-%d %H:%M:%S") for found in next_fires(expression, zone, at(after), count)]


def days(expression: str, after: str, count: int = 3) -> list[str]:
    return [found.strftime("%a %Y-%m-%d") for found in next_fires(expression, "UTC", at(after), count)]


# ---------- fields ----------


def test_six_fields_begin_with_seconds():
    assert fires("15 30 2 * * *", "2026-01-01") == [
        "2026-01-01 02:30:15",
        "2026-01-02 02:30:15",
        "2026-01-03 02:30:15",
    ]


def test_five_fields_begin_with_minutes():
    assert fires("30 2 * * *", "2026-01-01", 2) == ["2026-01-01 02:30:00", "2026-01-02 02:30:00"]


def test_next_fire_is_strictly_later():
    assert fires("0 30 2 * * *", "2026-01-01 02:30:00", 1) == ["2026-01-02 02:30:00"]
    assert next_run_at("0 30 2 * * *", time_zone="UTC", after=at("2026-01-01 02:29:59.999999")) == at(
        "2026-01-01 02:30"
    )


def test_start_may_bear_any_zone():
    after = datetime.fromisoformat("2026-01-01T01:00:00+09:00")
    assert next_run_at("0 0 * * * *", time_zone="UTC", after=after) == at("2025-12-31 17:00")


def test_answer_is_in_utc():
    found = next_run_at("0 0 12 * * *", time_zone="Asia/Kolkata", after=at("2026-01-01"))
    assert found == at("2026-01-01 06:30")
    assert found.tzinfo is UTC


def test_six_fields_want_both_day_of_month_and_day_of_week():
    assert days("0 0 0 13 * FRI", "2026-01-01") == ["Fri 2026-02-13", "Fri 2026-03-13", "Fri 2026-11-13"]
    assert days("0 0 0 1-7 * MON", "2026-01-01", 2) == ["Mon 2026-01-05", "Mon 2026-02-02"]


def test_five_fields_take_either_day():
    assert days("0 0 13 * FRI", "2026-01-01", 4) == [
        "Fri 2026-01-02",
        "Fri 2026-01-09",
        "Tue 2026-01-13",
        "Fri 2026-01-16",
    ]


def test_five_fields_want_both_days_where_one_begins_with_a_star():
    assert days("0 0 */2 * FRI", "2026-01-01", 3) == ["Fri 2026-01-09", "Fri 2026-01-23", "Fri 2026-02-13"]


def test_question_mark_is_a_star():
    for marked, starred in [
        ("0 0 6 ? * MON", "0 0 6 * * MON"),
        ("0 0 6 1 * ?", "0 0 6 1 * *"),
        ("? ? ? ? ? ?", "* * * * * *"),
    ]:
        assert fires(marked, "2026-01-01") == fires(starred, "2026-01-01")


@pytest.mark.parametrize("never", ["-", "", "  ", " - "])
def test_dash_and_empty_never_fire(never):
    assert next_run_at(never, time_zone="UTC", after=at("2026-01-01")) is None
    assert next_fires(never, "UTC", at("2026-01-01"), 3) == []
    validate(never)


def test_range_over_the_end_of_the_week():
    assert days("0 0 0 * * SAT-SUN", "2026-01-01", 3) == ["Sat 2026-01-03", "Sun 2026-01-04", "Sat 2026-01-10"]
    assert days("0 0 * * SAT-SUN", "2026-01-01", 2) == ["Sat 2026-01-03", "Sun 2026-01-04"]
    assert days("0 0 0 * * SUN-TUE", "2026-01-01", 3) == ["Sun 2026-01-04", "Mon 2026-01-05", "Tue 2026-01-06"]


def test_sunday_is_zero_and_seven():
    assert days("0 0 0 * * 0", "2026-01-01") == days("0 0 0 * * 7", "2026-01-01") == days("0 0 0 * * SUN", "2026-01-01")
    assert days("0 0 0 * * 6-7", "2026-01-01") == days("0 0 0 * * SAT-SUN", "2026-01-01")


def test_last_day_of_month_and_last_weekday_of_month():
    assert days("0 0 0 L * *", "2028-01-15", 3) == ["Mon 2028-01-31", "Tue 2028-02-29", "Fri 2028-03-31"]
    last_fridays = ["Fri 2026-01-30", "Fri 2026-02-27", "Fri 2026-03-27"]
    assert days("0 0 0 * * FRIL", "2026-01-01") == days("0 0 0 * * 5L", "2026-01-01") == last_fridays
    assert days("0 0 * * fril", "2026-01-01") == last_fridays


def test_last_day_beside_numbers():
    assert days("0 0 0 15,L * *", "2026-02-01", 3) == ["Sun 2026-02-15", "Sat 2026-02-28", "Sun 2026-03-15"]


def test_nth_weekday_of_month():
    assert days("0 0 0 * * MON#2", "2026-01-01", 2) == ["Mon 2026-01-12", "Mon 2026-02-09"]
    assert days("0 0 0 * * 5#5", "2026-01-01", 2) == ["Fri 2026-01-30", "Fri 2026-05-29"]


def test_steps():
    assert fires("*/20 0 0 * * *", "2026-01-01", 3) == [
        "2026-01-01 00:00:20",
        "2026-01-01 00:00:40",
        "2026-01-02 00:00:00",
    ]
    assert fires("0 10/25 * * * *", "2026-01-01", 3) == [
        "2026-01-01 00:10:00",
        "2026-01-01 00:35:00",
        "2026-01-01 01:10:00",
    ]
    assert fires("0 0 8-18/5 * * *", "2026-01-01", 3) == [
        "2026-01-01 08:00:00",
        "2026-01-01 13:00:00",
        "2026-01-01 18:00:00",
    ]


def test_star_with_step_in_day_of_week_counts_from_monday_in_six_fields_and_from_sunday_in_five():
    assert days("0 0 0 * * */2", "2026-01-04", 4) == [
        "Mon 2026-01-05",
        "Wed 2026-01-07",
        "Fri 2026-01-09",
        "Sun 2026-01-11",
    ]
    assert days("0 0 * * */2", "2026-01-03 12:00", 4) == [
        "Sun 2026-01-04",
        "Tue 2026-01-06",
        "Thu 2026-01-08",
        "Sat 2026-01-10",
    ]


def test_names_of_months_and_days_in_any_case():
    assert days("0 0 0 1 jan,Jul *", "2026-02-01", 2) == ["Wed 2026-07-01", "Fri 2027-01-01"]
    assert days("0 0 9-17 * * mon-FRI", "2026-01-03", 1) == ["Mon 2026-01-05"]


def test_leap_day_on_a_weekday_is_found_decades_away():
    assert days("0 0 0 29 2 FRI", "2026-01-01", 2) == ["Fri 2036-02-29", "Fri 2064-02-29"]


def test_year_without_leap_day_is_passed_over():
    assert days("0 0 0 29 2 *", "2096-03-01", 1) == ["Fri 2104-02-29"]


# ---------- refusals ----------

REFUSED = [
    ("0 0 0 LW * *", "day of month", "LW"),
    ("0 0 0 15W * *", "day of month", "15W"),
    ("0 0 0 1,15W * *", "day of month", "15W"),
    ("0 0 0 W * *", "day of month", "W"),
    ("0 0 0 1-5W * *", "day of month", "5W"),
    ("0 0 0 * * 5W", "day of week", "5W"),
    ("0 0 0 L-3 * *", "day of month", "L-3"),
    ("0 0 0 * * L", "day of week", "FRIL"),
    ("0 0 0 * L *", "month", "L"),
    ("L 0 0 * * *", "second", "L"),
    ("0 0 0 1#2 * *", "day of month", "1#2"),
    ("0 0 0 * * MON#6", "day of week", "1 to 5"),
    ("0 0 0 * * MON#", "day of week", "nothing"),
    ("60 0 0 * * *", "second", "0 to 59"),
    ("0 60 0 * * *", "minute", "0 to 59"),
    ("0 0 24 * * *", "hour", "0 to 23"),
    ("0 0 0 0 * *", "day of month", "1 to 31"),
    ("0 0 0 32 * *", "day of month", "1 to 31"),
    ("0 0 0 * 13 *", "month", "1 to 12"),
    ("0 0 0 * * 8", "day of week", "0 to 7"),
    ("0 0 0 * * FRI-MON", "day of week", "ends before it begins"),
    ("0 30-10 0 * * *", "minute", "ends before it begins"),
    ("0 0 0 * * MONDAY", "day of week", "MON"),
    ("0 0 0 * JANUARY *", "month", "JAN"),
    ("0 */0 * * * *", "minute", "after / stands 0"),
    ("0 */ * * * *", "minute", "nothing"),
    ("0 1- * * * *", "minute", "empty"),
    ("0 1,,2 * * * *", "minute", "empty"),
    ("0 -5 * * * *", "minute", "empty"),
    ("0 ½ * * * *", "minute", "½"),
    ("0 ٣ * * * *", "minute", "٣"),
    ("0 1.5 * * * *", "minute", "1.5"),
    ("0 */5/2 * * * *", "minute", "5/2"),
    ("0 0 0 * * FRI-L", "day of week", "FRI-"),
]


@pytest.mark.parametrize(("expression", "field", "said"), REFUSED)
def test_refusal_names_field_value_and_fault(expression, field, said):
    with pytest.raises(CronFault) as caught:
        validate(expression)
    assert caught.value.field == field
    assert f"The {field} field" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.value in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    ["0 0 0 31 4 *", "0 0 0 30 2 *", "0 0 0 31 2,4,6,9,11 *", "0 0 31 4 *", "0 0 0 1 * MON#2", "0 0 0 20 * FRIL"],
)
def test_dates_that_never_come_are_refused(expression):
    for call in (validate, lambda text: next_run_at(text, time_zone="UTC", after=at("2026-01-01"))):
        with pytest.raises(CronFault, match="no such day ever comes"):
            call(expression)


@pytest.mark.parametrize("expression", ["x", "000000", "* * * *", "0 0 0 1 1 * 2026", "@reboot"])
def test_wrong_number_of_fields_is_refused_with_an_example(expression):
    with pytest.raises(CronFault, match=r"0 30 2 \* \* \*"):
        validate(expression)


def test_macro_is_refused_with_what_to_write_instead():
    with pytest.raises(CronFault, match=r"Write 0 0 0 \* \* \* instead"):
        validate("@daily")


def test_very_long_text_is_refused_by_its_length():
    with pytest.raises(CronFault, match="5000 characters"):
        validate("1," * 2500)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "europe berlin", "\0"])
def test_unknown_time_zone_is_refused(zone):
    with pytest.raises(CronFault, match="not a time zone") as caught:
        next_run_at("0 0 0 * * *", time_zone=zone, after=at("2026-01-01"))
    assert caught.value.field == "time zone"


# ---------- clock changes ----------


@pytest.mark.parametrize("expression", ["0 30 2 * * *", "30 2 * * *"])
def test_time_that_does_not_exist_fires_at_the_first_instant_after_the_gap(expression):
    assert fires(expression, "2026-03-28 00:00", 3, BERLIN) == [
        "2026-03-28 01:30:00",
        "2026-03-29 01:00:00",  # 03:00 there, where 02:30 does not exist
        "2026-03-30 00:30:00",
    ]


@pytest.mark.parametrize("expression", ["0 30 2 * * *", "30 2 * * *"])
def test_time_that_comes_twice_fires_at_the_first(expression):
    assert fires(expression, "2026-10-24 12:00", 2, BERLIN) == ["2026-10-25 00:30:00", "2026-10-26 01:30:00"]


def test_start_inside_the_repeated_hour_never_answers_an_earlier_instant():
    # 02:10 for the second time: 02:30 has fired already.
    assert fires("0 30 2 * * *", "2026-10-25 01:10", 1, BERLIN) == ["2026-10-26 01:30:00"]
    assert fires("0 0 3 * * *", "2026-10-25 01:10", 1, BERLIN) == ["2026-10-25 02:00:00"]


def test_several_times_in_the_gap_fire_once():
    assert fires("0 15,45 2,3 * * *", "2026-03-29 00:00", 4, BERLIN) == [
        "2026-03-29 01:00:00",
        "2026-03-29 01:15:00",
        "2026-03-29 01:45:00",
        "2026-03-30 00:15:00",
    ]


def test_every_second_of_a_minute_in_the_gap_fires_once():
    assert fires("* 30 2 * * *", "2026-03-29 00:00", 2, BERLIN) == ["2026-03-29 01:00:00", "2026-03-30 00:30:00"]


def test_wildcard_hours_fire_at_each_real_one():
    assert fires("0 30 * * * *", "2026-10-25 00:00", 4, BERLIN) == [
        "2026-10-25 00:30:00",
        "2026-10-25 01:30:00",
        "2026-10-25 02:30:00",
        "2026-10-25 03:30:00",
    ]
    assert fires("0 30 * * * *", "2026-03-29 00:00", 2, BERLIN) == ["2026-03-29 00:30:00", "2026-03-29 01:30:00"]


def test_wildcard_minutes_fire_at_each_real_one():
    assert len(fires("0 */15 2 * * *", "2026-10-25 00:00", 20, BERLIN)) == 20
    assert fires("0 */30 2 * * *", "2026-10-24 23:59", 5, BERLIN) == [
        "2026-10-25 00:00:00",
        "2026-10-25 00:30:00",
        "2026-10-25 01:00:00",
        "2026-10-25 01:30:00",
        "2026-10-26 01:00:00",
    ]


def test_half_hour_gap_and_half_hour_repeated():
    # Lord Howe: 02:00 becomes 02:30 on 2026-10-04; 02:00 becomes 01:30 on 2026-04-05.
    assert fires("0 15 2 * * *", "2026-10-03 00:00", 2, LORD_HOWE) == ["2026-10-03 15:30:00", "2026-10-04 15:15:00"]
    assert fires("0 45 1 * * *", "2026-04-04 00:00", 2, LORD_HOWE) == ["2026-04-04 14:45:00", "2026-04-05 15:15:00"]
    assert fires("0 45 * * * *", "2026-04-04 14:00", 3, LORD_HOWE) == [
        "2026-04-04 14:45:00",
        "2026-04-04 15:15:00",
        "2026-04-04 16:15:00",
    ]


def test_midnight_that_does_not_exist():
    assert fires("0 0 0 * * *", "2018-11-03 12:00", 2, "America/Sao_Paulo") == [
        "2018-11-04 03:00:00",
        "2018-11-05 02:00:00",
    ]


def test_day_that_does_not_exist_fires_when_it_would_have_ended():
    # Samoa had no 30 December 2011.
    assert fires("0 0 12 30 12 *", "2011-12-01", 1, "Pacific/Apia") == ["2011-12-30 10:00:00"]


def test_fires_never_repeat_over_a_whole_year_of_clock_changes():
    found = next_fires("0 15,30 1,2,3 * * *", BERLIN, at("2026-01-01"), 2190)
    assert found == sorted(set(found))
    assert len({instant.date() for instant in found}) == pytest.approx(365, abs=2)


def test_a_date_that_comes_once_in_decades_is_found():
    assert fires("0 0 12 29 2 FRI", "2026-01-01", 1, "UTC") == ["2036-02-29 12:00:00"]
