"""PostgreSQL and a mover that is stopped, killed, or large: nothing goes on, nothing comes twice, memory stays flat."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.unit.movers.conftest import Server, Workspace, to_duckdb

MAX_MEMORY_KIB = 250 << 10
OURS = "application_name LIKE 'eltsite %' AND datname = current_database()"
SLOW = "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN i; END $$"


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def running(server: Server, words: str) -> bool:
    """Whether a mover's session runs a statement with these words."""
    return bool(
        server.run(f"SELECT 1 FROM pg_stat_activity WHERE {OURS} AND state = 'active' AND query LIKE '%{words}%'")
    )


def ended(server: Server) -> bool:
    """Whether no session of a mover is left."""
    return not server.run(f"SELECT 1 FROM pg_stat_activity WHERE {OURS}")


@contextlib.contextmanager
def started(place: Workspace, spec):
    """A mover whose output nobody reads, ended with the block at the latest."""
    process = place.start(spec, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("store", ["duckdb", "postgres"])
def test_a_stopped_mover_leaves_no_statement_in_its_source(place: Workspace, server: Server, store: str, how: int):
    server.run(SLOW)
    tap = server.tap({"stream": "t", "query": "SELECT slow(1) AS id"})
    with started(place, place.spec(tap, to_duckdb() if store == "duckdb" else server.target())) as process:
        until(lambda: running(server, "slow(1)") and running(server, "COPY"), 60)
        process.send_signal(how)
        assert process.wait(timeout=10) == -how
        until(lambda: ended(server), 2)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("method", ["replace", "merge"])
def test_a_stopped_mover_leaves_no_statement_in_its_store(place: Workspace, server: Server, method: str, how: int):
    server.run(SLOW)
    server.run("CREATE TABLE orders (id int, n int); INSERT INTO orders VALUES (1, 1)")
    tap = server.tap({"table": "orders", "primary_keys": ["id"]})
    place.load(tap, server.target(method))
    server.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM slow(1); RETURN new; END $$;"
        "CREATE TRIGGER wait BEFORE INSERT OR UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    words = "INSERT INTO" if method == "replace" else "UPDATE"
    with started(place, place.spec(tap, server.target(method))) as process:
        until(lambda: running(server, words), 60)
        process.send_signal(how)
        until(lambda: ended(server), 2)
    assert server.run("SELECT id, n FROM shop.orders") == [(1, 1)]


def test_a_mover_that_is_stopped_while_it_waits_for_a_lock_leaves_the_queue(place: Workspace, server: Server):
    server.run("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
    place.load(server.tap({"table": "orders"}), server.target("replace"))
    place.limits["lock_wait_seconds"] = 60
    with psycopg.connect(server.url) as other:
        other.execute("LOCK TABLE shop.orders IN SHARE MODE")
        with started(place, place.spec(server.tap({"table": "orders"}), server.target("replace"))) as process:
            until(lambda: running(server, "TRUNCATE"), 60)
            process.kill()
            until(lambda: ended(server), 2)
    assert server.run("SELECT id FROM shop.orders") == [(1,)]


def test_killed_right_after_its_commit_a_second_run_doubles_nothing(place: Workspace, server: Server):
    """The first stream is committed when the second begins to wait: there the mover is killed, its state unheard."""
    server.run(SLOW)
    server.run("CREATE TABLE orders (id int); INSERT INTO orders SELECT generate_series(1, 1000)")
    orders = {"table": "orders", "replication_method": "INCREMENTAL", "replication_key": "id"}
    tap = server.tap(orders, {"stream": "late", "query": "SELECT slow(1) AS id"})
    with started(place, place.spec(tap, server.target())) as process:
        until(lambda: running(server, "slow(1)"), 60)
        process.kill()
        process.wait()
        until(lambda: ended(server), 2)
    again = place.load(server.tap(orders), server.target())

    assert again.stream("orders")["rows_read"] == 0
    assert server.run("SELECT count(*), count(DISTINCT id) FROM shop.orders") == [(1000, 1000)]


def peak_kib(process: subprocess.Popen[str]) -> int:
    """The most memory a process held, asked until it ends."""
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        time.sleep(0.005)
    return peak


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the process table of Linux")
@pytest.mark.parametrize("method", ["append", "replace", "merge"])
def test_many_rows_from_postgres_to_postgres_need_little_memory(place: Workspace, server: Server, method: str):
    server.run("CREATE TABLE orders (id int, note text, amount numeric(10,2), at timestamptz)")
    server.run(
        "INSERT INTO orders SELECT i, repeat(md5(i::text), 10), i * 0.25, now() FROM generate_series(1, 200000) i"
    )
    process = place.start(
        place.spec(server.tap({"table": "orders", "primary_keys": ["id"]}), server.target(method)),
        stdout=subprocess.DEVNULL,
    )
    peak = peak_kib(process)
    assert process.returncode == 0
    process.stderr.close()

    assert 0 < peak < MAX_MEMORY_KIB
    total = "SELECT count(*), sum(id), sum(amount), sum(length(note)) FROM"
    assert server.run(f"{total} shop.orders") == server.run(f"{total} orders")
