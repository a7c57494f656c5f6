"""The shape of `_select` and `_metadata`."""

from __future__ import annotations

import pytest

from pipelines.selection import metadata_of, metadata_warnings, select_of, select_warnings
from pipelines.values import ValueFault


def test_rules_are_read_from_their_texts():
    assert select_of('["orders.*", "!orders.note", "*.*", "public-orders"]') == [
        "orders.*",
        "!orders.note",
        "*.*",
        "public-orders",
    ]
    assert metadata_of(
        '{"orders": {"replication-method": "INCREMENTAL", "replication-key": "at"}, "a.b": {"own": 1}}'
    ) == {
        "orders": {"replication-method": "INCREMENTAL", "replication-key": "at"},
        "a.b": {"own": 1},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orders.*", "is not JSON"),
        ('{"a": 1}', "is not a list"),
        ("[1]", "Entry 1, 1, is not a text"),
        ('["a.*", ""]', "Entry 2"),
        ('["!"]', "names no stream"),
        ('[" a.*"]', "spaces around it"),
        ('["!!a"]', "two exclamation marks"),
    ],
)
def test_faulty_rule_is_named_with_its_place(text, said):
    with pytest.raises(ValueFault) as caught:
        select_of(text)
    assert said in str(caught.value)
    assert "Write" in str(caught.value) or "Take one out" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is not an object"),
        ('{"a": "FULL_TABLE"}', "a has FULL_TABLE, not an object"),
        ('{"": {}}', "name of a stream is empty"),
        ('{"a": {"replication_key": "at"}}', "Write replication-key, with a dash"),
        ('{"a": {"replication-metod": "FULL_TABLE"}}', "Did you mean replication-method?"),
        ('{"a": {"replication-method": "incremental"}}', "Write one of FULL_TABLE, INCREMENTAL, LOG_BASED"),
        ('{"a": {"replication-key": ["at"]}}', "the name of one attribute"),
        ('{"a": {"selected": "true"}}', "without quotes"),
    ],
)
def test_faulty_metadata_is_named_with_its_stream(text, said):
    with pytest.raises(ValueFault, match=said):
        metadata_of(text)


def test_what_is_probably_not_meant_is_a_warning():
    assert "nothing is selected" in select_warnings(["!a.b"])[0]
    assert "comma" in select_warnings(["a.b, a.c"])[0]
    assert not select_warnings(["*.*", "!a.b"])
    assert "without a replication-key" in metadata_warnings({"a": {"replication-method": "INCREMENTAL"}})[0]
    assert not metadata_warnings({"a": {"replication-method": "INCREMENTAL", "replication-key": "at"}})
