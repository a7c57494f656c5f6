"""SQL models in PostgreSQL, by the real mover and a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from jobs import demo_shop
from tests.unit.movers_sql.conftest import ROLE, ROOT, Place

Server = psycopg.Connection[Any]


@pytest.fixture
def shop(postgres_place: Place, server: Server) -> Place:
    """A schema with loaded orders, owned by the role that loads and models."""
    server.execute(f"SET ROLE {ROLE}")
    server.execute("CREATE TABLE shop.orders (id int, customer int, amount numeric(10, 2))")
    server.execute("INSERT INTO shop.orders SELECT i, i % 3, i * 1.5 FROM generate_series(0, 29) AS i")
    return postgres_place


def test_models_are_built_in_dependency_order_and_counted(shop: Place, server: Server) -> None:
    shop.models = {
        "a_totals.sql": "-- materialized: table\nselect customer, sum(amount) as total from stg group by customer",
        "stg.sql": "select * from shop.orders where id > 0 and '100%' like '100%'; -- done",
        "z_best.sql": "select * from a_totals order by total desc limit 1",
    }
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    facts = [(event["name"], event["kind"], event["status"], event["rows"]) for event in ended.of("model")]
    assert facts == [
        ("stg", "view", "complete", 29),
        ("a_totals", "table", "complete", 3),
        ("z_best", "view", "complete", 1),
    ]
    assert server.execute("SELECT sum(total) FROM shop.a_totals").fetchall()[0][0] == 652.5


def test_a_failed_model_skips_those_below_and_names_the_line(shop: Place, server: Server) -> None:
    shop.models = {
        "bad.sql": "-- materialized: table\nselect id,\n  nosuch\nfrom orders",
        "below.sql": "select * from bad",
        "other.sql": "select count(*) as n from orders",
    }
    ended = shop.run("models")
    assert ended.exit_code == 1
    assert {name: event["status"] for name, event in ended.models.items()} == {
        "bad": "error",
        "below": "skipped",
        "other": "complete",
    }
    assert ended.error["headline"] == 'Model bad failed: column "nosuch" does not exist'
    assert (ended.error["file"], ended.error["line"]) == ("models/bad.sql", 3)


def test_a_refilled_table_keeps_its_views_grants_and_indexes(shop: Place, server: Server) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id from orders"}
    assert shop.run("models").exit_code == 0
    server.execute("CREATE VIEW shop.report AS SELECT id FROM shop.t")
    server.execute("CREATE INDEX t_by_id ON shop.t (id)")
    server.execute("GRANT SELECT ON shop.t TO PUBLIC")
    shop.models = {"t.sql": "-- materialized: table\nselect id, customer from orders where id < 5"}
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    assert server.execute("SELECT count(*) FROM shop.report").fetchone() == (5,)
    assert server.execute("SELECT count(customer) FROM shop.t").fetchone() == (5,)
    assert server.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 't_by_id'").fetchone() == (1,)
    assert server.execute("SELECT has_table_privilege('pg_monitor', 'shop.t', 'SELECT')").fetchone() == (True,)
    assert "customer integer added" in ended.log


def test_a_table_that_fails_keeps_its_old_rows(shop: Place, server: Server) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id from orders"}
    assert shop.run("models").exit_code == 0
    shop.models = {"t.sql": "-- materialized: table\nselect 1 / (id - 20) as id from orders"}
    assert shop.run("models").exit_code == 1
    assert server.execute("SELECT count(*) FROM shop.t").fetchone() == (30,)


def test_a_view_of_a_later_model_gives_way_to_changed_columns(shop: Place, server: Server) -> None:
    shop.models = {
        "t.sql": "-- materialized: table\nselect id, customer from orders",
        "v.sql": "select id, customer from t",
    }
    assert shop.run("models").exit_code == 0
    shop.models = {
        "t.sql": "-- materialized: table\nselect id::text as id, amount from orders",
        "v.sql": "select id, amount from t",
    }
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    assert "id integer became text" in ended.log
    assert server.execute("SELECT count(amount) FROM shop.v WHERE id LIKE '1%'").fetchone() == (11,)


def test_a_view_of_somebody_else_in_the_way_is_named_and_kept(shop: Place, server: Server) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id, customer from orders"}
    assert shop.run("models").exit_code == 0
    server.execute("CREATE VIEW shop.report AS SELECT customer FROM shop.t")
    shop.models = {"t.sql": "-- materialized: table\nselect id from orders"}
    ended = shop.run("models")
    assert ended.error["code"] == "model-in-use"
    assert "shop.report" in ended.error["headline"]
    assert server.execute("SELECT count(customer) FROM shop.report").fetchone() == (30,)


def test_a_view_with_other_columns_is_made_anew_with_its_grants(shop: Place, server: Server) -> None:
    shop.models = {"v.sql": "select id, customer from orders", "w.sql": "select id from v"}
    assert shop.run("models").exit_code == 0
    server.execute("GRANT SELECT ON shop.v TO pg_monitor WITH GRANT OPTION")
    shop.models = {"v.sql": "select id::text as id from orders", "w.sql": "select id from v"}
    ended = shop.run("models")
    assert ended.exit_code == 0, ended.events
    assert server.execute("SELECT has_table_privilege('pg_monitor', 'shop.v', 'SELECT')").fetchone() == (True,)


def test_a_view_becomes_a_table_and_a_view_again(shop: Place, server: Server) -> None:
    for kind, letter in (("view", "v"), ("table", "r"), ("view", "v")):
        shop.models = {"m.sql": f"-- materialized: {kind}\nselect id from orders", "on_m.sql": "select * from m"}
        ended = shop.run("models")
        assert ended.exit_code == 0, ended.events
        found = server.execute("SELECT relkind::text FROM pg_class WHERE oid = 'shop.m'::regclass").fetchone()
        assert found == (letter,)


def test_a_loaded_table_is_never_replaced_by_a_model_of_its_name(shop: Place, server: Server) -> None:
    shop.models = {"orders.sql": "-- materialized: table\nselect 1 as id"}
    assert shop.run("models").error["code"] == "model-name-taken"
    assert server.execute("SELECT count(*) FROM shop.orders").fetchone() == (30,)


@pytest.mark.parametrize(
    "sql",
    [
        "delete from orders",
        "select 1; delete from orders",
        "with gone as (delete from orders returning *) select * from gone",
        "select * into theirs from orders",
        "select * from orders for update",
        "copy orders to program 'id'",
    ],
)
def test_anything_but_one_select_is_refused(shop: Place, server: Server, sql: str) -> None:
    shop.models = {"m.sql": sql}
    assert shop.run("models").error["code"] == "model-statement"
    assert server.execute("SELECT count(*) FROM shop.orders").fetchone() == (30,)


@pytest.mark.parametrize("kind", ["view", "table"])
def test_a_function_that_writes_fails_in_the_read_only_transaction(shop: Place, server: Server, kind: str) -> None:
    server.execute("CREATE FUNCTION shop.wipe() RETURNS int LANGUAGE sql AS $$ DELETE FROM shop.orders RETURNING 1 $$")
    shop.models = {
        "m.sql": f"-- materialized: {kind}\nselect shop.wipe() as n, set_config('transaction_read_only', 'off', true) as s",
        "n.sql": f"-- materialized: {kind}\nselect set_config('transaction_read_only', 'off', true) as s, shop.wipe() as n",
    }
    ended = shop.run("models")
    assert {event["status"] for event in ended.of("model")} == {"error"}
    assert "read-only transaction" in ended.error["headline"]
    assert server.execute("SELECT count(*) FROM shop.orders").fetchone() == (30,)


def test_a_time_limit_lifted_by_one_model_holds_for_the_next(shop: Place) -> None:
    shop.spec["limits"]["statement_timeout_seconds"] = 0.5
    shop.models = {
        "a.sql": "-- materialized: table\nselect set_config('statement_timeout', '0', false) as s",
        "b.sql": "-- materialized: table\nselect count(*) as n from generate_series(1, 200000) a, generate_series(1, 200000) b",
    }
    ended = shop.run("models")
    assert ended.models["a"]["status"] == "complete"
    assert ended.error["code"] == "model-time-limit"


def test_a_superuser_is_refused_with_the_remedy(postgres_place: Place, server: Server) -> None:
    postgres_place.spec["loader"]["settings"] |= {"user": "postgres", "password": ""}
    postgres_place.models = {"m.sql": "select 1 as one"}
    ended = postgres_place.run("models")
    assert ended.error["code"] == "superuser-refused"
    assert "CREATE ROLE" in ended.error["remedy"]


def test_a_missing_schema_is_made(postgres_place: Place, server: Server) -> None:
    postgres_place.spec["loader"]["settings"]["schema"] = "Reports 2"
    postgres_place.models = {"m.sql": "select 1 as one"}
    assert postgres_place.run("models").exit_code == 0
    assert server.execute('SELECT one FROM "Reports 2".m').fetchone() == (1,)


def wait_until(condition: Callable[[], bool], *, seconds: float = 15) -> None:
    """Poll until it holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def test_a_killed_mover_leaves_no_statement_running_and_the_old_rows(shop: Place, server: Server) -> None:
    shop.models = {"t.sql": "-- materialized: table\nselect id from orders"}
    assert shop.run("models").exit_code == 0
    slow = "-- materialized: table\nselect count(*) as id from generate_series(1, 1e7) a, generate_series(1, 1e7) b"
    spec = {**shop.spec, "models": [{"path": "models/t.sql", "sql": slow}]}
    command = [sys.executable, "-m", "jobs.engine.movers", "models", "--folder", str(shop.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as mover:
        assert mover.stdin is not None
        mover.stdin.write(json.dumps(spec))
        mover.stdin.close()

        def statements() -> int:
            found = server.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'eltsite%' AND state = 'active'"
                " AND query LIKE 'INSERT%' AND datname = current_database()"
            ).fetchone()
            return int(found[0]) if found else 0

        wait_until(lambda: statements() == 1)
        mover.kill()
    wait_until(lambda: statements() == 0)
    assert server.execute("SELECT count(*) FROM shop.t").fetchone() == (30,)


def test_the_demos_models_are_portable(postgres_place: Place, server: Server) -> None:
    server.execute(f"SET ROLE {ROLE}")
    server.execute("""
        CREATE TABLE shop.customers (customer_id bigint, name text, country text);
        CREATE TABLE shop.products (product_id bigint, category text, cost numeric(10, 2));
        CREATE TABLE shop.orders (order_id bigint, customer_id bigint, product_id bigint, channel text, status text,
            ordered_at timestamp, quantity bigint, unit_price numeric(10, 2), discount numeric(4, 2));
        INSERT INTO shop.customers VALUES (1, 'Zoë', 'FR'), (2, 'Noor', 'DE');
        INSERT INTO shop.products VALUES (1, 'Tea', 3.00);
        INSERT INTO shop.orders VALUES (1, 1, 1, 'web', 'completed', '2025-01-01 10:00', 2, 10.00, 0.10),
            (2, 1, 1, 'web', 'cancelled', '2025-01-01 11:00', 2, 10.00, 0.10)
    """)
    postgres_place.models = {
        path.removeprefix("models/"): text.decode() for path, text in demo_shop.model_files().items()
    }
    ended = postgres_place.run("models")
    assert ended.exit_code == 0, ended.events
    assert str(server.execute("SELECT revenue, margin FROM shop.daily_sales").fetchall()) == (
        "[(Decimal('18.00'), Decimal('12.00'))]"
    )
    tiers = server.execute("SELECT tier, orders FROM shop.customer_value ORDER BY customer_id").fetchall()
    assert tiers == [("bronze", 1), ("none", 0)]
