"""Properties against settings: names, kinds, what is missing, paths, secrets, warnings, circles."""

from __future__ import annotations

from typing import Any

import pytest

from eltsite.errors import Invalid
from pipelines.plugins import MASK, Plugin, parse, shipped_plugins
from pipelines.validation import (
    Part,
    Surroundings,
    canonical,
    check_part,
    check_properties,
    find_circle,
    load_settings,
    mask,
    pair_warnings,
    split_properties,
    split_property,
    unmask,
    warnings_of,
)

NOWHERE = Surroundings()
ORCHARD = parse(
    {
        "name": "tap-orchard",
        "variant": "acme",
        "pluginType": "EXTRACTOR",
        "label": "Orchard",
        "capabilities": ["CATALOG"],
        "settings": [
            {"name": "api_key", "kind": "PASSWORD", "required": "true", "aliases": ["key"]},
            {"name": "oauth.client_id"},
            {"name": "pages", "kind": "INTEGER", "value": 5},
        ],
    }
)


def shipped(name: str) -> Plugin:
    return next(plugin for plugin in shipped_plugins() if plugin.name == name and plugin.is_native)


def faults(plugin: Plugin, properties: dict[str, str], around: Surroundings = NOWHERE) -> dict[str, str]:
    return {error.field: error.message for error in check_properties(plugin, properties, around)}


# ---------- names ----------


def test_property_is_split_at_the_component_not_at_a_dot():
    assert split_property("tap-x.oauth.client_id", ["tap-x", "Warehouse"]) == ("tap-x", "oauth.client_id")
    assert split_property("Shop.v2.files", ["Shop", "Shop.v2"]) == ("Shop.v2", "files")
    assert split_property("extractors/tap-x.key", ["extractors/tap-x"]) == ("extractors/tap-x", "key")
    assert split_property("other.key", ["tap-x"]) is None
    assert split_property("tap-x.", ["tap-x"]) is None
    assert split_property("tap-xy", ["tap-x"]) is None


def test_key_of_no_component_is_an_error_that_names_them():
    found, errors = split_properties({"a.x": "1", "c.y": "2"}, ["a", "b"])
    assert found == {"a": {"x": "1"}, "b": {}}
    assert [(error.field, error.message) for error in errors] == [
        ("properties.c.y", "c.y names no component of this pipeline. Begin it with a. or b.")
    ]


def test_unknown_name_suggests_the_nearest():
    assert "Did you mean password?" in faults(shipped("tap-sql"), {"pasword": "x"})["properties.pasword"]
    assert "It takes files, allow_text_widening." in faults(shipped("tap-files"), {"zzz": "x"})["properties.zzz"]


def test_aliases_become_the_settings_name_and_values_become_texts():
    assert canonical(ORCHARD, {"key": "k", "pages": 3, "oauth.client_id": None}) == {
        "api_key": "k",
        "pages": "3",
        "oauth.client_id": "",
    }


# ---------- values ----------


def test_value_of_the_wrong_kind_is_named():
    found = faults(shipped("target-postgres"), {"port": "fivefour", "load_method": "upsert"})
    assert "port: fivefour is not a whole number" in found["properties.port"]
    assert "Write one of append, replace, merge" in found["properties.load_method"]


def test_value_of_a_secret_is_in_no_error():
    plugin = parse(ORCHARD_WITH_SECRET_OBJECT)
    errors = check_properties(plugin, {"account": '{"key": "hunter2"'}, NOWHERE)
    assert len(errors) == 1
    assert "hunter2" not in f"{errors[0].message} {errors[0].value}"


ORCHARD_WITH_SECRET_OBJECT: dict[str, Any] = {
    "name": "tap-x",
    "variant": "y",
    "pluginType": "EXTRACTOR",
    "settings": [{"name": "account", "kind": "OBJECT", "sensitive": True}],
}


def test_reserved_names_take_json_on_extractors_only():
    assert not faults(ORCHARD, {"_select": '["a.*"]', "_metadata": '{"a": {}}'})
    assert "properties._select" in faults(ORCHARD, {"_select": "a.*"})
    assert "properties._metadata" in faults(ORCHARD, {"_metadata": "[]"})
    assert "has no setting _select" in faults(shipped("target-duckdb"), {"_select": "[]"})["properties._select"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x.csv", "a/../../x", "/data/../etc/x", "/database/x", ".."])
def test_path_outside_the_allowed_folders_is_refused(path):
    around = Surroundings(allowed_folders=["/data"])
    found = faults(shipped("target-duckdb"), {"path": path}, around)
    assert f"path: {path} is outside the allowed folders" in found["properties.path"]
    assert "ELTSITE_ALLOWED_FOLDERS" in found["properties.path"]


@pytest.mark.parametrize(
    "path", ["warehouse.duckdb", "a/../b.duckdb", "/data/x.duckdb", "/data", "..x/a", "/data/a/../b"]
)
def test_path_inside_is_taken(path):
    assert not faults(shipped("target-duckdb"), {"path": path}, Surroundings(allowed_folders=["/data/"]))


def test_path_in_an_entry_is_checked_and_a_web_address_is_not():
    text = '[{"stream": "a", "path": "https://example.com/../a"}, {"stream": "b", "path": "/etc/b"}]'
    found = faults(shipped("tap-files"), {"files": text})
    assert "files[1].path: /etc/b is outside" in found["properties.files"]


def test_path_behind_a_variable_is_checked_without_being_shown():
    found = faults(shipped("target-duckdb"), {"path": "$WHERE"}, Surroundings(variables={"WHERE": "/etc/secret-name"}))
    assert "outside the allowed folders" in found["properties.path"]
    assert "secret-name" not in found["properties.path"]


# ---------- merged ----------


def test_settings_are_defaults_then_component_then_pipeline():
    part = Part(
        "W", shipped("target-postgres"), {"host": "a", "user": "u", "database": "d", "port": "1"}, {"host": "b"}
    )
    assert load_settings(part, {}) == {
        "host": "b",
        "user": "u",
        "database": "d",
        "port": 1,
        "sslmode": "prefer",
        "load_method": "append",
        "models": "models/*.sql",
        "verify": "auto",
        "flatten": False,
        "add_record_metadata": False,
        "sanitize_null_text_characters": False,
    }


def test_empty_override_falls_back_to_the_component():
    part = Part("W", shipped("target-duckdb"), {"schema": "shop"}, {"schema": ""})
    assert load_settings(part, {})["schema"] == "shop"


def test_missing_required_setting_is_named_with_its_place():
    with pytest.raises(Invalid) as caught:
        load_settings(Part("Shop", shipped("tap-sql"), {"host": "db", "tables": '[{"table": "a"}]'}), {})
    assert [error.field for error in caught.value.errors] == ["properties.Shop.user", "properties.Shop.database"]
    assert "Shop.user is missing" in caught.value.errors[0].message
    assert caught.value.errors[0].code == "required"


def test_required_setting_that_does_not_apply_is_not_missed():
    part = Part("Shop", shipped("tap-sql"), {"dialect": "sqlite", "path": "a.db", "tables": '[{"table": "a"}]'})
    assert "host" not in load_settings(part, {})
    assert not check_part(part, NOWHERE)


def test_wrong_override_is_reported_once():
    part = Part("Shop", shipped("target-duckdb"), {}, {"verify": "perhaps"})
    assert [error.field for error in check_part(part, NOWHERE)] == ["properties.Shop.verify"]


def test_wrong_value_on_the_component_is_reported_by_the_pipeline_too():
    part = Part("Shop", shipped("target-duckdb"), {"verify": "$GONE"}, {})
    assert "no variable GONE" in check_part(part, NOWHERE)[0].message


# ---------- secrets ----------


def test_secrets_are_masked_and_the_mask_keeps_the_stored_value():
    stored = {"api_key": "hunter2", "pages": "3"}
    assert mask(ORCHARD, stored) == {"api_key": MASK, "pages": "3"}
    assert unmask(ORCHARD, {"api_key": MASK, "pages": MASK}, stored) == ({"api_key": "hunter2", "pages": MASK}, [])


def test_mask_without_a_stored_value_is_an_error():
    errors = unmask(ORCHARD, {"api_key": MASK}, {}, prefix="Shop.")[1]
    assert errors[0].field == "properties.Shop.api_key"
    assert "none is stored" in errors[0].message


# ---------- warnings ----------


def test_short_secret_warns_also_behind_a_variable():
    assert "shorter than 4 characters" in warnings_of(Part("O", ORCHARD, {"api_key": "abc"}), {})[0]
    assert "shorter than 4 characters" in warnings_of(Part("O", ORCHARD, {"api_key": "$KEY"}), {"KEY": "abc"})[0]
    assert not warnings_of(Part("O", ORCHARD, {"api_key": "abcd"}), {})


def test_selection_that_selects_nothing_warns():
    assert "nothing is selected" in warnings_of(Part("O", ORCHARD, {"_select": '["!a.b"]'}), {})[0]
    metadata = '{"a": {"replication-method": "INCREMENTAL"}}'
    assert "without a replication-key" in warnings_of(Part("O", ORCHARD, {"_metadata": metadata}), {})[0]


def test_long_list_of_settings_is_cut_in_a_message():
    many = parse({**ORCHARD_WITH_SECRET_OBJECT, "settings": [{"name": f"setting_{number}"} for number in range(40)]})
    message = faults(many, {"zzz": "x"})["properties.zzz"]
    assert "setting_11 and 28 more" in message and "setting_12" not in message
    assert (
        "It takes no settings."
        in faults(parse({**ORCHARD_WITH_SECRET_OBJECT, "settings": []}), {"a": "x"})["properties.a"]
    )


def test_broken_selection_is_reported_by_the_pipeline_too():
    part = Part("O", ORCHARD, {"api_key": "hunter22", "_select": "[1]"})
    assert [error.field for error in check_part(part, NOWHERE)] == ["properties.O._select"]


def test_selection_without_effect_warns():
    assert "has no effect" in warnings_of(Part("F", shipped("tap-files"), {"_select": "[]"}), {})[0]
    assert not warnings_of(Part("O", ORCHARD, {"_select": "[]"}), {})


def test_full_table_appended_and_merge_without_key_warn():
    full, keyed = {"table": "a"}, {"table": "b", "replication_method": "INCREMENTAL", "primary_keys": ["id"]}
    assert "adds all its rows again" in pair_warnings({"tables": [full, keyed]}, {"load_method": "append"})[0]
    assert "a has no primary key" in pair_warnings({"tables": [full, keyed]}, {"load_method": "merge"})[0]
    assert not pair_warnings({"tables": [keyed]}, {"load_method": "merge"})
    assert not pair_warnings({"files": [{"stream": "a", "path": "a"}]}, {"load_method": "append"})


# ---------- circles ----------


def test_shortest_circle_is_found_and_its_absence_too():
    assert find_circle("a", {"a": ["b"], "b": ["c", "d"], "c": ["x"], "d": ["a"]}) == ["a", "b", "d", "a"]
    assert find_circle("a", {"a": ["a"]}) == ["a", "a"]
    assert find_circle("a", {"a": ["b"], "b": ["c"], "c": ["b"]}) is None
    assert find_circle("a", {}) is None
