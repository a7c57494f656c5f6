"""Rows and state come together or not at all: killed movers, locked and full stores, snapshots."""

from __future__ import annotations

import array
import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb, to_files

F_SETPIPE_SZ = 1031
PAGE = 4096
FILES = 120  # so many that the state does not fit the pipe


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def waiting_in(pipe: int) -> int:
    """Bytes in a pipe that nobody has read."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def kill_at_the_state_event(place: Workspace, spec) -> None:
    """Let nobody read what the mover says: it stops in the middle of its state event, after the store's commit."""
    read, write = os.pipe()
    fcntl.fcntl(write, F_SETPIPE_SZ, 2 * PAGE)
    process = place.start(spec, stdout=write)
    os.close(write)
    until(lambda: waiting_in(read) > PAGE or process.poll() is not None)  # the log alone is shorter
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = os.read(read, 2 * PAGE).decode()
    os.close(read)
    assert '"event": "state"' in said
    if process.stderr:
        process.stderr.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pipe of a set size")
@pytest.mark.parametrize("store", ["duckdb", "postgres", "files"])
def test_killed_between_the_commit_and_its_report_no_row_comes_twice(place: Workspace, server: Server, store: str):
    for number in range(FILES):
        place.write(f"orders/{number:04d}.csv", f"id,amount\n{number},1\n")
    tap = tap_files({"stream": "orders", "path": "orders/*.csv"})
    loader = {"duckdb": to_duckdb(), "postgres": server.target(), "files": to_files()}[store]
    kill_at_the_state_event(place, place.spec(tap, loader))
    second = place.load(tap, loader)

    assert second.stream("orders")["rows_read"] == 0
    assert count_rows(place, server, store) == (FILES, FILES)


@pytest.mark.parametrize("store", ["duckdb", "postgres", "files"])
def test_killed_at_any_moment_nothing_is_half_written(place: Workspace, server: Server, store: str):
    """Kill runs at random moments: what is there afterwards is whole files of whole streams, each once."""
    chance = random.Random(11)
    for number in range(6):
        lines = [f"{number * 40_000 + line},{line}.25,note {line}" for line in range(40_000)]
        place.write(f"orders/{number}.csv", "id,amount,note\n" + "\n".join(lines) + "\n")
    tap = tap_files({"stream": "orders", "path": "orders/*.csv"})
    loader = {"duckdb": to_duckdb(), "postgres": server.target(), "files": to_files()}[store]
    for _attempt in range(6):
        process = place.start(place.spec(tap, loader), stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=chance.uniform(0.1, 1.2))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr:
            process.stderr.close()
        rows, distinct = count_rows(place, server, store)
        assert rows == distinct and rows in (0, 240_000)
    place.load(tap, loader)

    assert count_rows(place, server, store) == (240_000, 240_000)


def count_rows(place: Workspace, server: Server, store: str) -> tuple[int, int]:
    """Rows and distinct rows of stream orders, as a reader of the store sees them."""
    counting = "SELECT count(*), count(DISTINCT id)"
    if store == "postgres":
        if server.run("SELECT to_regclass('shop.orders')") == [(None,)]:
            return 0, 0
        return server.run(f"{counting} FROM shop.orders")[0]
    if store == "duckdb":
        if not (place.folder / "warehouse.duckdb").exists():
            return 0, 0
        with duckdb.connect(str(place.folder / "warehouse.duckdb")) as connection:
            if not connection.execute("FROM duckdb_tables() WHERE table_name = 'orders'").fetchall():
                return 0, 0
            return connection.execute(f"{counting} FROM shop.orders").fetchone()
    folder = place.folder / "exports" / "orders"
    if not list(folder.glob("*.parquet")):
        return 0, 0
    return duckdb.sql(f"{counting} FROM read_parquet('{folder}/*.parquet')").fetchall()[0]


def hold(path: Path) -> subprocess.Popen[str]:
    """Another program that has the DuckDB file open until its input ends."""
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def test_a_locked_warehouse_is_waited_for_and_then_named(place: Workspace):
    place.write("a.csv", "id\n1\n")
    with hold(place.folder / "warehouse.duckdb") as holder:
        ended = place.move(tap_files({"stream": "a", "path": "a.csv"}), to_duckdb())
        holder.communicate()
    assert ended.error["code"] == "store-locked"
    assert f"process {holder.pid}" in ended.error["reason"]
    assert f"is locked by process {holder.pid}" in ended.log


def test_a_warehouse_that_is_let_go_in_time_is_loaded(place: Workspace):
    place.write("a.csv", "id\n1\n")
    place.limits["lock_wait_seconds"] = 30
    with hold(place.folder / "warehouse.duckdb") as holder:
        process = place.start(place.spec(tap_files({"stream": "a", "path": "a.csv"}), to_duckdb()))
        assert process.stdout is not None
        assert "is locked by" in process.stdout.readline()
        holder.communicate()
        ended = place.end(process)
    assert ended.exit_code == 0
    assert place.query("SELECT count(*) FROM shop.a") == [(1,)]


def test_the_snapshot_holds_the_rows_and_is_replaced_whole(place: Workspace):
    place.write("a.csv", "id\n1\n")
    tap = tap_files({"stream": "a", "path": "*.csv"})
    first = place.load(tap, to_duckdb(), publish_snapshot=True)
    assert place.query("SELECT count(*) FROM shop.a", "warehouse.duckdb.snapshot") == [(1,)]
    place.write("b.csv", "id\n2\n")
    second = place.load(tap, to_duckdb(), publish_snapshot=True, **first.state)
    assert place.query("SELECT count(*) FROM shop.a", "warehouse.duckdb.snapshot") == [(2,)]
    place.write("c.csv", "id\n3\n")
    place.limits["snapshot_max_bytes"] = 1000
    third = place.load(tap, to_duckdb(), publish_snapshot=True, **second.state)
    assert "No snapshot" in third.log
    assert not list(place.folder.glob("*.part"))


def test_warehouses_can_be_opened_by_duckdb_1_0(place: Workspace):
    place.write("a.csv", "id\n1\n")
    place.load(tap_files({"stream": "a", "path": "a.csv"}), to_duckdb())
    assert place.query("SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal") == [("v1.0.0+",)]


def test_what_is_no_warehouse_is_named(place: Workspace):
    place.write("a.csv", "id\n1\n")
    (place.folder / "warehouse.duckdb").write_text("hello, I am a letter " * 1000)
    error = place.move(tap_files({"stream": "a", "path": "a.csv"}), to_duckdb()).error
    assert error["code"] == "store-unreadable"


@pytest.fixture
def small_disk(place: Workspace):
    """A disk of eight megabytes, mounted in the workspace."""
    folder = place.folder / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("store", ["duckdb", "files"])
def test_a_full_disk_is_named_and_leaves_nothing(place: Workspace, small_disk: Path, store: str):
    place.write("few.csv", "id,note\n1,x\n")
    chance = random.Random(2)
    lines = [f"{number},{chance.randbytes(40).hex()}" for number in range(200_000)]
    loader = {"duckdb": to_duckdb(path="small/w.duckdb"), "files": to_files(path="small")}[store]
    tap = tap_files({"stream": "a", "path": "*.csv"})
    first = place.load(tap, loader)
    place.write("many.csv", "id,note\n" + "\n".join(lines) + "\n")
    error = place.move(tap, loader, **first.state).error

    assert error["code"] == "disk-full"
    if store == "duckdb":
        assert place.query("SELECT count(*) FROM shop.a", "small/w.duckdb") == [(1,)]
    else:
        assert [path.name for path in (small_disk / "a").glob("part*")] == [
            path.name for path in (small_disk / "a").glob("*part*")
        ]


def test_a_mover_whose_parent_is_gone_ends(place: Workspace):
    """Nobody reads any more: the mover ends by itself, and what it has not committed is not there."""
    place.write("a.csv", "id\n1\n")
    read, write = os.pipe()
    process = place.start(place.spec(tap_files({"stream": "a", "path": "a.csv"}), to_duckdb()), stdout=write)
    os.close(write)
    os.close(read)
    assert process.wait(timeout=30) == 1
    if process.stderr:
        process.stderr.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_needs_nothing_of_the_interpreters_folder(place: Workspace, server: Server):
    """As with an interpreter under /root: whatever a pair needs is imported before root is given up."""
    place.write("a.csv", "name,n\nMüller,1\n".encode("cp1252"))
    with closing(sqlite3.connect(place.files / "till.sqlite")) as connection:
        connection.execute("CREATE TABLE b AS SELECT 1 AS id, 'x' AS word")
        connection.commit()
    for path in [place.folder, *place.folder.rglob("*")]:
        os.chown(path, 65534, 65534)
    for parent in place.folder.parents[:3]:
        os.chmod(parent, 0o755)
    (place.folder / "runs" / "1").mkdir(parents=True)
    for path in (place.folder / "runs", place.folder / "runs" / "1"):
        os.chown(path, 65534, 65534)
    tap = tap_files({"stream": "a", "path": "a.csv", "encoding": "cp1252"})
    settings = {"dialect": "sqlite", "path": "till.sqlite", "tables": [{"table": "b"}]}
    till = {"plugin": "tap-sql", "name": "Till", "settings": settings}
    for extractor in (tap, till, server.tap({"stream": "c", "query": "SELECT 1 AS id"})):
        for loader in (to_duckdb(), to_files(), server.target()):
            ended = place.move(extractor, loader, run_as="65534:65534")
            assert ended.exit_code == 0, (ended.events, ended.stderr)
    assert place.query("SELECT name FROM shop.a") == [("Müller",)]
    assert (place.folder / "warehouse.duckdb").stat().st_uid == 65534


@pytest.mark.parametrize("store", ["duckdb", "postgres"])
def test_rows_whose_state_cannot_be_stored_are_not_there(place: Workspace, server: Server, store: str):
    """Rows and state are one commit: where the second is refused, the first is undone."""
    shape = "pipeline {t}, stream {t}, table_name {t}, job {t}, attempt int, epoch bigint, sequence bigint, rows bigint"
    loads = f"CREATE SCHEMA shop; CREATE TABLE shop._eltsite_loads ({shape}, state {{t}}, loaded_at timestamptz"
    refused = f"{loads}, CHECK (sequence < 0))"
    if store == "duckdb":
        with duckdb.connect(str(place.folder / "warehouse.duckdb")) as connection:
            connection.execute(refused.format(t="VARCHAR"))
    else:
        server.run(refused.format(t="text"))
    place.write("orders/1.csv", "id\n1\n")
    loader = {"duckdb": to_duckdb(), "postgres": server.target()}[store]
    ended = place.move(tap_files({"stream": "orders", "path": "orders/*.csv"}), loader)

    assert ended.exit_code == 1 and not ended.of("state")
    assert count_rows(place, server, store) == (0, 0)
