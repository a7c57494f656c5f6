"""Selection and metadata rules as Meltano has them, catalogs as pages show them."""

import copy
import json

import pytest

from jobs.engine import singer
from tests.unit.engine.catalogs import legacy, pipelinewise, sdk, selected_of

ALL_USERS = {"id", "name", "password", "updated_at", "address"}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (["*.*"], {"users": ALL_USERS, "user_groups": {"id", "title"}}),
        (["users.*"], {"users": ALL_USERS}),
        (["users"], {"users": ALL_USERS}),
        (["user*.id"], {"users": {"id", "updated_at"}, "user_groups": {"id"}}),
        (["users.name"], {"users": {"id", "updated_at", "name"}}),
        (["users.na?e"], {"users": {"id", "updated_at", "name"}}),
        (["users.[np]a*"], {"users": {"id", "updated_at", "name", "password"}}),
        (["*.*", "!users.password"], {"users": ALL_USERS - {"password"}, "user_groups": {"id", "title"}}),
        (["!users.password", "*.*"], {"users": ALL_USERS - {"password"}, "user_groups": {"id", "title"}}),
        (["*.*", "!users.*"], {"user_groups": {"id", "title"}}),
        (["*.*", "!user_groups"], {"users": ALL_USERS}),
        (["*.*", "!*.id"], {"users": ALL_USERS, "user_groups": {"id", "title"}}),  # keys are always in
        (["*.*", "!*.title", "!*.id"], {"users": ALL_USERS, "user_groups": {"id"}}),
        (["!users.password"], {}),
        (["nothing.*"], {}),
        (["USERS.*"], {}),
        (["!*.*", "users.*"], {}),
    ],
)
def test_rules_select_streams_and_attributes(select, expected):
    assert selected_of(singer.apply_selection(sdk(), select)) == expected


def test_what_is_not_selected_is_deselected_in_so_many_words():
    catalog = singer.apply_selection(sdk(), ["user_groups.id"])
    users, groups = catalog["streams"]

    assert users["selected"] is False
    assert {entry["metadata"]["selected"] for entry in users["metadata"]} == {False}
    assert [entry["metadata"]["selected"] for entry in groups["metadata"]] == [True, True, False]


def test_the_catalog_that_was_given_stays_as_it_was():
    for catalog in (sdk(), pipelinewise(), legacy()):
        before = copy.deepcopy(catalog)
        singer.apply_selection(catalog, ["*.*", "!*.name"], {"*": {"replication-method": "FULL_TABLE"}})
        assert catalog == before


def nested_of(select):
    """The attributes of `users` below `address` that a tap will read, and whether it reads `address` itself."""
    catalog = singer.apply_selection(sdk(), select)
    fields = {field["name"]: field["selected"] for field in singer.streams_of(catalog)[0]["fields"]}
    return {name for name, selected in fields.items() if name.startswith("address") and selected != "EXCLUDED"}


ADDRESS = {"address", "address.city", "address.zip", "address.geo", "address.geo.lat"}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (["users.*"], ADDRESS),
        (["users.address"], ADDRESS),
        (["users.address.*"], ADDRESS),
        (["users.address.city"], {"address", "address.city"}),
        (["users.address", "users.address.city"], {"address", "address.city"}),
        (["users.address.geo"], {"address", "address.geo", "address.geo.lat"}),
        (["users.address.geo.lat"], {"address", "address.geo", "address.geo.lat"}),
        (["users.*", "!users.address.geo"], ADDRESS - {"address.geo", "address.geo.lat"}),
        (["users.*", "!users.address.z*"], ADDRESS - {"address.zip"}),
        (["users.*", "!users.address"], set()),
        (["users.address.city", "!users.address"], set()),
        (["users.name"], set()),
    ],
)
def test_rules_reach_into_objects(select, expected):
    assert nested_of(select) == expected


def test_nested_metadata_is_made_only_where_it_says_something():
    crumbs = [entry["breadcrumb"] for entry in singer.apply_selection(sdk(), ["users.*"])["streams"][0]["metadata"]]
    assert all(len(crumb) <= 2 for crumb in crumbs)

    catalog = singer.apply_selection(sdk(), ["users.*", "!users.address.zip"])
    nested = [entry for entry in catalog["streams"][0]["metadata"] if len(entry["breadcrumb"]) > 2]
    assert nested == [
        {
            "breadcrumb": ["properties", "address", "properties", "zip"],
            "metadata": {"inclusion": "available", "selected": False},
        }
    ]


def test_unsupported_columns_are_never_selected():
    catalog = singer.apply_selection(pipelinewise(), ["*.*", "public-orders.shape"])
    assert selected_of(catalog) == {"public-orders": {"id", "total"}}


def test_a_catalog_without_metadata_gets_it_and_its_schema_says_the_same():
    catalog = singer.apply_selection(legacy(), ["messages.*", "bare.*"])
    messages, bare, documents = catalog["streams"]

    assert messages["schema"]["selected"] is True
    assert {name: inner["selected"] for name, inner in messages["schema"]["properties"].items()} == {
        "id": True,
        "body": True,
        "raw": False,
    }
    assert {"breadcrumb": [], "metadata": {"selected": True}} in messages["metadata"]
    assert {
        "breadcrumb": ["properties", "raw"],
        "metadata": {"inclusion": "unsupported", "selected": False},
    } in messages["metadata"]
    assert selected_of(catalog) == {"messages": {"id", "body"}, "bare": {"a"}}
    assert bare["selected"] is True
    assert documents["selected"] is False


def test_a_stream_whose_attributes_nobody_knows_is_read_as_it_comes():
    assert "documents" in selected_of(singer.apply_selection(legacy(), ["*.*"]))


def test_a_stream_of_which_nothing_is_left_is_deselected():
    assert "bare" not in selected_of(singer.apply_selection(legacy(), ["*.*", "!bare.a"]))


def test_a_dot_in_a_name_is_escaped():
    catalog = {
        "streams": [
            {"tap_stream_id": "db.orders", "schema": {"properties": {"a.b": {}, "c": {}}}},
            {"tap_stream_id": "db", "schema": {"properties": {"orders": {}}}},
        ]
    }
    assert selected_of(singer.apply_selection(catalog, ["db\\.orders.c"])) == {"db.orders": {"c"}}
    assert selected_of(singer.apply_selection(catalog, ["db\\.orders.a\\.b"])) == {"db.orders": {"a.b"}}
    assert selected_of(singer.apply_selection(catalog, ["db.orders"])) == {"db": {"orders"}}


@pytest.mark.parametrize("name", ["plain", "db.orders", "a*b", "a[0]", "what?"])
def test_the_rule_for_a_stream_selects_that_stream_alone(name):
    others = ["plain", "db.orders", "a*b", "axb", "a[0]", "a0", "what?", "whats", "db"]
    catalog = {"streams": [{"tap_stream_id": other, "schema": {"properties": {"x": {}, "y": {}}}} for other in others]}
    assert selected_of(singer.apply_selection(catalog, [singer.rule_for(name)])) == {name: {"x", "y"}}
    assert selected_of(singer.apply_selection(catalog, [singer.rule_for(name, "y")])) == {name: {"y"}}


def test_without_rules_the_catalogs_own_selection_stays_and_all_is_selected_where_it_has_none():
    assert singer.apply_selection(sdk(), [])["streams"][0]["metadata"] == sdk()["streams"][0]["metadata"]
    bare = singer.apply_selection(legacy(), [])
    assert set(selected_of(bare)) == {"messages", "bare", "documents"}


def test_metadata_rules_set_stream_and_attribute_metadata():
    rules = {
        "user*": {"replication-method": "FULL_TABLE", "title": {"is-replication-key": True}},
        "users": {"replication-method": "INCREMENTAL", "replication-key": "name", "address.*": {"note": 1}},
        "users.password": {"selected": False, "sql-datatype": "text"},
        "nobody": {"replication-method": "FULL_TABLE"},
    }
    users, groups = singer.apply_metadata(sdk(), rules)["streams"]

    def of(stream, *path):
        crumb = [part for name in path for part in ("properties", name)]
        return next(entry["metadata"] for entry in stream["metadata"] if entry["breadcrumb"] == crumb)

    assert of(users)["replication-method"] == "INCREMENTAL"
    assert (users["replication_method"], users["replication_key"]) == ("INCREMENTAL", "name")
    assert of(users, "password") == {"inclusion": "available", "selected": False, "sql-datatype": "text"}
    assert of(users, "address", "geo", "lat")["note"] == 1
    assert of(groups)["replication-method"] == "FULL_TABLE"
    assert of(groups, "title")["is-replication-key"] is True


def test_selected_in_metadata_has_the_last_word():
    catalog = singer.apply_selection(
        sdk(), ["*.*"], {"users": {"selected": False}, "user_groups.title": {"selected": 0}}
    )
    assert selected_of(catalog) == {"user_groups": {"id"}}


def test_a_replication_key_from_metadata_is_read_even_where_it_is_not_selected():
    rules = {"public-orders": {"replication-method": "INCREMENTAL", "replication-key": "total"}}
    catalog = singer.apply_selection(pipelinewise(), ["public-orders.id"], rules)
    assert selected_of(catalog) == {"public-orders": {"id", "total"}}


def test_inclusion_from_metadata_counts_for_selection():
    catalog = singer.apply_selection(sdk(), ["*.*"], {"users": {"password": {"inclusion": "unsupported"}}})
    assert "password" not in selected_of(catalog)["users"]


def test_streams_are_shown_with_their_fields_and_keys():
    rows = singer.streams_of(
        singer.apply_selection(pipelinewise(), ["*.*"], {"*": {"replication-method": "FULL_TABLE"}})
    )

    assert rows == [
        {
            "name": "public-orders",
            "selected": True,
            "fields": [
                {"name": "id", "selected": "AUTOMATIC"},
                {"name": "total", "selected": "SELECTED"},
                {"name": "shape", "selected": "EXCLUDED"},
            ],
            "key_properties": ["id"],
            "replication_method": "FULL_TABLE",
            "replication_key": "",
        }
    ]
    assert json.loads(json.dumps(rows)) == rows


def test_fields_that_a_catalog_says_nothing_about_follow_their_stream():
    users, groups = singer.streams_of(sdk())
    assert users["selected"] is True
    assert {field["name"]: field["selected"] for field in users["fields"]}["address.city"] == "SELECTED"
    assert groups["selected"] is False
    assert [field["selected"] for field in groups["fields"]] == ["AUTOMATIC", "EXCLUDED"]


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ([], "not a JSON object"),
        ({}, 'no list "streams"'),
        ({"streams": {}}, 'no list "streams"'),
        ({"streams": []}, "no streams"),
        ({"streams": ["a"]}, 'Stream 1 of the catalog has no "tap_stream_id"'),
        ({"streams": [{"schema": {}}]}, 'has no "tap_stream_id"'),
        ({"streams": [{"tap_stream_id": "a"}]}, 'Stream a of the catalog has no "schema"'),
        ({"streams": [{"tap_stream_id": "a", "schema": {}, "metadata": {}}]}, "not a list"),
        ({"streams": [{"tap_stream_id": "a", "schema": {}}] * 2}, "twice"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_named(catalog, words):
    assert words in singer.check_catalog(catalog)


def test_catalogs_of_real_taps_pass_the_check():
    assert [singer.check_catalog(catalog) for catalog in (sdk(), pipelinewise(), legacy())] == [None] * 3


def test_rules_that_match_nothing_are_found():
    rules = ["users.*", "users.nmae", "!orders.*", "user_groups", "users.address.c*", "!users.password", "documents"]
    assert singer.unmatched(rules, sdk()) == ["users.nmae", "!orders.*", "documents"]
    assert singer.unmatched(["documents.*"], legacy()) == []


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"replication-method": "INCREMENTAL"}, "names no replication-key"),
        ({"replication-method": "INCREMENTAL", "replication-key": "changed"}, "changed is not among its fields"),
        ({"replication-method": "SOMETIMES"}, "SOMETIMES is not a replication method"),
        ({"replication-key": "total", "valid-replication-keys": ["id"]}, "its tap offers id"),
    ],
)
def test_replication_settings_that_cannot_work_are_named(metadata, words):
    catalog = singer.apply_selection(pipelinewise(), ["*.*"], {"public-orders": metadata})
    (fault,) = singer.replication_faults(catalog)
    assert "public-orders" in fault and words in fault


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"replication-method": "LOG_BASED"},
        {"replication-method": "INCREMENTAL", "replication-key": "total"},
        {"replication-method": "INCREMENTAL", "valid-replication-keys": ["total"]},
        {"forced-replication-method": "INCREMENTAL"},
    ],
)
def test_replication_settings_that_work_are_left_alone(metadata):
    catalog = singer.apply_selection(pipelinewise(), ["*.*"], {"public-orders": metadata})
    assert singer.replication_faults(catalog) == []
    unread = singer.apply_selection(pipelinewise(), ["!*.*"], {"public-orders": {"replication-method": "INCREMENTAL"}})
    assert singer.replication_faults(unread) == []
