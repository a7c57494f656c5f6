"""State never ahead of rows, rows never ahead of state: failing taps, killed loaders, runs that read all again."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.engine.movers import file_journal
from tests.unit.movers.conftest import Server, Workspace, events_of, tap_files, to_duckdb, to_files
from tests.unit.movers_singer.conftest import Store, load, loaded, record, schema, start, state

MANY = 120_000  # more than is gathered before a commit


def rows(first: int, last: int) -> Iterator[str]:
    return (record(id=number, note=f"note {number}") for number in range(first, last))


@pytest.mark.parametrize("extractor_exit", [1, 137, None])
def test_after_a_failing_tap_only_rows_up_to_the_last_state_count(store: Store, extractor_exit: int | None):
    lines = [schema(), schema("clients"), record(id=1), record("clients", id=7), state(orders=1), record(id=2)]
    ended = loaded(store.place, store.loader(), [*lines, record("clients", id=8)], extractor_exit=extractor_exit)
    assert ended.of("result")[0]["incomplete"] is True
    assert ended.state["state"] == {"bookmarks": {"orders": 1}}
    assert (store.count("orders"), store.count("clients")) == (1, 1)


def test_a_tap_that_dies_in_the_middle_of_a_line_is_the_cause(store: Store):
    output = "\n".join([schema(), record(id=1), state(orders=1), record(id=2)]).encode()
    running = start(store.place, store.loader())
    assert running.process.stdin is not None
    running.process.stdin.write(output[:-7])
    running.close(1)
    stdout, _ = running.process.communicate(timeout=60)
    events = events_of(stdout.decode())
    assert events[-1]["incomplete"] is True and "middle of line 4" in stdout.decode()
    assert store.count("orders") == 1


def test_a_piece_of_a_line_from_a_tap_that_ended_well_is_refused(place: Workspace):
    running = start(place, to_duckdb())
    assert running.process.stdin is not None
    running.process.stdin.write("\n".join([schema(), record(id=1)]).encode()[:-1])
    running.close(0)
    stdout, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 1
    assert [event["code"] for event in events_of(stdout.decode()) if event["event"] == "error"] == ["singer-line"]


def test_no_transaction_stays_open_in_postgresql_while_the_tap_reads(place: Workspace, server: Server):
    running = start(place, server.target(), state={"bookmarks": {"orders": 1}})
    assert running.process.stdout is not None
    while not any(event["event"] == "ready" for event in events_of(running.process.stdout.readline().decode())):
        pass
    states = server.run("SELECT state FROM pg_stat_activity WHERE application_name LIKE 'eltsite%'")
    running.close(0)
    running.process.communicate(timeout=60)
    assert states == [("idle",)]


def test_a_failing_tap_without_a_state_leaves_nothing(store: Store):
    ended = loaded(store.place, store.loader(), [schema(), record(id=1)], extractor_exit=1)
    assert ended.of("state") == [] and ended.of("result")[0]["rows"] == 0


def test_a_tap_without_a_state_is_committed_when_it_ends_well(store: Store):
    ended = loaded(store.place, store.loader(), [schema(), record(id=1)], state={"bookmarks": {"x": 1}}, sequence=4)
    assert store.count("orders") == 1
    assert ended.of("state")[-1]["sequence"] == 5


@pytest.mark.parametrize("change", [{"method": "replace"}, {"full_refresh": True}])
def test_what_is_read_anew_takes_the_place_of_the_old_rows_at_once_or_not_at_all(store: Store, change: dict):
    loader = store.loader(change.get("method", "append"))
    more = {"full_refresh": change.get("full_refresh", False)}
    loaded(store.place, store.loader(), [schema(), *rows(0, 3), state(orders=3)])
    failed = loaded(store.place, loader, [schema(), *rows(5, 6), state(orders=6)], extractor_exit=1, **more)
    assert failed.of("ready")[0]["state"] == {} and failed.of("state") == []
    assert store.count("orders") == 3
    ended = loaded(store.place, loader, [schema(), *rows(5, 7), state(orders=7)], **more)
    assert [row[0] for row in store.rows("orders", "id")] == [5, 6]
    assert ended.of("ready")[0]["state"] == {}
    assert ended.stream("orders")["deleted"] == 3


def test_a_stream_without_records_empties_its_table_when_it_is_replaced(store: Store):
    loaded(store.place, store.loader(), [schema(), *rows(0, 3)])
    loaded(store.place, store.loader("replace"), [schema()])
    assert store.count("orders") == 0


def test_merge_keeps_the_last_of_equal_keys_and_counts(store: Store):
    loaded(store.place, store.loader("merge"), [schema(), record(id=1, note="a"), record(id=2, note="b")])
    lines = [schema(), record(id=2, note="c"), record(id=3, note="d"), record(id=2, note="e"), state()]
    ended = loaded(store.place, store.loader("merge"), lines)
    assert store.rows("orders", "id, note") == [(1, "a"), (2, "e"), (3, "d")]
    done = ended.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 1, 1)


def test_a_key_without_a_value_is_named(store: Store):
    properties = {"id": {"type": ["null", "integer"]}}
    error = load(store.place, store.loader("merge"), [schema("x", properties), record("x", id=None)]).error
    assert (error["code"], error["stream"], error["column"]) == ("null-key", "x", "id")


def test_a_stream_without_keys_is_added_and_said_once(store: Store):
    lines = [schema(keys=()), record(id=1), schema(keys=()), record(id=1)]
    ended = loaded(store.place, store.loader("merge"), lines)
    assert store.count("orders") == 2
    assert ended.log.count("no key properties") == 1


def test_a_table_that_is_gone_is_read_from_the_start(place: Workspace):
    loaded(place, to_duckdb(), [schema(), record(id=1), schema("clients"), state(orders=1, clients=2, other=3)])
    second = loaded(place, to_duckdb(schema="elsewhere"), [], state={"bookmarks": {"orders": 1}}, sequence=1)
    assert second.of("ready")[0]["state"] == {"bookmarks": {}}
    third = loaded(place, to_duckdb(), [])
    assert third.of("ready")[0]["state"] == {"bookmarks": {"orders": 1, "clients": 2, "other": 3}}


def kill_after_the_first_commit(store: Store, lines: list[bytes]) -> dict:
    """Kill the loader when it has said its first state, while the tap still writes; answers that state's event."""
    running = start(store.place, store.loader())
    process = running.process
    assert process.stdin is not None and process.stdout is not None
    feeder = subprocess.Popen(["cat", str(store.place.write("tap.out", b"".join(lines)))], stdout=process.stdin)
    process.stdin.close()
    said = None
    for line in process.stdout:
        events = events_of(line.decode())
        if events and events[0]["event"] == "state":
            said = events[0]
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    feeder.wait()
    for end in (process.stdout, process.stderr):
        if end:
            end.close()
    running.process.stdin = None
    assert said is not None
    return said


def test_killed_after_a_commit_nothing_comes_twice_and_nothing_is_lost(store: Store):
    first = [schema(), *rows(0, MANY), state(orders=MANY), *rows(MANY, MANY + 60_000)]
    said = kill_after_the_first_commit(store, [line.encode() + b"\n" for line in first])
    assert said["state"] == {"bookmarks": {"orders": MANY}}
    assert store.count("orders") == MANY

    # Our side never heard of that state: the store's own is taken, and the tap goes on from there.
    running = start(store.place, store.loader())
    assert running.process.stdout is not None and running.process.stdin is not None
    ready = next(
        event for line in running.process.stdout for event in events_of(line.decode()) if event["event"] == "ready"
    )
    assert ready["state"] == {"bookmarks": {"orders": MANY}} and ready["sequence"] == said["sequence"]
    begin = ready["state"]["bookmarks"]["orders"]
    lines = [schema(), *rows(begin, MANY + 1000), state(orders=MANY + 1000)]
    running.process.stdin.write("\n".join(lines).encode() + b"\n")
    running.close(0)
    running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert store.count("orders") == MANY + 1000
    distinct = store.rows("orders", "count(DISTINCT id)")
    assert distinct == [(MANY + 1000,)]


def test_a_journal_left_behind_is_carried_out_when_the_folder_is_opened(place: Workspace):
    """The moment between the commit and its last rename, for two streams and their state."""
    loaded(place, to_files(), [schema(), schema("clients"), record(id=1), record("clients", id=1), state(n=1)])
    folder = place.folder / "exports"
    before = {name: (folder / name / file_journal.MANIFEST).read_text() for name in ("orders", "clients")}
    loaded(
        place,
        to_files(),
        [schema(), schema("clients"), record(id=2), record("clients", id=2), state(n=2)],
    )
    undo(folder, before)
    ready = loaded(place, to_files(), []).of("ready")[0]
    assert ready["state"] == {"bookmarks": {"n": 2}}
    files = json.loads((folder / "orders" / file_journal.MANIFEST).read_text())["files"]
    assert sum(file["rows"] for file in files) == 2
    assert all((folder / "orders" / file["name"]).exists() for file in files)
    assert not (folder / file_journal.JOURNAL).exists()


def undo(folder: Path, before: dict[str, str]) -> None:
    """Put a folder back to where the journal had just been written: manifests and data files are still hidden."""
    for name, text in before.items():
        manifest = folder / name / file_journal.MANIFEST
        old = {file["name"] for file in json.loads(text)["files"]}
        for file in json.loads(manifest.read_text())["files"]:
            if file["name"] not in old:
                (folder / name / file["name"]).rename(folder / name / file_journal.hidden_name(file["name"]))
        manifest.rename(folder / name / file_journal.hidden_name(file_journal.MANIFEST))
        manifest.write_text(text)
    states = json.loads((folder / file_journal.LOADS).read_text())
    (pipeline, loads), *_ = states.items()
    journal = {"tables": list(before), "pipeline": pipeline, "loads": loads}
    (folder / file_journal.JOURNAL).write_text(json.dumps(journal))
    (folder / file_journal.LOADS).unlink()


def test_a_pipeline_may_change_from_a_tap_of_its_own_to_a_native_one(place: Workspace):
    """The verb move goes on from the state that singer_load stored, and the other way round."""
    place.write("orders/a.csv", "id\n1\n")
    tap = tap_files({"stream": "orders", "path": "orders/*.csv"})
    bookmark = place.load(tap, to_duckdb()).state["state"]["bookmarks"]["orders"]
    second = loaded(
        place, to_duckdb(), [schema("orders", {"id": {"type": "integer"}}), record(id=2), state(orders=bookmark)]
    )
    assert second.of("ready")[0]["state"] == {"bookmarks": {"orders": bookmark}}
    third = place.load(tap, to_duckdb())
    assert third.stream("orders")["rows_read"] == 0
    assert place.query("SELECT count(*) FROM shop.orders") == [(2,)]


def test_the_journal_of_a_bad_disk_is_named(place: Workspace):
    loaded(place, to_files(), [schema(), record(id=1), state(n=1)])
    (place.folder / "exports" / file_journal.JOURNAL).write_text("{")
    assert load(place, to_files(), []).error["code"] == "store-unreadable"
