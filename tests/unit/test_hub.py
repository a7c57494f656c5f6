"""Published plugin definitions: every form they come in, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eltsite.errors import Invalid
from pipelines.hub import LARGEST_BYTES, definitions_from, normalised
from pipelines.plugins import parse

HUB = """
capabilities: [about, schema-flattening, state]
description: An orchard's harvest
keywords: [meltano_sdk]
label: Orchard
logo_url: /assets/logos/extractors/orchard.png
name: tap-orchard
namespace: tap_orchard
pip_url: git+https://example.com/acme/tap-orchard.git@v1.2
settings:
- {name: api_key, kind: password, sensitive: true, required: true}
- {name: start_date, kind: date_iso8601, value: 2020-01-31}
- name: mode
  kind: options
  options: [{label: Fast, value: fast}, {label: Slow, value: slow}]
- {name: oauth.client_id, aliases: [client_id]}
settings_group_validation: [[api_key], [oauth.client_id, start_date]]
select: ["trees.*"]
metadata: {trees: {replication-method: INCREMENTAL}}
variant: acme
"""
DISCOVERY = """
version: 20
extractors:
- name: tap-orchard
  label: Orchard
  namespace: tap_orchard
  variants:
  - name: acme
    pip_url: tap-orchard
    capabilities: [catalog]
    settings: [{name: api_key, kind: password}]
  - name: older
    original: true
    deprecated: true
    pip_url: orchard-tap
- name: tap-flat
  pip_url: tap-flat==1
  settings:
  - {name: port, value: 5432}
loaders:
- name: target-barn
  variant: acme
  pip_url: target-barn
transformers:
- {name: dbt, pip_url: "dbt==0.14.4", commands: {run: run --full, clean: {args: clean, description: Tidy}}}
"""


def faults(text: str) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        definitions_from(text)
    return {error.field: error.message for error in caught.value.errors}


def one(text: str) -> dict[str, Any]:
    (found,) = definitions_from(text)
    return found


def simple(**more: Any) -> str:
    values = {"name": "tap-x", "variant": "y", "pip_url": "tap-x==1", **more}
    return json.dumps({key: value for key, value in values.items() if value is not None})


# ---------- forms ----------


def test_hub_definition_is_read_as_it_is_published():
    found = one(HUB)
    assert (found["pluginType"], found["name"], found["variant"]) == ("EXTRACTOR", "tap-orchard", "acme")
    assert found["pipUrl"] == "git+https://example.com/acme/tap-orchard.git@v1.2"
    assert found["capabilities"] == ["ABOUT", "SCHEMA_FLATTENING", "STATE"]
    assert found["settings"][0] == {"name": "api_key", "kind": "PASSWORD", "sensitive": True, "required": "true"}
    assert found["settings"][1]["value"] == "2020-01-31"
    assert found["settingsGroupValidation"] == [["api_key"], ["oauth.client_id", "start_date"]]
    assert found["keywords"] == ["meltano_sdk"]
    assert not [key for key in found if "_" in key]
    plugin = parse(found)
    assert plugin.select == ("trees.*",) and plugin.metadata == {"trees": {"replication-method": "INCREMENTAL"}}
    assert plugin.groups == (("api_key",), ("oauth.client_id", "start_date"))
    assert plugin.executable == "tap-orchard" and not plugin.is_native


def test_hub_definition_may_be_json_and_several_may_stand_in_a_list():
    assert one(json.dumps(one(HUB))) == one(HUB)
    both = definitions_from(json.dumps([json.loads(simple()), json.loads(simple(variant="z"))]))
    assert [each["variant"] for each in both] == ["y", "z"]


def test_discovery_document_gives_each_variant_and_flat_plugins_one():
    found = definitions_from(DISCOVERY)
    assert [(each["pluginType"], each["name"], each["variant"]) for each in found] == [
        ("EXTRACTOR", "tap-orchard", "acme"),
        ("EXTRACTOR", "tap-orchard", "older"),
        ("EXTRACTOR", "tap-flat", "original"),
        ("LOADER", "target-barn", "acme"),
        ("TRANSFORMER", "dbt", "original"),
    ]
    assert found[1]["label"] == "Orchard" and found[1]["deprecated"] is True and "settings" not in found[1]
    assert found[4]["commands"] == {"run": {"args": "run --full"}, "clean": {"args": "clean", "description": "Tidy"}}


def test_plugins_of_a_meltano_project_are_read_and_its_config_values_are_left_behind():
    text = "plugins: {extractors: [{name: tap-x, pip_url: tap-x, config: {token: hunter2, _select: [a]}, settings: [{name: url}]}]}"
    found = one(text)
    assert found["settings"] == [{"name": "url"}, {"name": "token"}]
    assert "hunter2" not in json.dumps(found)


def test_contracts_own_form_and_an_answer_sent_back_are_read():
    body = {
        **json.loads(simple(pip_url=None)),
        "id": "3e74f235-2361-4308-ab52-e50f22b1982e",
        "pluginType": "extractors",
        "pipUrl": "tap-x==1",
        "settings": [{"name": "a", "kind": "Integer", "required": True}],
        "_links": {"self": {"href": "x"}},
    }
    found = one(json.dumps(body))
    assert found == {
        "name": "tap-x",
        "variant": "y",
        "pluginType": "EXTRACTOR",
        "pipUrl": "tap-x==1",
        "settings": [{"name": "a", "kind": "INTEGER", "required": "true"}],
    }
    assert one(json.dumps({"_embedded": {"dataplugins": [body]}})) == found


def test_type_that_is_not_told_is_seen_from_name_or_address():
    assert normalised({"name": "tap-x"})["pluginType"] == "EXTRACTOR"
    assert normalised({"name": "target-x"})["pluginType"] == "LOADER"
    assert normalised({"name": "x", "docs": "https://hub.example.com/utilities/x"})["pluginType"] == "UTILITY"
    assert "does not say what it is" in faults(simple(name="x"))["pluginType"]


# ---------- faults ----------


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"name": "tap x"}, "name", "tap x is no name"),
        ({"name": "a--b", "pluginType": "loader"}, "name", "no two dashes together"),
        ({"variant": None}, "variant", "it has no variant"),
        ({"variant": "eltsite"}, "variant", "kept for what is built in"),
        ({"pip_url": None}, "pipUrl", "it has no pip_url"),
        ({"pip_url": "tap-x --trusted-host evil"}, "pipUrl", "The option --trusted-host is not taken"),
        ({"executable": "../bin/sh"}, "executable", "is a path"),
        ({"python": "2.7"}, "python", "no version of Python"),
        ({"python": 3.1}, "python", "Write it in quotes"),
        ({"label": 5}, "label", "not a text"),
        ({"capabilities": "catalog"}, "capabilities", "no list of words"),
        ({"select": ["!"]}, "select", "names no stream"),
        ({"metadata": {"a": "x"}}, "metadata", "metadata of a"),
        ({"settings_group_validation": ["a"]}, "settingsGroupValidation", "no list of lists"),
        ({"settings": {"a": 1}}, "settings", "no list"),
        ({"settings": ["a"]}, "settings[0]", "setting 1 is a, not an object"),
        ({"settings": [{"kind": "string"}]}, "settings[0].name", "setting 1 has no name"),
        ({"settings": [{"name": "a", "kind": "pasword"}]}, "settings[0].kind", "Did you mean PASSWORD?"),
        ({"settings": [{"name": "a"}, {"name": "b", "aliases": ["a"]}]}, "settings[1].name", "given twice"),
        ({"settings": [{"name": "_select"}]}, "settings[0].name", "kept for the selection"),
        ({"settings": [{"name": "a", "env": "LD_PRELOAD"}]}, "settings[0].env", "belongs to the process"),
        ({"settings": [{"name": "a", "env": "ELTSITE_JOB"}]}, "settings[0].env", "belongs to the process"),
        ({"settings": [{"name": "a", "env": "A-B"}]}, "settings[0].env", "no name of a variable"),
        ({"settings": [{"name": "a", "kind": "options"}]}, "settings[0].options", "has no options"),
        (
            {"settings": [{"name": "a", "options": [{"label": "x"}]}]},
            "settings[0].options",
            "no list of label and value",
        ),
        (
            {"settings": [{"name": "a", "items": [{"name": "b", "kind": "x"}]}]},
            "settings[0].items[0].kind",
            "not known",
        ),
        ({"store": {"kind": "oracle"}}, "store", "no kind that is known"),
        ({"store": {"kind": "jsonl", "path": "{folder}/{stream}"}}, "store", "{folder}, which is no setting"),
    ],
)
def test_fault_names_the_plugin_the_place_and_the_remedy(values, field, said):
    found = faults(simple(**values))
    assert said in found[field]
    assert found[field].startswith(f"{values.get('name') or 'tap-x'}: ")
    assert found[field].rstrip().endswith((".", "?"))


def test_all_faults_of_a_document_come_at_once_with_their_places():
    text = DISCOVERY.replace("kind: password", "kind: pasword").replace("pip_url: target-barn", "pip_url: -e .")
    assert set(faults(text)) == {"extractors[0].variants[0].settings[0].kind", "loaders[0].pipUrl"}


def test_variant_that_is_there_twice_is_a_fault():
    assert "is there twice" in faults(json.dumps([json.loads(simple())] * 2))["[1].variant"]


# ---------- documents ----------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The document is null"),
        ("hello", "The document is hello"),
        ("a: 1", "no list of plugins"),
        ("extractors: []", "There is no plugin in it"),
        ("extractors: {tap-x: {}}", "not a list of plugins"),
        ("extractors: [tap-x]", "not a plugin"),
        ("name: [", "at line 2, column 1"),
        ('{"name": "tap-x",', "neither JSON nor YAML"),
        ("name: a\n---\nname: b", "single document"),
        ("name: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("name: !!binary aGVsbG8=", "JSON does not know"),
        ("name: x\nvalue: .nan", "JSON does not know"),
        ("1: x", "the key 1, which is no text"),
        ("name: \x07", "characters are not allowed"),
    ],
)
def test_document_that_cannot_be_read_is_refused_with_its_reason(text, said):
    (message,) = faults(text).values()
    assert said in message


def test_aliases_are_refused_where_they_stand():
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nname: tap-x\n"
    assert "Line 2 uses the alias *a" in faults(bomb)["document"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "- " * 5000, "{a: " * 5000])
def test_deep_nesting_is_refused(text):
    assert "levels deep" in faults(text)["document"]


def test_oversized_documents_are_refused_before_they_are_read():
    assert "larger than 2 MiB" in faults("[" + " " * LARGEST_BYTES + "]")["document"]
    assert "larger than 256 KiB" in faults(simple(description="x" * 300_000))["definition"]
    assert "at most 1000" in faults(json.dumps([{}] * 1001))["document"]
