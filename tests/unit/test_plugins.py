"""Plugin definitions: the shipped ones, the kinds of settings, variables, and what touches the host's files."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from pipelines.plugins import (
    Plugin,
    Setting,
    SettingKind,
    applies,
    is_local,
    parse,
    parse_setting,
    paths_of,
    shipped_plugins,
)
from pipelines.typed import typed_value, with_defaults
from pipelines.values import ValueFault
from pipelines.variables import references, resolved_value, substitute


def shipped(name: str) -> Plugin:
    return next(plugin for plugin in shipped_plugins() if plugin.name == name and plugin.is_native)


def natives() -> list[Plugin]:
    return [plugin for plugin in shipped_plugins() if plugin.is_native]


def value(kind: str, given: Any, **more: Any) -> Any:
    return typed_value(parse_setting({"name": "x", "kind": kind, **more}), given)


def fault(kind: str, given: Any, **more: Any) -> str:
    with pytest.raises(ValueFault) as caught:
        value(kind, given, **more)
    return str(caught.value)


# ---------- the catalogue ----------


def test_five_native_plugins_are_shipped_with_their_settings():
    settings = {plugin.full_name: {setting.name for setting in plugin.settings} for plugin in natives()}
    server = {"host", "port", "user", "password", "database", "sslmode"}
    singer = {"flatten", "add_record_metadata"}  # of what comes from a Singer tap
    load = {"schema", "load_method", "models", "verify"} | singer
    assert settings == {
        "extractors/tap-files--eltsite": {"files", "allow_text_widening"},
        "extractors/tap-sql--eltsite": server | {"dialect", "path", "tables"},
        "loaders/target-duckdb--eltsite": load | {"path", "memory_limit"},
        "loaders/target-postgres--eltsite": load | server | {"sanitize_null_text_characters"},
        "loaders/target-files--eltsite": {"path", "format", "load_method", "compression"} | singer,
    }


def test_shipped_plugins_have_fixed_v4_ids_labels_and_monograms():
    ids = [uuid.UUID(plugin.id) for plugin in shipped_plugins()]
    assert all(each.version == 4 for each in ids)
    assert len(set(ids)) == len(ids) >= 5
    for plugin in natives():
        assert plugin.label and plugin.description and len(plugin.monogram) == 2
        for setting in plugin.settings:
            assert setting.label, f"{plugin.name}.{setting.name}"
            for item in setting.items:
                assert item.label, f"{plugin.name}.{setting.name}.{item.name}"


def test_defaults_of_shipped_plugins_fit_their_kinds():
    for plugin in natives():
        for setting in [*plugin.settings, *(item for each in plugin.settings for item in each.items)]:
            if setting.default not in (None, ""):
                assert typed_value(setting, setting.default) == setting.default


def test_passwords_are_secret_and_nothing_else_of_the_native_ones():
    secret = {(plugin.name, name) for plugin in natives() for name in plugin.secret_names}
    assert secret == {("tap-sql", "password"), ("target-postgres", "password")}


def test_environment_names_follow_the_namespace():
    plugin = shipped("tap-sql")
    password = plugin.setting("password")
    assert password is not None
    assert plugin.env_name(password) == "TAP_SQL_PASSWORD"
    assert plugin.env_name(Setting(name="oauth.client_id")) == "TAP_SQL_OAUTH_CLIENT_ID"
    assert plugin.env_name(Setting(name="token", env="SHOP_TOKEN")) == "SHOP_TOKEN"


def test_definition_in_the_contracts_shape_is_read():
    plugin = parse(
        {
            "name": "tap-orchard",
            "variant": "acme",
            "pluginType": "extractor",
            "capabilities": ["catalog"],
            "settings": [
                {"name": "api_key", "kind": "password", "required": "true", "aliases": ["key"]},
                {"name": "mode", "kind": "OPTIONS", "options": [{"label": "Fast", "value": "fast"}, "slow"]},
                {"name": "new", "kind": "SOMETHING_LATER"},
            ],
        }
    )
    assert plugin.full_name == "extractors/tap-orchard--acme"
    assert plugin.namespace == "tap_orchard"
    assert plugin.capabilities == ("CATALOG",)
    key = plugin.setting("key")
    assert key is not None and key.name == "api_key" and key.required and key.is_secret
    assert plugin.secret_names == {"api_key", "key"}
    assert [option.value for option in plugin.settings[1].options] == ["fast", "slow"]
    assert plugin.settings[2].kind == SettingKind.STRING


def test_protected_sensitive_and_nested_secrets_are_secret():
    assert parse_setting({"name": "x", "protected": True}).is_secret
    assert parse_setting({"name": "x", "sensitive": True}).is_secret
    assert parse_setting({"name": "x", "kind": "ARRAY_OBJECT", "items": [{"name": "y", "kind": "PASSWORD"}]}).is_secret
    assert not parse_setting({"name": "x"}).is_secret


# ---------- kinds ----------


def test_texts_become_the_values_of_their_kind():
    assert value("INTEGER", " 5432 ") == 5432
    assert value("INTEGER", 5432) == 5432
    assert value("INTEGER", "-3") == -3
    assert value("BOOLEAN", "Yes") is True
    assert value("BOOLEAN", "0") is False
    assert value("BOOLEAN", False) is False
    assert value("OPTIONS", "APPEND", options=["append", "merge"]) == "append"
    assert value("DATE_ISO8601", "2026-12-01") == "2026-12-01"
    assert value("EMAIL", "ida@example.com") == "ida@example.com"
    assert value("ARRAY", "a, b ,c") == ["a", "b", "c"]
    assert value("ARRAY", '["a", 1]') == ["a", 1]
    assert value("ARRAY", ["a"]) == ["a"]
    assert value("OBJECT", '{"zip": "varchar"}') == {"zip": "varchar"}
    assert value("ARRAY_OBJECT", '[{"a": 1}]') == [{"a": 1}]
    assert value("STRING", 12) == "12"
    assert value("PASSWORD", "p\nq") == "p\nq"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("INTEGER", "5432x", "5432x is not a whole number"),
        ("INTEGER", "1e3", "1e3 is not a whole number"),
        ("INTEGER", "1_000", "1_000 is not a whole number"),
        ("INTEGER", "٣", "is not a whole number"),
        ("INTEGER", True, "true is not a whole number"),
        ("BOOLEAN", "maybe", "maybe is neither true nor false"),
        ("DATE_ISO8601", "2026-13-01", "2026-13-01 is not a date"),
        ("EMAIL", "ida", "ida is not an e-mail address"),
        ("ARRAY", "[1,", "line 1, column 4"),
        ("OBJECT", "[1]", "[1] is not an object"),
        ("ARRAY_OBJECT", '{"a": 1}', "is not a list"),
        ("ARRAY_OBJECT", "[1]", "Entry 1 is not an object"),
        ("STRING", ["a"], "takes a text"),
        ("STRING", "a\0b", "zero byte"),
        ("FILE", "a\nb", "line break"),
    ],
)
def test_fault_names_the_value_and_the_remedy(kind, given, said):
    message = fault(kind, given)
    assert said in message
    assert "Write" in message or "Remove" in message


def test_bounds_and_options_are_named():
    assert "Write 65535 or less" in fault("INTEGER", "70000", minimum=1, maximum=65535)
    assert "Write 1 or more" in fault("INTEGER", "0", minimum=1)
    assert "Write one of append, merge" in fault("OPTIONS", "upsert", options=["append", "merge"])


def test_fault_of_a_secret_never_shows_its_value():
    message = fault("OBJECT", '{"private_key": "hunter2"', sensitive=True, label="Service account")
    assert "hunter2" not in message
    assert message == "Service account does not have the form of an object."


def test_long_values_are_cut_in_messages():
    assert len(fault("INTEGER", "9" * 5000)) < 200


# ---------- lists of objects ----------


def files(*rows: dict[str, Any]) -> Any:
    setting = shipped("tap-files").setting("files")
    assert setting is not None
    return typed_value(setting, list(rows))


def tables(*rows: dict[str, Any]) -> Any:
    setting = shipped("tap-sql").setting("tables")
    assert setting is not None
    return typed_value(setting, list(rows))


def test_fields_of_entries_get_their_types():
    assert files(
        {"stream": "orders", "path": "o.csv", "primary_keys": "id, line", "header": "no", "columns": None}
    ) == [{"stream": "orders", "path": "o.csv", "primary_keys": ["id", "line"], "header": False}]


@pytest.mark.parametrize(
    ("rows", "said", "where"),
    [
        ([{"path": "o.csv"}], "Entry 1 has no stream", (0, "stream")),
        ([{"stream": "a", "path": "a"}, {"stream": "b", "path": ""}], "Entry 2 has no path", (1, "path")),
        ([{"stream": "a", "path": "a", "fromat": "csv"}], "Entry 1 has the field fromat", (0, "fromat")),
        (
            [{"stream": "a", "path": "a", "format": "xls"}],
            "Entry 1, format: xls is not one of the choices",
            (0, "format"),
        ),
        ([{"stream": "a", "path": "a", "columns": "x"}], "Entry 1, columns: x is not JSON", (0, "columns")),
    ],
)
def test_fault_of_an_entry_says_which_and_where(rows, said, where):
    with pytest.raises(ValueFault) as caught:
        files(*rows)
    assert said in str(caught.value)
    assert caught.value.where == where


def test_entry_wants_what_its_other_fields_make_necessary():
    assert tables({"table": "orders"}) == [{"table": "orders"}]
    assert tables({"query": "SELECT 1", "stream": "one"}) == [{"query": "SELECT 1", "stream": "one"}]
    for row, said in [
        ({"stream": "a"}, "has no table"),
        ({"query": "SELECT 1"}, "has no stream"),
        ({"table": "a", "replication_method": "incremental"}, "has no replication_key"),
        ({"table": "a", "lookback_seconds": "-1"}, "Write 0 or more"),
    ]:
        with pytest.raises(ValueFault, match=said):
            tables(row)


# ---------- together ----------


def test_settings_apply_by_the_values_of_others():
    plugin = shipped("tap-sql")
    by_name = {setting.name: setting for setting in plugin.settings}
    assert applies(by_name["host"], {"dialect": "postgresql"})
    assert not applies(by_name["host"], {"dialect": "sqlite"})
    assert with_defaults(plugin, {"dialect": "sqlite", "path": "a.db", "host": "left over"}) == {
        "dialect": "sqlite",
        "path": "a.db",
    }
    assert with_defaults(plugin, {"host": "db"}) == {
        "dialect": "postgresql",
        "host": "db",
        "port": 5432,
        "sslmode": "prefer",
    }


def test_what_touches_files_of_the_host_is_local():
    local = files({"stream": "a", "path": "a.csv"})
    remote = files({"stream": "a", "path": "HTTPS://example.com/a.csv"})
    assert is_local(shipped("tap-files"), {"files": local})
    assert is_local(shipped("tap-files"), {"files": remote + local})
    assert not is_local(shipped("tap-files"), {"files": remote})
    assert is_local(shipped("target-duckdb"), with_defaults(shipped("target-duckdb"), {}))
    assert is_local(shipped("target-files"), with_defaults(shipped("target-files"), {}))
    assert not is_local(shipped("target-postgres"), {"host": "db"})
    assert not is_local(shipped("tap-sql"), {"dialect": "postgresql", "path": "left over"})
    assert is_local(shipped("tap-sql"), {"dialect": "sqlite", "path": "shop.sqlite"})


def test_paths_say_where_they_stand():
    rows = files({"stream": "a", "path": "http://example.com/a"}, {"stream": "b", "path": "/data/b.csv"})
    assert paths_of(shipped("tap-files"), {"files": rows}) == [("files[1].path", "/data/b.csv")]


# ---------- variables ----------

VARIABLES = {"HOST": "db.example.com", "PORT": "5433", "QUOTE": 'a"b'}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$HOST", "db.example.com"),
        ("${HOST}", "db.example.com"),
        ("https://${HOST}:${PORT}/x", "https://db.example.com:5433/x"),
        ("https://$HOST/x", "https://$HOST/x"),
        ("pa$$word", "pa$$word"),
        ("p$1^$", "p$1^$"),
        ("$$HOST", "$HOST"),
        ("a$${HOST}", "a${HOST}"),
        ("$", "$"),
        ("", ""),
    ],
)
def test_substitution(text, result):
    assert substitute(text, VARIABLES) == result


def test_unknown_variable_is_named_with_two_remedies():
    with pytest.raises(ValueFault, match=r"no variable NOPE .* Make it, or write \$\$NOPE"):
        substitute("$NOPE", VARIABLES)
    with pytest.raises(ValueFault, match=r"write \$\$\{NOPE\} when"):
        substitute("x${NOPE}", VARIABLES)


def test_references_are_found_as_substitution_finds_them():
    assert references("$HOST") == ["HOST"]
    assert references("${A}/${B}") == ["A", "B"]
    assert references("pa$$word $HOST $${A}") == []


def test_variables_get_the_settings_type_and_cannot_change_json():
    integer = Setting(name="port", kind=SettingKind.INTEGER)
    assert resolved_value(integer, "$PORT", VARIABLES) == 5433
    with pytest.raises(ValueFault) as caught:
        resolved_value(integer, "$HOST", VARIABLES)
    assert str(caught.value).startswith(
        "With the present value of $HOST, $HOST does not have the form of a whole number"
    )
    with pytest.raises(ValueFault) as caught:
        resolved_value(Setting(name="x", kind=SettingKind.OBJECT), "${QUOTE}", VARIABLES)
    assert 'a"b' not in str(caught.value)
    objects = Setting(name="rows", kind=SettingKind.ARRAY_OBJECT)
    assert resolved_value(objects, '[{"a": "x${QUOTE}y", "b": ["$HOST"]}]', VARIABLES) == [
        {"a": 'xa"by', "b": ["db.example.com"]}
    ]
    assert resolved_value(objects, "$ROWS", {"ROWS": '[{"a": 1}]'}) == [{"a": 1}]


def test_fault_of_a_secret_with_a_dollar_sign_does_not_show_it():
    secret = Setting(name="password", kind=SettingKind.PASSWORD)
    assert resolved_value(secret, "$HOST", VARIABLES) == "db.example.com"
    assert resolved_value(secret, "$$ecret", VARIABLES) == "$ecret"
    with pytest.raises(ValueFault, match="double the dollar sign") as caught:
        resolved_value(secret, "$ecret", VARIABLES)
    assert "ecret" not in str(caught.value)
