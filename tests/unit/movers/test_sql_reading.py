"""tap-sql: what a table, a query and a replication key let through, from PostgreSQL and from SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.unit.movers.conftest import Server, Workspace, to_duckdb


class Source:
    """A database with one table of orders, of either dialect."""

    def __init__(self, dialect: str, place: Workspace, server: Server) -> None:
        self._file = place.files / "shop.sqlite" if dialect == "sqlite" else None
        self._server = server

    def run(self, *statements: str) -> None:
        if self._file is None:
            for statement in statements:
                self._server.run(statement)
            return
        connection = sqlite3.connect(self._file)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def tap(self, *tables: dict[str, Any]) -> dict[str, Any]:
        if self._file is None:
            return self._server.tap(*tables)
        settings = {"dialect": "sqlite", "path": self._file.name, "tables": list(tables)}
        return {"plugin": "tap-sql", "name": "Till", "settings": settings}


@pytest.fixture(params=["postgresql", "sqlite"])
def source(request: pytest.FixtureRequest, place: Workspace, server: Server) -> Source:
    made = Source(request.param, place, server)
    made.run(
        "CREATE TABLE orders (id integer, note text, day date, changed timestamp)",
        "INSERT INTO orders VALUES (1, 'a', '2024-01-01', '2024-01-01 10:00:00'),"
        " (2, 'it''s 100% \\', '1969-12-31', '1969-12-31 23:59:59'), (3, '', '2024-02-29', '2024-02-29 10:00:00')",
    )
    return made


def by(key: str, **more: Any) -> dict[str, Any]:
    return {
        "table": "orders",
        "replication_method": "INCREMENTAL",
        "replication_key": key,
        "primary_keys": ["id"],
        **more,
    }


def test_a_query_may_filter_join_comment_and_end_in_a_semicolon(place: Workspace, source: Source):
    query = (
        "WITH big AS (SELECT * FROM orders WHERE id > 1)\nSELECT a.id, b.note -- of both\n"
        "FROM big a JOIN orders b ON a.id = b.id;"
    )
    place.load(source.tap({"stream": "big", "query": query}), to_duckdb())
    assert place.query("SELECT id, note FROM shop.big ORDER BY id") == [(2, "it's 100% \\"), (3, "")]


def test_a_query_is_read_by_its_replication_key(place: Workspace, source: Source):
    tap = source.tap({**by("id"), "table": "", "stream": "q", "query": "SELECT id, note FROM orders WHERE id <> 2"})
    first = place.load(tap, to_duckdb())
    source.run("INSERT INTO orders (id, note) VALUES (4, 'd')")
    second = place.load(tap, to_duckdb(), **first.state)
    assert second.stream("q")["rows_read"] == 1
    assert place.query("SELECT id FROM shop.q ORDER BY id") == [(1,), (3,), (4,)]


@pytest.mark.parametrize("key", ["id", "note", "day", "changed"])
def test_keys_of_every_kind_go_on_where_they_were(place: Workspace, source: Source, key: str):
    """Numbers, texts, dates and times; the last value is read again by merge, and only it."""
    for number in (1, 2, 3):
        source.run(
            f"UPDATE orders SET note = 'x{number}', day = '2024-01-0{number}',"
            f" changed = '2024-01-01 10:00:0{number}.5' WHERE id = {number}"
        )
    first = place.load(source.tap(by(key)), to_duckdb("merge"))
    second = place.load(source.tap(by(key)), to_duckdb("merge"), **first.state)
    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (1, 0, 1)
    third = place.load(source.tap(by(key, stream="added")), to_duckdb())
    fourth = place.load(source.tap(by(key, stream="added")), to_duckdb(), **third.state)
    assert fourth.stream("added")["rows_read"] == 0


def test_an_empty_table_makes_an_empty_table_and_begins_later(place: Workspace, source: Source):
    source.run("DELETE FROM orders")
    first = place.load(source.tap(by("id")), to_duckdb("merge"))
    assert place.query("SELECT count(*) FROM shop.orders") == [(0,)]
    source.run("INSERT INTO orders (id) VALUES (1)")
    place.load(source.tap(by("id")), to_duckdb("merge"), **first.state)
    assert place.query("SELECT count(*) FROM shop.orders") == [(1,)]


def test_rows_that_vanish_leave_the_bookmark_where_it_was(place: Workspace, source: Source):
    first = place.load(source.tap(by("id")), to_duckdb())
    source.run("DELETE FROM orders")
    second = place.load(source.tap(by("id")), to_duckdb(), **first.state)
    source.run("INSERT INTO orders (id) VALUES (3), (4)")
    state = second.state if second.of("state") else first.state
    third = place.load(source.tap(by("id")), to_duckdb(), **state)
    assert third.stream("orders")["rows_read"] == 1


def test_another_replication_key_reads_all_again(place: Workspace, source: Source):
    first = place.load(source.tap(by("id")), to_duckdb("merge"))
    second = place.load(source.tap(by("changed")), to_duckdb("merge"), **first.state)
    assert second.stream("orders")["rows_read"] == 3
    assert "reading all rows" in second.log


def test_chosen_columns_keep_the_keys_they_need(place: Workspace, source: Source):
    place.load(source.tap(by("changed", columns=["note"])), to_duckdb("merge"))
    assert set(place.types("orders")) == {"id", "note", "changed"}


def test_lookback_takes_seconds_off_a_time(place: Workspace, source: Source):
    first = place.load(source.tap(by("changed")), to_duckdb("merge"))
    source.run("INSERT INTO orders (id, changed) VALUES (4, '2024-02-29 09:59:10'), (5, '2024-02-29 09:58:00')")
    second = place.load(source.tap(by("changed", lookback_seconds=60)), to_duckdb("merge"), **first.state)
    done = second.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("table", "code", "words"),
    [
        ({"table": "nope"}, "table-missing", "nope"),
        (by("id", columns=["id", "nope"]), "column-missing", "nope"),
        (by("nope"), "replication-key-missing", "nope"),
        ({"stream": "q", "query": "SELEC 1"}, "statement-failed", "yntax error"),
        ({"stream": "q", "query": "SELECT nope FROM orders"}, "column-missing", "nope"),
        ({"stream": "q", "query": "DELETE FROM orders"}, "statement-failed", "yntax error"),
        ({"stream": "q", "query": "SELECT 1 AS a) AS x; DELETE FROM orders; --"}, "statement-failed", ""),
        (
            {"stream": "q", "query": "SELECT 1 AS a) AS x; COMMIT; DELETE FROM orders; SELECT * FROM (SELECT 1 AS a"},
            "statement-failed",
            "",
        ),
    ],
)
def test_what_is_wrong_in_the_settings_is_named_and_nothing_is_changed(
    place: Workspace, source: Source, table: dict[str, Any], code: str, words: str
):
    error = place.move(source.tap(table), to_duckdb("merge")).error
    assert error["code"] == code
    assert words in f"{error['headline']} {error['reason']}"
    assert error["stream"] == table.get("stream", table.get("table"))
    assert place.load(source.tap({"stream": "all", "table": "orders"}), to_duckdb()).stream("all")["rows_read"] == 3


def test_a_statement_that_fails_on_a_row_is_named_and_leaves_no_table(place: Workspace, server: Server):
    server.run("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (0)")
    for target in (to_duckdb(), server.target()):
        error = place.move(server.tap({"stream": "q", "query": "SELECT 1 / id AS n FROM orders"}), target).error
        assert "ivision by zero" in error["reason"] and error["stream"] == "q"
    assert server.run("SELECT to_regclass('shop.q')") == [(None,)]
