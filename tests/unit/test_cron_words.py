"""Schedules in plain words."""

from __future__ import annotations

import pytest

from pipelines.cron import describe

WORDS = {
    "-": "No schedule",
    "": "No schedule",
    "0 30 2 * * *": "Every day at 02:30",
    "30 2 * * *": "Every day at 02:30",
    "15 30 2 ? * *": "Every day at 02:30:15",
    "0 0 6 * * MON": "Every Monday at 06:00",
    "0 30 7 * * MON-FRI": "Monday to Friday at 07:30",
    "0 0 0 * * SAT-SUN": "Saturday and Sunday at 00:00",
    "0 0 9,17 * * *": "Every day at 09:00 and 17:00",
    "0 0 9-17 * * MON-FRI": "Every hour from 09:00 to 17:00, Monday to Friday",
    "0 0 * * * *": "Every hour",
    "0 15 * * * *": "Every hour at 15 minutes past",
    "0 10 */2 * * *": "Every 2 hours at 10 minutes past",
    "0 */5 * * * *": "Every 5 minutes",
    "* * * * *": "Every minute",
    "* * * * * *": "Every second",
    "*/10 * * * * *": "Every 10 seconds",
    "0 0/15 9-17 * * *": "Every 15 minutes from 09:00 to 17:59",
    "0 0 6 1 * *": "On day 1 of every month at 06:00",
    "0 0 6 1,15 * *": "On days 1 and 15 of every month at 06:00",
    "0 0 0 L * *": "On the last day of every month at 00:00",
    "0 0 0 * * FRIL": "The last Friday of the month at 00:00",
    "0 0 0 * * MON#2": "The second Monday of the month at 00:00",
    "0 0 0 13 * FRI": "On day 13 of every month if it is a Friday at 00:00",
    "0 0 13 * FRI": "On day 13 of every month and on every Friday at 00:00",
    "0 0 12 1 JAN *": "On day 1 of January at 12:00",
    "0 0 12 * JUN-AUG *": "Every day in June to August at 12:00",
}


@pytest.mark.parametrize(("expression", "words"), WORDS.items())
def test_common_forms_read_as_people_say_them(expression, words):
    assert describe(expression) == words


def test_any_schedule_has_words():
    for expression in ["3,4 5,6 7,8 9,10 11,12 *", "*/7 3-9 2 * */5 */2", "0 1,2,3,9 1,5 */3 * 0,6,5L", "7 * 3 * * *"]:
        assert describe(expression)[0].isupper()
