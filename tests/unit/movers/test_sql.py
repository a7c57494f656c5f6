"""tap-sql: PostgreSQL and SQLite into DuckDB and PostgreSQL, in full and by replication key."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb

SECOND = (
    "UPDATE orders SET amount = 99, changed = '2024-01-03' WHERE id = 2; INSERT INTO orders VALUES (4, 4, '2024-01-04')"
)


def fill(server: Server) -> None:
    server.run("CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10,2), changed timestamptz)")
    server.run("INSERT INTO orders VALUES (1, 1.5, '2024-01-01'), (2, 2.5, '2024-01-02'), (3, 3.5, '2024-01-02')")


def incremental(**more):
    return {
        "table": "orders",
        "replication_method": "INCREMENTAL",
        "replication_key": "changed",
        "primary_keys": ["id"],
        **more,
    }


def sqlite_tap(*tables, path="shop.sqlite"):
    return {
        "plugin": "tap-sql",
        "name": "Till",
        "settings": {"dialect": "sqlite", "path": path, "tables": list(tables)},
    }


@pytest.fixture
def till(place: Workspace):
    """A SQLite file among the workspace's files."""
    with sqlite3.connect(place.files / "shop.sqlite") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount REAL, changed TIMESTAMP)")
        rows = [(1, 1.5, "2024-01-01 00:00:00"), (2, 2.5, "2024-01-02 00:00:00"), (3, 3.5, "2024-01-02 00:00:00")]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        connection.commit()
        yield connection
    connection.close()


def test_a_table_arrives_whole_with_its_types(place: Workspace, server: Server):
    fill(server)
    ended = place.load(server.tap({"table": "orders"}), to_duckdb())

    assert place.types("orders") == {
        "id": "INTEGER",
        "amount": "DECIMAL(10,2)",
        "changed": "TIMESTAMP WITH TIME ZONE",
    }
    assert place.query("SELECT id, amount::VARCHAR, changed::VARCHAR FROM shop.orders ORDER BY id")[0] == (
        *(1, "1.50"),
        "2024-01-01 00:00:00+00",
    )
    assert ended.stream("orders")["verified"] is True


def test_append_goes_on_above_the_last_value(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(incremental()), to_duckdb())
    server.run(SECOND)
    second = place.load(server.tap(incremental()), to_duckdb(), **first.state)

    assert second.stream("orders")["inserted"] == 2
    assert place.query("SELECT id, count(*) FROM shop.orders GROUP BY id ORDER BY id") == [
        (1, 1),
        (2, 2),
        (3, 1),
        (4, 1),
    ]
    third = place.load(server.tap(incremental()), to_duckdb(), **second.state)
    assert third.stream("orders")["rows_read"] == 0


def test_merge_goes_on_from_the_last_value_on(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(incremental()), to_duckdb("merge"))
    server.run(SECOND)
    second = place.load(server.tap(incremental()), to_duckdb("merge"), **first.state)

    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 1, 2)
    assert place.query("SELECT id, amount::VARCHAR FROM shop.orders ORDER BY id") == [
        *((1, "1.50"), (2, "99.00"), (3, "3.50"), (4, "4.00"))
    ]


def test_lookback_reads_rows_that_were_committed_late(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(incremental()), to_duckdb("merge"))
    server.run("INSERT INTO orders VALUES (9, 9, '2024-01-01 23:59:30')")
    without = place.load(server.tap(incremental()), to_duckdb("merge"), **first.state)
    assert without.stream("orders")["inserted"] == 0
    second = place.load(server.tap(incremental(lookback_seconds=60)), to_duckdb("merge"), **without.state)

    assert second.stream("orders")["inserted"] == 1


def test_rows_that_come_while_reading_are_the_next_runs(place: Workspace, server: Server):
    """The upper bound is read first: a writer that goes on adding rows neither doubles nor loses any."""
    server.run("CREATE TABLE orders (id bigserial PRIMARY KEY, changed bigint)")
    server.run("INSERT INTO orders (changed) SELECT i FROM generate_series(1, 200000) i")
    stop = threading.Event()

    def keep_writing() -> None:
        number = 200_000
        while not stop.is_set():
            number += 1
            server.run(f"INSERT INTO orders (changed) VALUES ({number})")

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        first = place.load(server.tap(incremental()), to_duckdb())
    finally:
        stop.set()
        thread.join()
    place.load(server.tap(incremental()), to_duckdb(), **first.state)

    count = server.run("SELECT count(*), count(DISTINCT changed) FROM orders")
    assert place.query("SELECT count(*), count(DISTINCT changed) FROM shop.orders") == count


def test_rows_without_a_replication_key_are_said(place: Workspace, server: Server):
    fill(server)
    server.run("INSERT INTO orders VALUES (5, 5, NULL)")
    ended = place.load(server.tap(incremental()), to_duckdb())
    assert ended.stream("orders")["rows_read"] == 3
    assert "1 rows have no changed" in ended.log


def test_replace_reads_all_also_where_reading_is_incremental(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(incremental()), to_duckdb("replace"))
    second = place.load(server.tap(incremental()), to_duckdb("replace"), **first.state)
    assert (second.stream("orders")["inserted"], second.stream("orders")["deleted"]) == (3, 3)
    assert place.query("SELECT count(*) FROM shop.orders") == [(3,)]


def test_a_query_and_chosen_columns(place: Workspace, server: Server):
    fill(server)
    tables = [
        {"stream": "big", "query": "SELECT id AS number, 'a%b' AS word FROM orders WHERE amount > 2;"},
        incremental(columns=["id"]),
    ]
    place.load(server.tap(*tables), to_duckdb())
    assert place.query("SELECT number, word FROM shop.big ORDER BY 1") == [(2, "a%b"), (3, "a%b")]
    assert list(place.types("orders")) == ["id", "changed"]


def test_append_of_a_whole_table_says_that_rows_come_again(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap({"table": "orders"}), to_duckdb())
    second = place.load(server.tap({"table": "orders"}), to_duckdb(), **first.state)
    assert "append adds all rows again" in second.log
    assert place.query("SELECT count(*) FROM shop.orders") == [(6,)]


def test_unlimited_numerics_become_decimals_that_hold_them(place: Workspace, server: Server):
    server.run("CREATE TABLE t (a numeric, b numeric, c numeric)")
    server.run("INSERT INTO t VALUES (1.25, 'NaN', 1), (12345678.125, 1, NULL)")
    ended = place.load(server.tap({"table": "t"}), to_duckdb())
    assert place.types("t") == {"a": "DECIMAL(18,3)", "b": "VARCHAR", "c": "DECIMAL(18,0)"}
    assert "b does not fit a decimal" in ended.log


@pytest.mark.parametrize(
    ("table", "code", "words"),
    [
        ({"table": "nope"}, "table-missing", "nope"),
        ({"table": "orders", "columns": ["nope"]}, "column-missing", "nope"),
        (incremental(replication_key="nope"), "replication-key-missing", "nope"),
        (incremental(replication_key=""), "replication-key-missing", "replication key"),
        ({"stream": "q", "query": "SELECT nope FROM orders"}, "column-missing", "nope"),
        ({"stream": "q", "query": "SELECT 1 AS a, 2 AS a"}, "column-twice", "named a"),
        ({"stream": "q"}, "table-missing", "neither a table nor a query"),
        (incremental(replication_key="id", lookback_seconds=5), "lookback", "lookback_seconds"),
    ],
)
def test_wrong_settings_are_named(place: Workspace, server: Server, table, code: str, words: str):
    fill(server)
    state = {"state": {"bookmarks": {"orders": {"replication_key": "id", "value": "1"}}}}
    if code == "lookback":
        place.load(server.tap({"table": "orders", "primary_keys": ["id"]}), to_duckdb("merge"), epoch=0)
        state["sequence"] = 5
    error = place.move(server.tap(table), to_duckdb("merge" if code == "lookback" else "append"), **state).error
    assert error["code"] == code
    assert words in f"{error['headline']} {error['reason']} {error['remedy']}"


def test_a_source_that_is_down_and_one_that_refuses(place: Workspace, server: Server):
    down = server.tap({"table": "orders"}, host="127.0.0.1", port=1)
    assert place.move(down, to_duckdb()).error["code"] == "source-down"
    missing = server.tap({"table": "orders"}, database="nope")
    assert place.move(missing, to_duckdb()).error["code"] == "database-missing"
    stranger = server.tap({"table": "orders"}, user="nobody_knows")
    assert place.move(stranger, to_duckdb()).error["code"] == "wrong-password"
    assert place.move(stranger | {}, server.target()).error["code"] == "wrong-password"


@pytest.fixture
def guarded(server: Server):
    """A role that the server asks for its password; the others of the test server need none."""
    path = Path(server.run("SHOW hba_file")[0][0])
    before = path.read_text()
    server.run("DROP ROLE IF EXISTS guarded_by_password; CREATE ROLE guarded_by_password LOGIN PASSWORD 'right'")
    path.write_text(f"local all guarded_by_password scram-sha-256\n{before}")
    server.run("SELECT pg_reload_conf()")
    yield "guarded_by_password"
    path.write_text(before)
    server.run("SELECT pg_reload_conf(); DROP OWNED BY guarded_by_password; DROP ROLE guarded_by_password")


def test_a_wrong_password_is_named_and_never_shown(place: Workspace, server: Server, guarded: str):
    # One test, not one for each password: the rule is the whole server's, and tests run side by side.
    query = {"stream": "t", "query": "SELECT 1 AS id"}
    for password in ("wrong", ""):
        for extractor, loader in (
            (server.tap(query, user=guarded, password=password), to_duckdb()),
            (server.tap(query), server.target(user=guarded, password=password)),
        ):
            error = place.move(extractor, loader).error
            assert error["code"] == "wrong-password"
            assert guarded in error["headline"] and "wrong" not in f"{error['headline']} {error['remedy']}"
    place.load(server.tap(query, user=guarded, password="right"), to_duckdb())


def test_sessions_bear_the_jobs_name(place: Workspace, server: Server):
    server.run("CREATE VIEW who AS SELECT current_setting('application_name') AS name")
    place.load(server.tap({"table": "who"}), to_duckdb(), attempt=3)
    assert place.query("SELECT name FROM shop.who") == [("eltsite 22222222-2222-4222-8222-222222222222:3",)]


def test_the_source_breaking_off_in_the_middle_leaves_nothing(place: Workspace, server: Server):
    server.run("CREATE TABLE t (id int)")
    server.run("INSERT INTO t SELECT generate_series(1, 300000)")
    server.run(
        "CREATE FUNCTION burst(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 250000 THEN"
        " PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN i; END $$"
    )
    for loader in (to_duckdb(), server.target()):
        error = place.move(server.tap({"stream": "t2", "query": "SELECT burst(id) AS id FROM t"}), loader).error
        assert error["code"] in ("source-down", "statement-failed")
    assert place.query("SELECT count(*) FROM information_schema.tables WHERE table_name = 't2'") == [(0,)]
    assert server.run("SELECT to_regclass('shop.t2')") == [(None,)]


# PostgreSQL as the store


def test_postgres_to_postgres_keeps_native_types(place: Workspace, server: Server):
    server.run("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    server.run("CREATE TABLE t (id int, tags text[], price numeric, at interval, feeling mood, doc jsonb, raw bytea)")
    server.run(
        "INSERT INTO t VALUES (1, '{a,b}', 1.2345678901234567890123456789012345678901, '1 day', 'ok', '{\"a\": 1}', '\\x00ff')"
    )
    place.load(server.tap({"table": "t"}), server.target())
    row = "SELECT id, tags, price::text, at::text, feeling::text, doc::text, raw FROM"
    assert server.run(f"{row} shop.t") == server.run(f"{row} public.t")
    assert server.run("SELECT pg_typeof(tags)::text, pg_typeof(price)::text FROM shop.t") == [("text[]", "numeric")]


@pytest.mark.parametrize("method", ["append", "replace", "merge"])
def test_each_method_into_postgres(place: Workspace, server: Server, method: str):
    fill(server)
    tap = server.tap(incremental())
    first = place.load(tap, server.target(method))
    server.run(SECOND)
    second = place.load(tap, server.target(method), **first.state)

    expected = {"append": [1, 2, 2, 3, 4], "replace": [1, 2, 3, 4], "merge": [1, 2, 3, 4]}[method]
    assert [row[0] for row in server.run("SELECT id FROM shop.orders ORDER BY id")] == expected
    if method != "append":
        assert server.run("SELECT amount::text FROM shop.orders WHERE id = 2") == [("99.00",)]
    assert second.stream("orders")["verified"] is True


def test_replace_keeps_views_grants_and_indexes(place: Workspace, server: Server):
    fill(server)
    tap = server.tap({"table": "orders"})
    place.load(tap, server.target("replace"))
    server.run("CREATE VIEW shop.seen AS SELECT id FROM shop.orders")
    server.run("CREATE INDEX by_amount ON shop.orders (amount)")
    server.run(
        "DROP ROLE IF EXISTS reader_of_shop; CREATE ROLE reader_of_shop; GRANT SELECT ON shop.orders TO reader_of_shop"
    )
    server.run("DELETE FROM orders WHERE id = 1")
    place.load(tap, server.target("replace"))

    assert server.run("SELECT id FROM shop.seen ORDER BY id") == [(2,), (3,)]
    assert server.run("SELECT count(*) FROM pg_indexes WHERE indexname = 'by_amount'") == [(1,)]
    assert server.run("SELECT has_table_privilege('reader_of_shop', 'shop.orders', 'SELECT')") == [(True,)]
    server.run("DROP OWNED BY reader_of_shop; DROP ROLE reader_of_shop")


def test_files_into_postgres_are_replaced_one_by_one(place: Workspace, server: Server):
    place.write("orders/1.csv", 'id,amount,note\n1,1.25,""\n2,2.50,\n')
    place.write("orders/2.csv", "id,amount\n3,3\n")
    tap = tap_files({"stream": "orders", "path": "orders/*.csv"})
    first = place.load(tap, server.target())
    place.write("orders/2.csv", "id,amount,extra\n3,3.125,x\n4,4,y\n")
    second = place.load(tap, server.target(), **first.state)

    assert (second.stream("orders")["inserted"], second.stream("orders")["deleted"]) == (2, 1)
    assert server.run("SELECT id, amount::text, note, extra FROM shop.orders ORDER BY id") == [
        (1, "1.250", "", None),
        (2, "2.500", None, None),
        (3, "3.125", None, "x"),
        (4, "4.000", None, "y"),
    ]
    assert "widened" in second.log


def test_merge_into_postgres_refuses_null_keys_and_takes_the_last(place: Workspace, server: Server):
    place.write("o.csv", "id,amount\n1,1\n2,2\n2,3\n")
    tap = tap_files({"stream": "o", "path": "*.csv", "primary_keys": ["id"]})
    first = place.load(tap, server.target("merge"))
    assert server.run("SELECT id, amount FROM shop.o ORDER BY id") == [(1, 1), (2, 3)]
    place.write("p.csv", "id,amount\n,5\n3,3\n")
    error = place.move(tap, server.target("merge"), **first.state).error
    assert (error["code"], error["file"]) == ("null-key", "p.csv")
    assert server.run("SELECT count(*) FROM shop.o") == [(2,)]


def test_nanoseconds_are_refused_by_postgres_by_name(place: Workspace, server: Server):
    for digits, name in (("123456000", "ok"), ("123456789", "fine")):
        rows = f"SELECT TIMESTAMP_NS '2024-01-01 10:00:00.{digits}' AS at"
        duckdb.sql(f"COPY ({rows}) TO '{place.files / name}.parquet' (FORMAT parquet)")
    place.load(tap_files({"stream": "a", "path": "ok.parquet"}), server.target())
    assert server.run("SELECT at::text FROM shop.a") == [("2024-01-01 10:00:00.123456",)]
    error = place.move(tap_files({"stream": "b", "path": "fine.parquet"}), server.target()).error
    assert error["code"] == "value-refused" and "nanoseconds" in error["headline"]
    assert server.run("SELECT to_regclass('shop.b')") == [(None,)]


def test_a_locked_table_is_named(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap({"table": "orders"}), server.target())
    with server.connection.transaction():
        server.run("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE")
        error = place.move(server.tap({"table": "orders"}), server.target("replace")).error
    assert error["code"] == "store-locked"


def test_a_view_is_not_loaded_into(place: Workspace, server: Server):
    fill(server)
    server.run("CREATE SCHEMA shop; CREATE VIEW shop.orders AS SELECT 1 AS id")
    assert place.move(server.tap({"table": "orders"}), server.target()).error["code"] == "table-is-view"


# SQLite as the source


def test_sqlite_in_full_and_by_key(place: Workspace, till: sqlite3.Connection):
    tap = sqlite_tap(incremental())
    first = place.load(tap, to_duckdb("merge"))
    assert place.types("orders") == {"id": "BIGINT", "amount": "DOUBLE", "changed": "TIMESTAMP"}
    till.execute("UPDATE orders SET amount = 99, changed = '2024-01-03 00:00:00' WHERE id = 2")
    till.execute("INSERT INTO orders VALUES (4, 4.5, '2024-01-04 00:00:00')")
    till.commit()
    second = place.load(tap, to_duckdb("merge"), **first.state)

    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 1, 2)
    assert place.query("SELECT id, amount FROM shop.orders ORDER BY id") == [(1, 1.5), (2, 99.0), (3, 3.5), (4, 4.5)]


def test_sqlite_columns_say_late_what_they_hold(place: Workspace):
    with sqlite3.connect(place.files / "shop.sqlite") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, late, mixed, raw BLOB, flag BOOLEAN, day DATE, empty)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, NULL)",
            [
                (n, None if n < 9000 else f"x{n}", n if n % 2 else "a", b"\x00\xff", n % 2, "2024-01-05")
                for n in range(9005)
            ],
        )
    connection.close()
    ended = place.load(sqlite_tap({"table": "t"}), to_duckdb())

    assert ended.stream("t")["rows_read"] == 9005
    assert list(place.types("t").values()) == ["BIGINT", "VARCHAR", "VARCHAR", "BLOB", "BOOLEAN", "DATE", "VARCHAR"]
    assert place.query(
        "SELECT late, mixed, raw, flag, day::VARCHAR FROM shop.t WHERE id IN (8998, 9001) ORDER BY id"
    ) == [
        (None, "a", b"\x00\xff", False, "2024-01-05"),
        ("x9001", "9001", b"\x00\xff", True, "2024-01-05"),
    ]
    assert "mixed holds numbers and text" in ended.log


def test_sqlite_into_postgres(place: Workspace, server: Server, till: sqlite3.Connection):
    place.load(sqlite_tap({"table": "orders", "primary_keys": ["id"]}), server.target("merge"))
    assert server.run("SELECT id, amount, changed::text FROM shop.orders ORDER BY id")[1] == (
        2,
        2.5,
        "2024-01-02 00:00:00",
    )


@pytest.mark.parametrize(
    ("table", "path", "code"),
    [
        ({"table": "nope"}, "shop.sqlite", "table-missing"),
        ({"table": "orders", "columns": ["nope"]}, "shop.sqlite", "column-missing"),
        ({"table": "orders"}, "missing.sqlite", "file-missing"),
        ({"table": "orders"}, "../../etc/passwd", "path-outside"),
    ],
)
def test_wrong_sqlite_settings_are_named(place: Workspace, till: sqlite3.Connection, table, path: str, code: str):
    assert place.move(sqlite_tap(table, path=path), to_duckdb()).error["code"] == code
