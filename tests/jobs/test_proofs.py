"""What the command that proves the shipped connectors writes, and that one of them really installs and starts."""

import dataclasses
import datetime
import re

import pytest

from jobs.folders import ensure_run_as_user
from jobs.management.commands.prove_connectors import BEGIN, DOCUMENT, END, HEAD, row_of, with_rows
from jobs.proofs import POSTGRES, SAMPLES, Proof, connectors, key_of, prove, sample_messages
from pipelines.plugins import shipped_plugins

DAY = datetime.date(2026, 11, 24)


def row(name, variant, version="1.0"):
    """A row of the table."""
    return [name, variant, version, "It reads.", "yes", "yes", "no", "3.11", DAY.isoformat()]


def cells_of(text):
    """The table's rows, without its head."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_sample_is_of_a_shipped_connector():
    assert {*SAMPLES, *POSTGRES} <= {key_of(plugin) for plugin in connectors()}


def test_connectors_are_chosen_by_name_with_or_without_variant():
    assert {plugin.variant for plugin in connectors(["tap-postgres"])} == {"meltanolabs", "transferwise"}
    assert [plugin.variant for plugin in connectors(["tap-postgres--transferwise"])] == ["transferwise"]
    assert connectors(["tap-files"]) == [] and len(connectors()) == len(shipped_plugins()) - 5


def test_rows_of_connectors_that_were_not_tried_stay_and_those_no_longer_shipped_go():
    text = f"before\n{BEGIN}\n{END}\nafter"
    first = with_rows(text, {("tap-jsonl", "celine-eu"): row("tap-jsonl", "celine-eu"), ("tap-gone", "x"): ["?"]})
    second = with_rows(first, {("target-jsonl", "andyh1203"): row("target-jsonl", "andyh1203", "2.0")})
    assert [cells[:3] for cells in cells_of(second)] == [
        ["tap-jsonl", "celine-eu", "1.0"],
        ["target-jsonl", "andyh1203", "2.0"],
    ]
    assert second.startswith("before\n") and second.endswith("\nafter")
    assert with_rows(second, {}) == second


def test_a_row_says_what_was_not_tried_and_why():
    tap = next(plugin for plugin in connectors() if plugin.name == "tap-stripe")
    cells = row_of(Proof(tap, packages={"tap-stripe": "3"}, python="3.11", is_started=True), DAY)
    assert dict(zip(HEAD, cells, strict=True)) | {"What it does": ""} == {
        "Connector": "tap-stripe",
        "Variant": "singer-io",
        "Version": tap.pip_url.partition("==")[2],
        "What it does": "",
        "Installed": "yes",
        "Started": "yes",
        "Tried here": "needs an account",
        "Python": "3.11",
        "Date": "2026-11-24",
    }


def test_the_document_has_each_shipped_connector_as_it_is_pinned_installed_and_started():
    shown = {(cells[0], cells[1]): cells for cells in cells_of(DOCUMENT.read_text(encoding="utf-8"))}
    assert set(shown) == {(plugin.name, plugin.variant) for plugin in connectors()}
    for plugin in connectors():
        cells = shown[plugin.name, plugin.variant]
        assert cells[2] == Proof(plugin).version, plugin.full_name
        assert cells[4:6] == ["yes", "yes"], plugin.full_name
        assert re.fullmatch(r"3\.1\d", cells[7]) and datetime.date.fromisoformat(cells[8])


def test_the_sample_stream_is_whole():
    kinds = [re.search(rb'"type": "([A-Z]+)"', line)[1] for line in sample_messages().splitlines()]
    assert kinds == [b"SCHEMA", b"RECORD", b"RECORD", b"RECORD", b"STATE"]


@pytest.fixture
def run_user():
    """The user that connectors work as, where the tests are root."""
    ensure_run_as_user()


@pytest.mark.slow
def test_a_connector_is_installed_from_its_lock_started_and_given_rows(run_user):
    loader = next(plugin for plugin in connectors() if plugin.name == "target-jsonl")
    proof = prove(loader)
    assert proof.failure is None, proof.failure
    assert proof.packages["target-jsonl"] == proof.version and proof.python.startswith("3.")
    assert proof.is_started and proof.tried == "took in 3 rows"


@pytest.mark.slow
def test_a_connector_that_does_not_start_is_told_with_its_own_words(run_user):
    loader = next(plugin for plugin in connectors() if plugin.name == "target-jsonl")
    wrong = dataclasses.replace(loader, executable="target-nope")
    proof = prove(wrong)
    assert not proof.is_started and "target-nope" in proof.failure.headline
