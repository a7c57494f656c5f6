"""States as values: merged, taken apart, compared, and read from every form Meltano keeps them in."""

from __future__ import annotations

import json

import pytest

from pipelines import state_values
from pipelines.state_values import (
    MISSING,
    bookmarks_of,
    check_state,
    differences,
    emptied,
    export_form,
    import_form,
    merge,
    others_of,
    read_text,
    streams_of,
    without_streams,
)
from pipelines.values import ValueFault

BOOKMARKS = {"bookmarks": {"orders": {"value": 7}, "customers": {"value": 3}}}
OLD_FORM = {"issues": "2026-01-01", "commits": {"since": 4}, "currently_syncing": "issues"}


@pytest.mark.parametrize(
    ("state", "partial", "merged"),
    [
        (BOOKMARKS, {}, BOOKMARKS),
        ({}, BOOKMARKS, BOOKMARKS),
        (
            BOOKMARKS,
            {"bookmarks": {"orders": {"value": 9, "signpost": 1}}},
            {"bookmarks": {"orders": {"value": 9, "signpost": 1}, "customers": {"value": 3}}},
        ),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"bookmarks": None}, BOOKMARKS, BOOKMARKS),
    ],
)
def test_objects_are_merged_and_everything_else_is_replaced(state, partial, merged):
    before = json.dumps([state, partial])
    assert merge(state, partial) == merged
    assert json.dumps([state, partial]) == before


def test_a_state_without_bookmarks_has_a_stream_per_key():
    assert streams_of(OLD_FORM) == ["commits", "issues"]
    assert without_streams(OLD_FORM, ["issues"]) == {"commits": {"since": 4}}
    assert others_of(OLD_FORM) == {"currently_syncing": "issues"}


def test_what_a_tap_keeps_beside_the_bookmarks_is_no_stream():
    state = {**BOOKMARKS, "currently_syncing": "orders", "tap_version": 2}
    assert streams_of(state) == ["customers", "orders"]
    assert others_of(state) == {"currently_syncing": "orders", "tap_version": 2}
    left = without_streams(state, ["orders"])
    assert left == {"bookmarks": {"customers": {"value": 3}}, "tap_version": 2}
    assert without_streams(state, ["customers", "x"])["currently_syncing"] == "orders"


@pytest.mark.parametrize("state", [{}, {"bookmarks": [1]}])
def test_a_state_without_streams_stays_as_it_is(state):
    assert bookmarks_of(state) == {}
    assert without_streams(state, ["orders"]) == state


def test_an_emptied_state_keeps_its_form():
    assert emptied({**BOOKMARKS, "tap_version": 2}) == {"bookmarks": {}}
    assert emptied(OLD_FORM) == {}


def said(before, after, **options):
    return [(each.op, each.name, each.before, each.after) for each in differences(before, after, **options)]


def test_what_was_added_removed_and_replaced_is_told_apart():
    after = {"bookmarks": {"orders": {"value": 9}, "refunds": {"value": 1}}}
    assert said(BOOKMARKS, after) == [
        ("remove", "customers.value", 3, MISSING),
        ("replace", "orders.value", 7, 9),
        ("add", "refunds.value", MISSING, 1),
    ]


def test_what_stayed_is_told_where_it_is_asked_for():
    assert said(BOOKMARKS, BOOKMARKS) == []
    assert [each[:2] for each in said(BOOKMARKS, BOOKMARKS, with_same=True)] == [
        ("same", "customers.value"),
        ("same", "orders.value"),
    ]


def test_a_partition_of_a_list_is_named():
    def state(*values):
        return {
            "bookmarks": {"issues": {"partitions": [{"context": {"repo": n}, "at": at} for n, at in enumerate(values)]}}
        }

    assert said(state(1, 2), state(1, 5)) == [("replace", "issues.partitions.1.at", 2, 5)]
    assert [each[:2] for each in said(state(1), state(1, 2))] == [("add", "issues.partitions.1")]


def test_a_value_that_becomes_an_object_is_one_change():
    assert said({"issues": "2026"}, {"issues": {"since": "2026"}}) == [("replace", "issues", "2026", {"since": "2026"})]


def test_true_is_not_one():
    assert said({"a": {"b": [1]}}, {"a": {"b": [True]}}) == [("replace", "a.b.0", 1, True)]


def test_long_values_that_changed_deep_inside_are_told_by_what_changed():
    before = {"bookmarks": {"files": {"seen": {f"{number}.csv": {"size": 1} for number in range(500)}}}}
    after = json.loads(json.dumps(before))
    after["bookmarks"]["files"]["seen"]["7.csv"]["size"] = 2
    assert said(before, after) == [("replace", "files.seen.7.csv.size", 1, 2)]
    assert len(differences(before, before, with_same=True)) == 1


def test_a_pointer_escapes_what_it_is_made_of():
    (found,) = differences({"bookmarks": {"a/b": {"c~d": 1}}}, {"bookmarks": {"a/b": {"c~d": 2}}})
    assert found.pointer == "/bookmarks/a~1b/c~0d"


@pytest.mark.parametrize(
    "handed_over",
    [
        BOOKMARKS,
        {"singer_state": BOOKMARKS},
        {"type": "STATE", "value": BOOKMARKS},
        {"completed": {"singer_state": BOOKMARKS}, "partial": {}},
        {"completed": {"singer_state": BOOKMARKS}, "partial_state": {}},
        {"completed_state": {"singer_state": BOOKMARKS}, "partial_state": None, "state_id": "dev:tap-to-target"},
        {"completed_state": json.dumps({"singer_state": BOOKMARKS}), "partial_state": "{}"},
        {"completed": {}, "partial": {"singer_state": BOOKMARKS}},
        {"completed": BOOKMARKS},
    ],
)
def test_each_form_of_meltano_and_singer_is_read(handed_over):
    assert import_form(handed_over) == BOOKMARKS


def test_an_unfinished_part_is_merged_in():
    handed_over = {
        "completed": {"singer_state": BOOKMARKS},
        "partial": {"singer_state": {"bookmarks": {"orders": {"value": 9}}}},
    }
    assert import_form(handed_over) == {"bookmarks": {"orders": {"value": 9}, "customers": {"value": 3}}}


@pytest.mark.parametrize(
    ("handed_over", "fault"),
    [
        ([], "is not a JSON object"),
        ("x", "is not a JSON object"),
        ({"singer_state": 3}, "singer_state is 3"),
        ({"type": "STATE", "value": "x"}, "value is x"),
        ({"completed": 5}, "completed is 5"),
        ({"completed": {"singer_state": []}}, "completed.singer_state is"),
        ({"completed_state": "{"}, "completed_state is a text that is not JSON"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_by_name(handed_over, fault):
    with pytest.raises(ValueFault, match=fault):
        import_form(handed_over)


def test_what_is_exported_is_read_again():
    partial = {"bookmarks": {"orders": {"value": 9}}}
    for form in state_values.FORMS:
        assert import_form(export_form(BOOKMARKS, partial, form)) == merge(BOOKMARKS, partial)
    assert export_form(BOOKMARKS, {}, "meltano") == {"completed": {"singer_state": BOOKMARKS}, "partial": {}}


def nested(levels):
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ([], "is not a JSON object"),
        (None, "is not a JSON object"),
        ({"a": "x" * 1024 * 1024}, "at most 1,048,576"),
        (nested(5000), "more than 100 levels"),
        ({"a": "nul\0"}, "NUL"),
        ({"\ud800": 1}, "half a character"),
        ({"a": [float("inf")]}, "too large"),
        ({"a": float("nan")}, "too large"),
    ],
)
def test_what_not_every_database_keeps_is_refused(state, fault):
    with pytest.raises(ValueFault, match=fault):
        check_state(state)


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({**BOOKMARKS, "tap_version": 2}, "tap_version stands beside it"),
        ({"bookmarks": []}, "not an object"),
        ({"bookmarks": {"orders": 7}}, "bookmark of orders is 7"),
    ],
)
def test_a_native_extractor_wants_its_own_form(state, fault):
    check_state(state)
    with pytest.raises(ValueFault, match=fault):
        check_state(state, is_native=True)
    check_state(BOOKMARKS, is_native=True)
    check_state({}, is_native=True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{\n  "bookmarks": {,}\n}', "line 2, column 17"),
        ("", "There is nothing here"),
        ("NaN", "NaN is no JSON number"),
        ("[" * 100_000, "not JSON that can be read"),
    ],
)
def test_a_fault_of_the_text_says_where_it_is(text, fault):
    with pytest.raises(ValueFault, match=fault):
        read_text(text)


def test_a_byte_order_mark_is_no_fault():
    assert read_text('\ufeff{"a": 1}') == {"a": 1}
