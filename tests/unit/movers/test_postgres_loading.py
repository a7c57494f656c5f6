"""target-postgres: what a load does to a table, what it refuses, and the state that is committed with the rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import duckdb
import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files

PIPELINE = "11111111-1111-4111-8111-111111111111"
JOB = "22222222-2222-4222-8222-222222222222"


def fill(server: Server, rows: int = 3) -> None:
    server.run("CREATE TABLE orders (id int, amount numeric(10,2), changed int)")
    server.run(f"INSERT INTO orders SELECT i, i + 0.5, i FROM generate_series(1, {rows}) i")


def by_key(**more):
    return {
        "table": "orders",
        "replication_method": "INCREMENTAL",
        "replication_key": "changed",
        "primary_keys": ["id"],
        **more,
    }


def shape(server: Server, table: str = "orders") -> dict[str, str]:
    """The columns of a loaded table and their types."""
    rows = server.run(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        f" WHERE attrelid = 'shop.{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    return dict(rows)


def loads(server: Server) -> list[tuple]:
    return server.run(
        "SELECT pipeline, stream, table_name, job, attempt, epoch, sequence, rows, state FROM shop._eltsite_loads"
        " ORDER BY stream"
    )


# The table's shape


def test_new_columns_are_added_and_old_ones_widened(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(by_key()), server.target())
    server.run("ALTER TABLE orders ADD note text, ALTER id TYPE bigint, ALTER amount TYPE numeric(12,3)")
    server.run("INSERT INTO orders VALUES (5000000000, 1.125, 4, 'new')")
    ended = place.load(server.tap(by_key()), server.target(), **first.state)

    assert shape(server) == {"id": "bigint", "amount": "numeric(12,3)", "changed": "integer", "note": "text"}
    assert server.run("SELECT id, amount::text, note FROM shop.orders ORDER BY id") == [
        *((number, f"{number}.500", None) for number in (1, 2, 3)),
        (5_000_000_000, "1.125", "new"),
    ]
    assert "column id is widened" in ended.log and "new column note" in ended.log


def test_a_source_that_drops_a_column_leaves_it_empty(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(by_key()), server.target())
    server.run("ALTER TABLE orders DROP amount; INSERT INTO orders VALUES (4, 4)")
    place.load(server.tap(by_key()), server.target(), **first.state)
    assert server.run("SELECT id, amount::text FROM shop.orders WHERE id > 2 ORDER BY id") == [(3, "3.50"), (4, None)]


@pytest.mark.parametrize("method", ["append", "replace", "merge"])
def test_a_column_that_no_longer_fits_is_refused_by_name_and_nothing_is_written(
    place: Workspace, server: Server, method: str
):
    fill(server)
    first = place.load(server.tap(by_key()), server.target(method))
    before = loads(server), shape(server)
    server.run("ALTER TABLE orders ALTER amount TYPE text, ADD extra text; INSERT INTO orders VALUES (4, 'four', 4)")
    ended = place.move(server.tap(by_key()), server.target(method), **first.state)

    assert (ended.error["code"], ended.error["column"]) == ("column-narrows", "amount")
    assert ended.of("state") == []
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]
    assert (loads(server), shape(server)) == before


@pytest.mark.parametrize("method", ["append", "replace", "merge"])
@pytest.mark.parametrize("source", ["postgres", "files"])
def test_text_that_is_too_long_for_its_column_is_refused_not_cut(
    place: Workspace, server: Server, method: str, source: str
):
    server.run("CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, note varchar(5))")
    server.run("CREATE TABLE orders (id int, note text); INSERT INTO orders VALUES (1, 'short'), (2, 'too long')")
    place.write("orders.csv", "id,note\n1,short\n2,too long\n")
    tap = {
        "postgres": server.tap({"table": "orders", "schema": "public", "primary_keys": ["id"]}),
        "files": tap_files({"stream": "orders", "path": "orders.csv", "primary_keys": ["id"]}),
    }[source]
    error = place.move(tap, server.target(method)).error

    assert (error["code"], error["column"]) == ("value-refused", "note")
    assert server.run("SELECT count(*) FROM shop.orders") == [(0,)]


def test_times_keep_their_fraction_in_a_column_of_whole_seconds(place: Workspace, server: Server):
    server.run("CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, at timestamp(0), zoned timestamptz(3))")
    server.run("CREATE TABLE orders (id int, at timestamp, zoned timestamptz)")
    server.run("INSERT INTO orders VALUES (1, '2024-01-01 10:00:00.75', '2024-01-01 10:00:00.123456')")
    place.load(server.tap({"table": "orders", "schema": "public"}), server.target())
    assert server.run("SELECT at::text, zoned::text FROM shop.orders") == server.run(
        "SELECT at::text, zoned::text FROM orders"
    )


# Methods


def test_append_loses_what_ties_with_the_last_value_and_merge_does_not(place: Workspace, server: Server):
    """The price of append, which the form names: a row that comes later with the same value is not read."""
    fill(server)
    for method, expected in (("append", 3), ("merge", 4)):
        tap, target = server.tap(by_key(stream=method)), server.target(method)
        first = place.load(tap, target)
        server.run("INSERT INTO orders VALUES (4, 4, 3)")
        place.load(tap, target, **first.state)
        assert server.run(f"SELECT count(*) FROM shop.{method}") == [(expected,)]
        server.run("DELETE FROM orders WHERE id = 4")


def test_merge_by_several_keys_takes_the_last_read_of_each(place: Workspace, server: Server):
    place.write("a.csv", "shop,id,amount\n1,1,1\n1,2,2\n1,2,3\n2,1,9\n2,1,4\n")
    tap = tap_files({"stream": "orders", "path": "*.csv", "primary_keys": ["shop", "id"]})
    first = place.load(tap, server.target("merge"))
    place.write("b.csv", "shop,id,amount\n2,1,5\n2,2,6\n2,2,7\n")
    second = place.load(tap, server.target("merge"), **first.state)

    assert server.run("SELECT shop, id, amount FROM shop.orders ORDER BY 1, 2") == [
        *((1, 1, 1), (1, 2, 3), (2, 1, 5), (2, 2, 7))
    ]
    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"], done["verified"]) == (3, 1, 1, True)


def test_merge_counts_only_rows_of_its_own(place: Workspace, server: Server):
    """A merge of nothing but keys updates none, yet finds those that are there."""
    server.run("CREATE TABLE keys (id int PRIMARY KEY); INSERT INTO keys VALUES (1), (2)")
    tap = server.tap({"table": "keys", "primary_keys": ["id"]})
    place.load(tap, server.target("merge"))
    server.run("INSERT INTO keys VALUES (3)")
    done = place.load(tap, server.target("merge")).stream("keys")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 1, 2)


def test_merge_refuses_a_null_key_of_a_database_by_name(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(by_key()), server.target("merge"))
    server.run("INSERT INTO orders VALUES (NULL, 1, 9), (4, 4, 9)")
    ended = place.move(server.tap(by_key()), server.target("merge"), **first.state)
    assert (ended.error["code"], ended.error["column"]) == ("null-key", "id")
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]


def test_replace_of_an_empty_source_empties_the_table(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap({"table": "orders"}), server.target("replace"))
    server.run("DELETE FROM orders")
    done = place.load(server.tap({"table": "orders"}), server.target("replace")).stream("orders")
    assert (done["inserted"], done["deleted"], done["verified"]) == (0, 3, True)
    assert server.run("SELECT count(*) FROM shop.orders") == [(0,)]


def test_a_failed_replace_leaves_the_old_rows(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap({"table": "orders"}), server.target("replace"))
    server.run("ALTER TABLE shop.orders ADD CONSTRAINT small CHECK (id < 4)")
    server.run("INSERT INTO orders VALUES (4, 4, 4)")
    error = place.move(server.tap({"table": "orders"}), server.target("replace")).error
    assert "small" in error["reason"]
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]


def test_a_trigger_that_swallows_rows_is_found_by_the_counts(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap(by_key()), server.target())
    server.run(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER swallow BEFORE INSERT ON shop.orders FOR EACH ROW WHEN (new.id = 5) EXECUTE FUNCTION swallow()"
    )
    server.run("INSERT INTO orders VALUES (4, 4, 4), (5, 5, 5)")
    error = place.move(server.tap(by_key()), server.target()).error
    assert error["code"] == "counts-differ"
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]


# State


def test_rows_and_state_are_of_one_transaction(place: Workspace, server: Server):
    fill(server)
    ended = place.load(server.tap(by_key()), server.target(), attempt=2, epoch=3, sequence=8)

    state = '{"replication_key": "changed", "value": "3"}'
    assert loads(server) == [(PIPELINE, "orders", "orders", JOB, 2, 3, 9, 3, state)]
    assert ended.state["sequence"] == 9
    assert server.run("SELECT DISTINCT xmin::text FROM shop.orders") == server.run(
        "SELECT xmin::text FROM shop._eltsite_loads"
    )


def test_a_store_that_knows_more_than_the_pipeline_is_believed(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap(by_key()), server.target())
    second = place.load(server.tap(by_key()), server.target())  # our state was lost
    assert second.stream("orders")["rows_read"] == 0
    assert "newer state than ours" in second.log
    server.run("INSERT INTO orders VALUES (4, 4, 4)")
    third = place.load(server.tap(by_key()), server.target())
    assert third.stream("orders")["rows_read"] == 1


def test_a_persons_reset_wins_over_the_store(place: Workspace, server: Server):
    fill(server)
    place.load(server.tap(by_key()), server.target("merge"))
    second = place.load(server.tap(by_key()), server.target("merge"), epoch=1, sequence=0)
    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 0, 3)
    assert loads(server)[0][5:7] == (1, 1)


def test_a_table_that_is_gone_is_loaded_in_full(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(by_key()), server.target())
    server.run("DROP TABLE shop.orders; INSERT INTO orders VALUES (4, 4, 4)")
    second = place.load(server.tap(by_key()), server.target(), **first.state)
    assert second.stream("orders")["inserted"] == 4
    assert "does not exist" in second.log


def test_an_own_state_that_is_as_new_as_the_stores_is_used(place: Workspace, server: Server):
    """The same epoch and sequence: ours, for a person may have restored a part of it."""
    fill(server)
    first = place.load(server.tap(by_key()), server.target("merge"))
    first.state["state"]["bookmarks"]["orders"]["value"] = "3"
    older = {**first.state, "state": {"bookmarks": {"orders": {"replication_key": "changed", "value": "2"}}}}
    assert place.load(server.tap(by_key()), server.target("merge"), **older).stream("orders")["rows_read"] == 2


def test_what_was_committed_before_a_failure_stays_and_its_state_is_said(place: Workspace, server: Server):
    fill(server)
    server.run("CREATE TABLE bad (id int, amount int); INSERT INTO bad VALUES (NULL, 1)")
    tap = server.tap(by_key(), {"table": "bad", "primary_keys": ["id"]}, by_key(stream="later"))
    ended = place.move(tap, server.target("merge"))

    assert (ended.error["code"], ended.error["stream"]) == ("null-key", "bad")
    assert ended.state["state"]["bookmarks"] == {"orders": {"replication_key": "changed", "value": "3"}}
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]
    assert [row[1] for row in loads(server)] == ["orders"]
    assert server.run("SELECT to_regclass('shop.bad'), to_regclass('shop.later')") == [(None, None)]


def test_pipelines_of_one_schema_keep_their_states_apart(place: Workspace, server: Server):
    fill(server)
    other = "33333333-3333-4333-8333-333333333333"
    place.load(server.tap(by_key()), server.target())
    place.load(server.tap(by_key(stream="again")), server.target(), pipeline=other)
    assert {(row[0], row[1]) for row in loads(server)} == {(PIPELINE, "orders"), (other, "again")}


# Files


@pytest.mark.parametrize("method", ["append", "replace", "merge"])
def test_parquet_reaches_postgres_by_each_method(place: Workspace, server: Server, method: str):
    rows = "SELECT i AS id, i * 1.25 AS amount, [i, i + 1] AS pair, 'a\\b' || chr(10) || '\"' AS note"
    duckdb.sql(f"COPY ({rows} FROM range(5000) t(i)) TO '{place.files}/orders.parquet' (FORMAT parquet)")
    tap = tap_files({"stream": "orders", "path": "*.parquet", "primary_keys": ["id"]})
    first = place.load(tap, server.target(method))
    second = place.load(tap, server.target(method), **first.state)

    assert second.exit_code == 0
    assert server.run("SELECT count(*), count(DISTINCT id), sum(amount)::text FROM shop.orders") == [
        (5000, 5000, "15621875.00")
    ]
    assert server.run("SELECT pair->>1, note FROM shop.orders WHERE id = 7") == [("8", 'a\\b\n"')]


# Refusals of the server


@pytest.fixture
def guest(server: Server) -> Iterator[str]:
    """A user without any right in the database but to connect."""
    name = f"guest_{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE ROLE {name} LOGIN")
    yield name
    server.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_user_who_may_not_create_the_schema_is_named_the_right(place: Workspace, server: Server, guest: str):
    fill(server)
    error = place.move(server.tap(by_key()), server.target(user=guest)).error
    assert error["code"] == "no-permission" and "shop" in error["headline"]
    assert server.run("SELECT count(*) FROM pg_namespace WHERE nspname = 'shop'") == [(0,)]


def test_a_user_who_may_not_write_into_the_schema_is_named_the_right(place: Workspace, server: Server, guest: str):
    fill(server)
    server.run(f"CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO {guest}")
    error = place.move(server.tap(by_key()), server.target(user=guest)).error
    assert error["code"] == "no-permission" and "denied for schema shop" in error["reason"]


def test_a_user_who_may_not_read_the_table_is_named_the_right(place: Workspace, server: Server, guest: str):
    fill(server)
    error = place.move(server.tap(by_key(), user=guest), server.target()).error
    assert (error["code"], error["stream"]) == ("no-permission", "orders")
    assert "denied for table orders" in error["reason"]


def test_a_user_with_rights_on_one_schema_needs_no_more(place: Workspace, server: Server, guest: str):
    fill(server)
    server.run(f"CREATE SCHEMA shop AUTHORIZATION {guest}")
    first = place.load(server.tap(by_key()), server.target("merge", user=guest))
    place.load(server.tap(by_key()), server.target("merge", user=guest), **first.state)
    assert server.run("SELECT count(*) FROM shop.orders") == [(3,)]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"host": "127.0.0.1", "port": 1}, "source-down"), ({"database": "nope"}, "database-missing")],
)
def test_a_store_that_cannot_be_reached_is_named(place: Workspace, server: Server, change, code: str):
    place.write("a.csv", "id\n1\n")
    error = place.move(tap_files({"stream": "a", "path": "a.csv"}), server.target(**change)).error
    assert error["code"] == code


def test_a_view_that_depends_on_a_column_stops_its_widening_by_name(place: Workspace, server: Server):
    fill(server)
    first = place.load(server.tap(by_key()), server.target())
    server.run("CREATE VIEW shop.seen AS SELECT id FROM shop.orders")
    server.run("ALTER TABLE orders ALTER id TYPE bigint; INSERT INTO orders VALUES (4, 4, 4)")
    error = place.move(server.tap(by_key()), server.target(), **first.state).error
    assert (error["code"], error["column"]) == ("column-in-use", "id")
    assert "seen" in error["reason"]
