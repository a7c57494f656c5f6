"""What a connector gets: typed and nested settings, variables of its process, its selection."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.connector_config import (
    config_of,
    meltano_variables,
    metadata_rules_of,
    selection_of,
    variables_of_process,
)
from pipelines.plugins import Plugin, fingerprint_of, is_local, parse, paths_of
from pipelines.typed import default_of, with_defaults
from pipelines.validation import Part, load_settings


def connector(*settings: dict[str, Any], **more: Any) -> Plugin:
    values = {"name": "tap-orchard", "variant": "acme", "pluginType": "EXTRACTOR", "pipUrl": "tap-orchard==1", **more}
    return parse({**values, "settings": list(settings)})


ORCHARD = connector(
    {"name": "api_key", "kind": "PASSWORD", "env": "ORCHARD_KEY"},
    {"name": "oauth", "kind": "OBJECT"},
    {"name": "oauth.client_id"},
    {"name": "oauth.deep.flag", "kind": "BOOLEAN"},
    {"name": "port", "kind": "INTEGER", "value": "5432"},
    {"name": "rate", "kind": "DECIMAL"},
    {"name": "trees", "kind": "ARRAY"},
    {"name": "mode", "kind": "OPTIONS", "options": [{"value": 1, "label": "One"}, {"value": 2, "label": "Two"}]},
    {"name": "weird-name!"},
    select=["trees.*"],
    metadata={"trees": {"replication-method": "INCREMENTAL", "replication-key": "at"}},
)


def loaded(**properties: str) -> dict[str, Any]:
    return load_settings(Part("Orchard", ORCHARD, properties), {"HOST": "h", "KEY": "hunter22"})


def test_settings_reach_the_connector_with_their_types():
    settings = loaded(api_key="$KEY", port="5433", rate="0.5", trees='["a", "b"]', mode="2", _select='["a.*"]')
    assert config_of(ORCHARD, settings) == {
        "api_key": "hunter22",
        "port": 5433,
        "rate": 0.5,
        "trees": ["a", "b"],
        "mode": 2,
    }


def test_defaults_get_the_type_of_their_setting():
    assert config_of(ORCHARD, loaded())["port"] == 5432


def test_dotted_names_are_nested_and_fill_up_their_parent():
    given = {"oauth": {"client_id": "old", "deep": {"kept": 1}}, "oauth.client_id": "c", "oauth.deep.flag": False}
    assert config_of(ORCHARD, given) == {"oauth": {"client_id": "c", "deep": {"kept": 1, "flag": False}}}
    assert given["oauth"] == {"client_id": "old", "deep": {"kept": 1}}  # the settings stay as they are
    assert config_of(ORCHARD, {"oauth.client_id": "c"}) == {"oauth": {"client_id": "c"}}
    assert config_of(ORCHARD, {"a": "text", "a.b": 1}) == {"a": {"b": 1}}
    assert config_of(ORCHARD, {"a.b": {"x": 1, "y": 1}, "a": {"b": {"y": 0, "z": 0}}}) == {
        "a": {"b": {"x": 1, "y": 1, "z": 0}}
    }


def test_none_and_reserved_names_are_left_out():
    assert config_of(ORCHARD, {"api_key": None, "_select": ["a"], "_metadata": {}, "port": 0}) == {"port": 0}
    assert variables_of_process(ORCHARD, {"api_key": None, "_select": ["a"]}) == {}


def test_variables_of_the_process_carry_texts():
    given = {"api_key": "k", "oauth": {"ä": 1}, "oauth.deep.flag": True, "port": 1, "trees": ["x"], "weird-name!": "w"}
    assert variables_of_process(ORCHARD, given) == {
        "ORCHARD_KEY": "k",
        "TAP_ORCHARD_OAUTH": '{"ä": 1}',
        "TAP_ORCHARD_OAUTH_DEEP_FLAG": "true",
        "TAP_ORCHARD_PORT": "1",
        "TAP_ORCHARD_TREES": '["x"]',
        "TAP_ORCHARD_WEIRD_NAME_": "w",
    }


def test_selection_is_the_settings_then_the_definitions():
    assert selection_of(ORCHARD, {}) == ["trees.*"]
    assert selection_of(ORCHARD, {"_select": ["!a.b", "*.*"]}) == ["!a.b", "*.*"]
    assert metadata_rules_of(ORCHARD, {"_metadata": {"trees": {"replication-key": "id"}, "b": {"selected": True}}}) == {
        "trees": {"replication-method": "INCREMENTAL", "replication-key": "id"},
        "b": {"selected": True},
    }


# ---------- defaults ----------


@pytest.mark.parametrize(
    ("setting", "result"),
    [
        ({"kind": "BOOLEAN", "value": "false"}, False),
        ({"kind": "ARRAY", "value": '["a"]'}, ["a"]),
        ({"kind": "INTEGER", "value": "many"}, "many"),
        ({"kind": "STRING", "value": 5}, 5),
        ({"kind": "HIDDEN", "value": True}, True),
        ({"value": ""}, ""),
        ({"value": "$MELTANO_EXTRACT__LOAD_SCHEMA"}, "tap_orchard"),
        ({"value": "${MELTANO_EXTRACTOR_NAME}/out"}, "tap-orchard/out"),
        ({"value": "$MELTANO_PROJECT_ROOT/out"}, None),
        ({"value": "pa$$word"}, None),
    ],
)
def test_default_is_typed_and_its_variables_are_filled_in(setting, result):
    plugin = connector({"name": "x", **setting})
    found = default_of(plugin, plugin.settings[0], meltano_variables(ORCHARD, None))
    assert found == result and type(found) is type(result)


def test_default_with_an_unknown_variable_leaves_the_setting_out():
    plugin = connector({"name": "schema", "value": "$NOWHERE"}, {"name": "b", "value": 1})
    assert with_defaults(plugin, {}) == {"b": 1}
    assert with_defaults(plugin, {}, {"NOWHERE": "here"}) == {"schema": "here", "b": 1}


# ---------- environments and places ----------


def test_plugins_with_the_same_requirements_and_python_share_a_fingerprint():
    assert connector(pipUrl="a  b").fingerprint == connector(pipUrl=" a b", name="tap-other").fingerprint
    assert connector(python="3.11").fingerprint == connector(python="python3.11").fingerprint
    assert len({fingerprint_of("a", ""), fingerprint_of("a", "3.11"), fingerprint_of("b", "")}) == 3
    assert len(fingerprint_of("a", "")) == 64


def test_native_is_what_movers_run():
    assert parse({"name": "tap-files", "variant": "eltsite", "pluginType": "EXTRACTOR"}).is_native
    assert not connector(variant="eltsite").is_native
    assert not connector().is_native


def test_files_of_a_connector_make_it_local():
    tap = connector({"name": "path", "kind": "FILE"})
    assert paths_of(tap, {"path": "in/a.csv"}) == [("path", "in/a.csv")]
    assert paths_of(tap, {"path": "file:///etc/passwd"}) == [("path", "/etc/passwd")]
    for remote in ("https://example.com/a", "s3://bucket/a", "sftp://host/a"):
        assert not is_local(tap, {"path": remote})


def test_store_that_is_a_file_makes_a_target_local():
    def target(kind: str, path: str) -> Plugin:
        return connector({"name": "filepath"}, pluginType="LOADER", store={"kind": kind, "path": path})

    duck = target("duckdb", "{filepath}")
    assert is_local(duck, {"filepath": "w.duckdb"}) and paths_of(duck, {"filepath": "w.duckdb"}) == [
        ("filepath", "w.duckdb")
    ]
    assert not is_local(duck, {"filepath": "md:warehouse"})
    assert not is_local(duck, {})
    assert is_local(target("jsonl", "output/{stream}.jsonl"), {})
    assert not is_local(target("postgresql", ""), {"filepath": "x"})
