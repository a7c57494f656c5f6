"""The connectors that come with the product: each can be installed as it says, and means what the code expects."""

import re
import uuid

import pytest
import yaml

from jobs.engine.movers.count_places import filled, stream_names
from pipelines import plugins
from pipelines.definition_checks import STREAM_NAMES, faults_of
from pipelines.plugins import CATALOGUE, parse, shipped_definitions, shipped_plugins, store_of
from pipelines.typed import typed_value

LOCKS = CATALOGUE / "locks"
CONNECTORS = [definition for definition in shipped_definitions() if definition["variant"] != "eltsite"]


def stem(definition):
    """The name of a connector's files."""
    return f"{definition['name']}--{definition['variant']}"


def connector(name, variant):
    """A shipped connector, parsed."""
    return next(plugin for plugin in shipped_plugins() if (plugin.name, plugin.variant) == (name, variant))


every_connector = pytest.mark.parametrize("definition", CONNECTORS, ids=stem)


def test_fifteen_connectors_and_more_are_shipped_under_names_of_their_own():
    assert len(CONNECTORS) >= 15
    assert len({(each["pluginType"], stem(each)) for each in CONNECTORS}) == len(CONNECTORS)
    assert {path.stem for path in LOCKS.iterdir()} == {stem(each) for each in CONNECTORS}
    assert {path.stem for path in CATALOGUE.glob("*--*.yaml")} == {stem(each) for each in CONNECTORS}


@every_connector
def test_definition_holds_what_a_definition_must(definition):
    assert faults_of(definition) == []
    assert uuid.UUID(definition["id"]).version == 4
    assert re.fullmatch(r"[A-Z0-9]{2}", definition["monogram"])
    assert definition["description"].endswith(".") and definition["docs"].startswith("https://")
    assert definition["executable"] and definition["label"]
    assert definition["pluginType"] == ("EXTRACTOR" if definition["name"].startswith("tap-") else "LOADER")


@every_connector
def test_settings_have_labels_and_defaults_of_their_kind_and_no_secret_has_one(definition):
    plugin = parse(definition)
    names = [name for setting in plugin.settings for name in (setting.name, *setting.aliases)]
    assert len(names) == len(set(names))
    for setting in plugin.settings:
        assert setting.label, setting.name
        assert setting.default is None or not setting.is_secret, setting.name
        if setting.default is not None:
            assert typed_value(setting, setting.default) == setting.default, setting.name
        assert all(plugin.setting(name) for name in (*setting.when, *setting.required_when)), setting.name


@every_connector
def test_what_sounds_like_a_secret_is_one(definition):
    plugin = parse(definition)
    harmless = {"next_page_token_path", "access_token_url", "ssh_tunnel.enable", "oauth_expiration_secs"}
    sounds = re.compile(r"password|passphrase|secret|token|private_key$|api_keys?$|credentials_json")
    missed = [s.name for s in plugin.settings if sounds.search(s.name) and not s.is_secret and s.name not in harmless]
    assert missed == []


@every_connector
def test_lock_pins_what_the_definition_asks_for_with_hashes(definition):
    lock = (LOCKS / f"{stem(definition)}.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    pinned = dict(re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", entry).groups() for entry in entries)
    for requirement in definition["pipUrl"].split():
        if "==" in requirement:
            name, version = requirement.split("==")
            assert pinned[name] == version
    assert not re.search(r"https?://|--index|--find-links", lock)


def test_no_definition_names_a_registry():
    for path in CATALOGUE.rglob("*"):
        if path.is_file():
            assert not re.search(r"py" r"pi\.org|pythonhosted", path.read_text(encoding="utf-8")), path.name


def test_rows_are_counted_where_the_loaders_put_them():
    assert set(stream_names("a")) == set(STREAM_NAMES)
    cases = [
        ("target-jsonl", "andyh1203", {"destination_path": "out"}, "path", "out/public-Orders.jsonl"),
        ("target-csv", "meltanolabs", {"output_path": "out"}, "path", "out/public-Orders.csv"),
        ("target-postgres", "meltanolabs", {"default_target_schema": "raw"}, "table", "Orders"),
        ("target-postgres", "transferwise", {"default_target_schema": "raw"}, "table", "orders"),
        ("target-duckdb", "jwills", {"filepath": "x.duckdb", "default_target_schema": "raw"}, "table", "orders"),
    ]
    for name, variant, settings, key, place in cases:
        assert filled(connector(name, variant).store[key], settings, "public-Orders") == place, name


@pytest.mark.parametrize(
    ("stream", "last", "pipelinewise"),
    [
        ("Plain", "Plain", "plain"),
        ("public-Orders", "Orders", "orders"),
        ("web.visits", "web.visits", "web_visits"),
        ("db-public-big-orders", "orders", "big_orders"),
        ("My Stream", "My Stream", "my stream"),
    ],
)
def test_streams_with_dashes_are_named_as_the_loaders_name_them(stream, last, pipelinewise):
    names = stream_names(stream)
    assert (names["stream_last"], names["stream_pipelinewise"]) == (last, pipelinewise)


def test_nothing_is_counted_where_a_setting_puts_the_rows_elsewhere():
    jsonl = connector("target-jsonl", "andyh1203")
    assert store_of(jsonl, {"do_timestamp_file": False})["kind"] == "jsonl"
    assert store_of(jsonl, {}) == store_of(jsonl, {"custom_name": ""}) == jsonl.store
    assert store_of(jsonl, {"do_timestamp_file": True}) == {}
    assert store_of(jsonl, {"custom_name": "all"}) == {}
    mapped = connector("target-postgres", "transferwise")
    assert store_of(mapped, {"schema_mapping": {}}) == mapped.store
    assert store_of(mapped, {"schema_mapping": {"a": {"target_schema": "b"}}}) == {}


def test_catalogue_reads_the_same_by_both_loaders_of_yaml(monkeypatch):
    plugins.shipped_definitions.cache_clear()
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    try:
        slow = plugins.shipped_definitions()
    finally:
        plugins.shipped_definitions.cache_clear()
        monkeypatch.undo()
    assert slow == plugins.shipped_definitions()
