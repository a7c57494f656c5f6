"""Tap and target, tap and our loader, our extractor and target: what is stored, counted and remembered."""

import json

import duckdb
import pytest

from jobs.engine.interface import Outcome


def duckdb_loader(**settings):
    return {"plugin": "target-duckdb", "name": "Warehouse", "settings": {"path": "warehouse.duckdb", **settings}}


def stored(pairs, sql):
    with duckdb.connect(str(pairs.folder / "warehouse.duckdb"), read_only=True) as store:
        return store.execute(sql).fetchall()


def test_a_pair_of_connectors_stores_counts_and_goes_on_from_its_state(pairs):
    result = pairs.run(pairs.tap(streams={"orders": 120, "items": 7}), pairs.target())

    assert result.outcome == Outcome.COMPLETE, pairs.sink.text
    assert [row["id"] for row in pairs.rows()] == list(range(1, 121))
    assert pairs.state == {"bookmarks": {"orders": {"id": 120}, "items": {"id": 7}}}
    assert pairs.states.kinds[-1] is False
    streams = pairs.control.streams()
    assert (streams["orders"]["rows_read"], streams["orders"]["rows_written"]) == (120, 120)
    assert (streams["orders"]["verified"], streams["items"]["done"]) == (True, True)

    again = pairs.run(pairs.tap(streams={"orders": 130, "items": 7}), pairs.target())
    assert again.outcome == Outcome.COMPLETE
    assert len(pairs.rows()) == 130
    assert pairs.control.streams()["orders"]["rows_written"] == 10


def test_only_what_is_selected_is_read(pairs):
    tap = pairs.tap(streams={"orders": 20, "items": 7}, select=["orders.name"])
    assert pairs.run(tap, pairs.target()).outcome == Outcome.COMPLETE

    assert pairs.rows("items") == []
    assert pairs.rows()[0] == {"id": 1, "name": "Name 1"}


def test_a_selection_that_leaves_nothing_is_refused(pairs):
    result = pairs.run(pairs.tap(select=["invoices.*"]), pairs.target())

    assert result.outcome == Outcome.ERROR
    assert result.failure.headline == "No stream of Shop is selected"
    assert "invoices.* matches nothing" in pairs.sink.text


def test_a_full_refresh_reads_everything_again(pairs):
    pairs.run(pairs.tap(), pairs.target())
    result = pairs.run(pairs.tap(), pairs.target(), full_refresh=True)

    assert result.outcome == Outcome.COMPLETE
    assert len(pairs.rows()) == 240


def test_a_target_that_cannot_be_counted_is_not_verified(pairs):
    assert pairs.run(pairs.tap(), pairs.target(store=False)).outcome == Outcome.COMPLETE
    assert pairs.control.streams()["orders"]["verified"] is None


def test_a_target_that_loses_a_row_ends_in_error_and_the_state_stays(pairs):
    pairs.run(pairs.tap(streams={"orders": 50}), pairs.target())
    before = pairs.state
    result = pairs.run(pairs.tap(streams={"orders": 80}), pairs.target(fault="loses_first"))

    assert result.outcome == Outcome.ERROR
    assert result.failure.headline == "1 of 30 rows of stream orders are missing in target-fixture"
    assert pairs.state == before


def test_what_an_unfinished_run_stored_is_remembered_as_partial(pairs):
    result = pairs.run(pairs.tap(fault="exit", at=70), pairs.target())

    assert result.outcome == Outcome.ERROR
    assert "the server went away" in result.failure.headline
    assert pairs.state == {"bookmarks": {"orders": {"id": 50}}}
    assert pairs.states.kinds[-1] is True


def test_secrets_of_the_settings_are_in_no_file_after_the_run(pairs):
    pairs.run(pairs.tap(token="hunter22-secret"), pairs.target())

    assert not list((pairs.folder / "runs").iterdir())


@pytest.mark.parametrize("method", ["append", "merge", "replace"])
def test_a_tap_loads_into_our_loader(pairs, method):
    loader = duckdb_loader(load_method=method)
    result = pairs.run(pairs.tap(), None, loader=loader)

    assert result.outcome == Outcome.COMPLETE, pairs.sink.text
    assert stored(pairs, 'select count(*), sum(amount), min(epoch("at"))::bigint from shop.orders') == [
        (120, 7290, 1767607200)
    ]
    assert pairs.control.streams()["orders"]["rows_written"] == 120
    assert pairs.state == {"bookmarks": {"orders": {"id": 120}}}

    again = pairs.run(pairs.tap(streams={"orders": 130}), None, loader=loader)
    assert again.outcome == Outcome.COMPLETE
    assert stored(pairs, "select count(*) from shop.orders") == [(130,)]
    # Replace reads everything again: what the state passes over would be gone.
    assert pairs.control.streams()["orders"]["rows_read"] == (130 if method == "replace" else 10)


def test_our_extractor_feeds_a_target(pairs):
    lines = "".join(json.dumps({"id": number, "name": f"n{number}"}) + "\n" for number in range(500))
    (pairs.files / "people.jsonl").write_text(lines)
    (pairs.files / "out").mkdir()
    files = [{"stream": "persons", "path": "people.jsonl"}]
    extractor = {"plugin": "tap-files", "name": "Files", "settings": {"files": files}}
    target = pairs.target(folder=str(pairs.files / "out"))
    result = pairs.run(None, target, extractor=extractor)

    assert result.outcome == Outcome.COMPLETE, pairs.sink.text
    assert len((pairs.files / "out" / "persons.jsonl").read_text().splitlines()) == 500
    assert pairs.control.streams()["persons"]["verified"] is True

    pairs.run(None, target, extractor=extractor)
    assert pairs.control.streams().get("persons", {}).get("rows_read", 0) == 0
