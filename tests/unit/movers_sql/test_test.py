"""The test of both ends, by the real mover: it connects, looks, tries, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tests.unit.movers_sql.conftest import ROLE, Place

Server = psycopg.Connection[Any]


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without writing to the terminal."""

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """The address of a server with one file of 5 bytes."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.csv").write_text("id\n1\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def files(place: Place, **streams: str) -> Place:
    """Let the pipeline read these paths."""
    place.spec["extractor"]["settings"] = {"files": [{"stream": name, "path": path} for name, path in streams.items()]}
    return place


def tap_sql(**settings: Any) -> dict[str, Any]:
    """An extractor of a database."""
    return {"plugin": "tap-sql", "name": "Source", "settings": settings}


def test_files_and_a_new_warehouse_pass_and_leave_nothing_behind(place: Place) -> None:
    (place.folder / "files" / "a.csv").write_text("id\n1\n")
    duckdb.sql(f"COPY (SELECT range AS id FROM range(1234)) TO '{place.folder}/files/b.parquet'")
    ended = files(place, a="*.csv", b="b.parquet").run("test")
    assert ended.exit_code == 0, ended.events
    assert set(ended.checks.values()) == {True}
    assert all(check["seconds"] >= 0 for check in ended.of("check"))
    assert "1,234 rows" in ended.log
    assert sorted(path.name for path in place.folder.iterdir()) == ["files", "runs"]


def test_what_a_warehouse_holds_is_listed_and_stays_as_it_is(place: Place) -> None:
    place.query("CREATE SCHEMA shop; CREATE TABLE shop.orders AS SELECT * FROM range(7)")
    (place.folder / "files" / "a.csv").write_text("id\n1\n")
    ended = files(place, a="a.csv").run("test")
    assert "orders (7 rows)" in ended.log
    assert place.query("SELECT table_name FROM duckdb_tables()") == [("orders",)]


def test_a_missing_file_fails_and_the_loader_is_still_tested(place: Place) -> None:
    ended = files(place, a="a.csv", b="*.csv").run("test")
    assert ended.error["code"] == "file-missing"
    assert (ended.checks["Stream a"], ended.checks["Stream b"]) == (False, None)
    assert ended.checks["Make a table"] is True


def test_a_file_that_is_no_parquet_is_named(place: Place) -> None:
    (place.folder / "files" / "a.parquet").write_text("no")
    assert files(place, a="a.parquet").run("test").error["code"] == "not-parquet"


def test_a_locked_warehouse_fails_after_the_wait(place: Place) -> None:
    place.spec["limits"]["lock_wait_seconds"] = 0.3
    (place.folder / "files" / "a.csv").write_text("id\n1\n")
    with duckdb.connect(str(place.folder / "warehouse.duckdb")):
        ended = files(place, a="a.csv").run("test")
    assert ended.error["code"] == "store-locked"


def test_a_web_address_is_asked_and_a_private_one_refused(place: Place, website: str) -> None:
    place.spec["limits"]["allow_private_addresses"] = True
    ended = files(place, a=f"{website}/a.csv", gone=f"{website}/gone.csv").run("test")
    assert ended.checks["Stream a"] is True
    assert "a.csv answers, 5 bytes" in ended.log
    assert "404" in ended.error["reason"]
    place.spec["limits"]["allow_private_addresses"] = False
    assert files(place, a=f"{website}/a.csv").run("test").error["code"] == "address-refused"


def test_a_folder_of_files_is_written_to_and_left_empty(place: Place) -> None:
    (place.folder / "exports").mkdir()
    place.spec["loader"] = {"plugin": "target-files", "name": "Exports", "settings": {"path": "exports/shop"}}
    (place.folder / "files" / "a.csv").write_text("id\n1\n")
    ended = files(place, a="a.csv").run("test")
    assert ended.exit_code == 0, ended.events
    assert list((place.folder / "exports").iterdir()) == []


def test_postgresql_at_both_ends_is_tried_and_left_as_it_was(postgres_place: Place, server: Server) -> None:
    place = postgres_place
    server.execute("CREATE TABLE public.orders AS SELECT i AS id, now() AS at FROM generate_series(1, 10) AS i")
    server.execute(f"ANALYZE public.orders; GRANT SELECT ON public.orders TO {ROLE}")
    tables = [
        {"table": "orders", "schema": "public", "columns": ["id"], "replication_key": "at"},
        {"stream": "q", "query": "SELECT id FROM orders WHERE id > 3;"},
    ]
    place.spec["extractor"] = tap_sql(dialect="postgresql", tables=tables, **place.spec["loader"]["settings"])
    place.spec["loader"]["settings"]["schema"] = "not_there_yet"
    ended = place.run("test")
    assert ended.exit_code == 0, ended.events
    assert set(ended.checks.values()) == {True}
    assert "public.orders: 2 columns, about 10 rows" in ended.log
    assert server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'not_there_yet'").fetchall() == []


def test_postgresql_names_what_is_wrong_with_each_table_and_the_role(postgres_place: Place, server: Server) -> None:
    place = postgres_place
    server.execute("CREATE TABLE public.secret (id int)")
    tables = [{"table": "secret", "schema": "public"}, {"table": "nosuch"}, {"stream": "q", "query": "DELETE FROM x"}]
    place.spec["extractor"] = tap_sql(dialect="postgresql", tables=tables, **place.spec["loader"]["settings"])
    place.spec["loader"]["settings"]["schema"] = "pg_catalog"
    ended = place.run("test")
    assert [ended.checks[f"Stream {name}"] for name in ("secret", "nosuch", "q")] == [False, False, False]
    assert ended.checks["Make a table"] is False
    assert ended.error["code"] == "no-permission"


def test_a_wrong_password_or_host_is_named(postgres_place: Place) -> None:
    settings = postgres_place.spec["loader"]["settings"]
    (postgres_place.folder / "files" / "a.csv").write_text("id\n1\n")
    files(postgres_place, a="a.csv")
    postgres_place.spec["loader"]["settings"] = {**settings, "database": "nosuch"}
    assert postgres_place.run("test").error["code"] == "database-missing"
    postgres_place.spec["loader"]["settings"] = {**settings, "host": "127.0.0.1", "port": 1}
    error = postgres_place.run("test").error
    assert "127.0.0.1:1" in error["headline"]
    assert error["remedy"]


def test_a_superuser_is_a_warning(postgres_place: Place) -> None:
    postgres_place.spec["loader"]["settings"] |= {"user": "postgres", "password": ""}
    (postgres_place.folder / "files" / "a.csv").write_text("id\n1\n")
    ended = files(postgres_place, a="a.csv").run("test")
    assert (ended.exit_code, ended.checks["Role"]) == (0, None)


def test_sqlite_is_opened_for_reading_only(place: Place) -> None:
    path = place.folder / "files" / "shop #1.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS id, 'x' AS note")
    connection.close()
    tables = [{"table": "orders", "columns": ["id"]}, {"stream": "q", "query": "SELECT * FROM orders"}]
    place.spec["extractor"] = tap_sql(dialect="sqlite", path="shop #1.sqlite", tables=tables)
    ended = place.run("test")
    assert ended.exit_code == 0, ended.events
    assert "orders: 1 column, 1 row" in ended.log
    tables[0]["columns"] = ["nosuch"]
    assert place.run("test").error["stream"] == "orders"
    path.write_text("this is not a SQLite file, not at all")
    assert place.run("test").error["code"] == "source-unreadable"
