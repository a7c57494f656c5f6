"""Real taps and targets from the registry through a real worker: two runs each, and all rows where they belong."""

import json
import uuid

import duckdb
import pytest

from jobs import folders
from jobs.status import JobStatus
from pipelines.models import DataPlugin, PipelineStatus
from pipelines.services import save_component, save_pipeline, save_plugin
from tests.e2e.installation import until
from tests.e2e.sources import Api, Database, forwarded_postgres, order
from tests.e2e.test_run import log_of, rows_of, run

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

BUILD_SECONDS = 150  # on a cold cache, beside other tests
ORDERS = {
    "_select": ["shop-orders.*", "!shop-orders.secret"],
    "_metadata": {"shop-orders": {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}},
}


@pytest.fixture(scope="module")
def postgres_port():
    """A port that leads to the test's PostgreSQL server."""
    with forwarded_postgres() as port:
        yield port


@pytest.fixture
def database(postgres_url, postgres_port):
    """A shop to read from; loaders write beside it, into schemas of their own."""
    return Database(postgres_url, postgres_port)


@pytest.fixture
def data(shop):
    """The folder of the workspace's files."""
    return folders.of_workspace(shop) / "files"


def shipped(full_name):
    """A shipped plugin, such as tap-jsonl--celine-eu."""
    name, _, variant = full_name.partition("--")
    return DataPlugin.objects.get(name=name, variant=variant, workspace__isnull=True)


def component(workspace, plugin, properties, name=""):
    """A component; values that are no texts are written as JSON, as the API has them."""
    plugin = plugin if isinstance(plugin, DataPlugin) else shipped(plugin)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in properties.items()}
    return save_component(workspace, name=name or f"{plugin.name} {plugin.variant}", plugin=plugin, properties=texts)


def pipeline_of(workspace, label, tap, target, **properties):
    """A pipeline that was checked: its environments are built, its streams known."""
    made = save_pipeline(
        workspace,
        label=label,
        components=[tap, target],
        properties={name.replace("__", "."): value for name, value in properties.items()},
        timeout_seconds=600,
    )

    def is_settled():
        made.refresh_from_db()
        return made.status != PipelineStatus.PROVISIONING

    until(is_settled, seconds=BUILD_SECONDS, what="the check")
    assert made.status == PipelineStatus.READY, made.status_reason
    return made


def completed(pipeline):
    """A run that must end well."""
    job = run(pipeline)
    assert job.status == JobStatus.COMPLETE, f"{job.headline} {job.error}\n{log_of(job)}"
    return job


def streams_of(job):
    """What the job says of each stream."""
    return {stream["stream"]: stream for stream in job.streams}


def json_lines(path):
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_spreadsheet_tap_fills_json_lines_and_skips_the_file_that_has_not_changed(shop, data):
    sales = data / "sales.csv"
    sales.write_text("id,sold_on,amount\n" + "".join(f"{n},2026-01-01,{n * 2}\n" for n in range(1, 201)))
    (data / "shops.csv").write_text("id,name\n1,North\n2,South\n")
    (data / "other.csv").write_text("id\n1\n")
    names = {"sales": ["id"], "shops": ["id"], "other": ["id"]}
    files = [{"path": f"{n}.csv", "format": "csv", "table_name": n, "primary_keys": k} for n, k in names.items()]
    tap = component(shop, "tap-spreadsheets--celine-eu", {"files": files, "_select": ["sales.*", "shops.*"]})
    pipeline = pipeline_of(
        shop, "Sales", tap, component(shop, "target-jsonl--andyh1203", {"destination_path": "exports"})
    )

    first = completed(pipeline)
    assert (first.rows_read, first.rows_written) == (202, 202)
    assert {name: s["rows_written"] for name, s in streams_of(first).items()} == {"sales": 200, "shops": 2}
    assert {row["id"] for row in json_lines(data / "exports/sales.jsonl")} == {str(n) for n in range(1, 201)}
    assert not (data / "exports/other.jsonl").exists()

    with sales.open("a") as file:
        file.write("201,2026-01-02,402\n")
    second = completed(pipeline)
    assert second.rows_read == 201  # a changed file whole, the other one not at all
    assert len(json_lines(data / "exports/sales.jsonl")) == 401
    assert len(json_lines(data / "exports/shops.jsonl")) == 2


def test_postgresql_to_postgresql_by_meltanos_connectors_only_what_is_new(shop, database):
    tap = component(
        shop,
        "tap-postgres--meltanolabs",
        {**database.settings("database"), "filter_schemas": ["shop"], **ORDERS},
    )
    target = component(
        shop, "target-postgres--meltanolabs", {**database.settings("database"), "default_target_schema": "raw"}
    )
    pipeline = pipeline_of(shop, "Copy", tap, target)

    first = completed(pipeline)
    assert (first.rows_read, first.rows_written) == (500, 500)
    assert database.rows("select count(*), sum(amount) from raw.orders") == [(500, sum(range(501)) * 1.25)]
    tables = "select table_name, column_name from information_schema.columns where table_schema = 'raw'"
    found = database.rows(tables)
    assert {table for table, _ in found} == {"orders"}
    assert "updated_at" in dict.fromkeys(column for _, column in found)
    assert "secret" not in {column for _, column in found}

    database.add_orders(501, 520)
    database.execute("UPDATE shop.orders SET status = 'gone', updated_at = '2026-06-01' WHERE id = 7")
    second = completed(pipeline)
    assert second.rows_read == 22  # the new ones, the changed one, and the one that the last run ended with
    assert database.rows("select count(*), count(distinct id) from raw.orders") == [(520, 520)]
    assert database.rows("select status from raw.orders where id = 7") == [("gone",)]


def test_a_rest_api_fills_the_warehouse_and_is_asked_for_what_is_new(shop):
    with Api() as api:
        stream = {
            "name": "orders",
            "path": "/orders",
            "primary_keys": ["id"],
            "replication_key": "updated_at",
            "source_search_field": "since",
            "source_search_query": "$$last_run_date",
        }
        customers = {"name": "customers", "path": "/customers", "primary_keys": ["id"]}
        settings = {"api_url": api.address, "streams": [stream, customers], "start_date": "2026-01-01T00:00:00"}
        tap = component(shop, "tap-rest-api-msdk--widen", {**settings, "_select": ["orders.*", "!orders.note"]})
        pipeline = pipeline_of(shop, "Web", tap, "Warehouse", Warehouse__load_method="merge")

        assert completed(pipeline).rows_written == 100
        facts = "select count(*), count(distinct id), sum(amount)::double from {schema}.orders"
        assert rows_of(shop, facts) == [(100, 100, pytest.approx(sum(row["amount"] for row in api.orders)))]
        columns = "select column_name from information_schema.columns where table_schema = '{schema}'"
        found = {name for (name,) in rows_of(shop, f"{columns} and table_name = 'orders'")}
        assert {"id", "amount", "updated_at"} <= found and "note" not in found

        api.orders += [order(number) for number in range(101, 121)]
        api.asked.clear()
        second = completed(pipeline)
        assert any("since=2026-01-01T01" in path for path in api.asked)
        assert second.rows_read < 30
        assert rows_of(shop, facts)[0][:2] == (120, 120)


def json_lines_pipeline(workspace, data, plugin, label):
    """JSON lines into a DuckDB file through a Singer target."""
    (data / "events.jsonl").write_text(
        "".join(json.dumps({"code": f"c{n}", "at": f"2026-01-01T00:00:{n % 60:02}Z", "n": n}) + "\n" for n in range(90))
    )
    settings = {"path": "events.jsonl", "stream_name": "events", "primary_keys": ["code"]}
    tap = component(workspace, "tap-jsonl--celine-eu", settings, name=f"{label} lines")
    target = component(workspace, plugin, {"filepath": f"{label}.duckdb"}, name=f"{label} file")
    return pipeline_of(workspace, label, tap, target)


def rows_in_file(data, name):
    """How many events are in a DuckDB file, and how many keys."""
    with duckdb.connect(str(data / name), read_only=True) as store:
        return store.execute("select count(*), count(distinct code) from main.events").fetchone()


def test_json_lines_to_duckdb_by_the_shipped_loader_and_again_without_doubling(shop, data):
    pipeline = json_lines_pipeline(shop, data, "target-duckdb--jwills", "kept")
    assert completed(pipeline).rows_written == 90
    assert rows_in_file(data, "kept.duckdb") == (90, 90)

    with (data / "events.jsonl").open("a") as file:
        file.write(json.dumps({"code": "new", "at": "2026-01-02T00:00:00Z", "n": 91}) + "\n")
    assert completed(pipeline).rows_read == 91  # this tap reads its file anew
    assert rows_in_file(data, "kept.duckdb") == (91, 91)


def test_a_loader_that_silently_loses_a_row_ends_the_job_as_error_and_the_state_stays(shop, data):
    definition = dict(shipped("target-duckdb--jwills").definition)
    settings = [{**setting} for setting in definition["settings"]]
    next(setting for setting in settings if setting["name"] == "add_metadata_columns")["value"] = False
    definition |= {"variant": "losing", "pipUrl": "target-duckdb==0.8.0 duckdb==2.0.0", "settings": settings}
    for key in ("id", "store"):
        definition.pop(key)
    store = shipped("target-duckdb--jwills").definition["store"]
    losing = save_plugin(shop, plugin_id=uuid.uuid4(), definition={**definition, "store": store})
    pipeline = json_lines_pipeline(shop, data, losing, "lost")

    job = run(pipeline)
    assert rows_in_file(data, "lost.duckdb") == (89, 89)
    assert job.status == JobStatus.ERROR
    assert "missing" in job.headline and "events" in job.headline
    assert job.error["code"] == "rows-missing"
    assert "exit code 0" in job.error["reason"]
    assert run(pipeline).rows_read == 90  # nothing was taken as done


def test_postgresql_by_meltanos_tap_into_the_warehouse(shop, database):
    tap = component(
        shop, "tap-postgres--meltanolabs", {**database.settings("database"), "filter_schemas": ["shop"], **ORDERS}
    )
    pipeline = pipeline_of(shop, "Orders", tap, "Warehouse", Warehouse__load_method="merge")
    facts = "select count(*), count(distinct id), sum(amount)::double from {schema}.shop_orders"
    assert completed(pipeline).rows_written == 500
    assert rows_of(shop, facts) == [(500, 500, sum(range(501)) * 1.25)]

    database.add_orders(501, 530)
    assert completed(pipeline).rows_read == 31
    assert rows_of(shop, facts) == [(530, 530, sum(range(531)) * 1.25)]
    assert rows_of(shop, "select count(*) from information_schema.columns where column_name = 'secret'") == [(0,)]


def test_the_built_in_sql_reader_into_postgresql_by_meltanos_loader(shop, database):
    table = {"stream": "orders", "schema": "shop", "table": "orders", "primary_keys": ["id"]}
    incremental = {"replication_method": "INCREMENTAL", "replication_key": "id", "columns": ["id", "amount", "note"]}
    settings = {"dialect": "postgresql", **database.settings("database"), "tables": [table | incremental]}
    tap = component(shop, "tap-sql--eltsite", settings)
    target = component(
        shop, "target-postgres--meltanolabs", {**database.settings("database"), "default_target_schema": "raw"}
    )
    pipeline = pipeline_of(shop, "Export", tap, target)
    facts = "select count(*), count(distinct id), count(note), sum(amount)::float8 from raw.orders"

    assert completed(pipeline).rows_written == 500
    assert database.rows(facts) == [(500, 500, 500 - 500 // 7, sum(range(501)) * 1.25)]
    database.add_orders(501, 510)
    second = completed(pipeline)
    assert second.rows_read in (10, 11)  # the last row of the first run may come once more
    assert database.rows(facts) == [(510, 510, 510 - 510 // 7, sum(range(511)) * 1.25)]


def test_postgresql_by_pipelinewises_tap_into_the_built_in_postgresql_loader(shop, database):
    metadata = {"shop-orders": {"replication-method": "INCREMENTAL", "replication-key": "id"}}
    tap = component(
        shop,
        "tap-postgres--transferwise",
        {
            **database.settings("dbname"),
            "filter_schemas": "shop",
            "_select": ["shop-orders.*", "!shop-orders.secret"],
            "_metadata": metadata,
        },
    )
    target = component(shop, "target-postgres--eltsite", {**database.settings("database"), "schema": "raw"})
    pipeline = pipeline_of(shop, "Wise", tap, target, **{f"{target.name}.load_method": "merge"})
    facts = "select count(*), count(distinct id), sum(amount)::float8 from raw.shop_orders"

    assert completed(pipeline).rows_written == 500
    assert database.rows(facts) == [(500, 500, sum(range(501)) * 1.25)]
    database.add_orders(501, 512)
    second = completed(pipeline)
    assert second.rows_read in (12, 13)  # this tap reads the last row once more
    assert database.rows(facts) == [(512, 512, sum(range(513)) * 1.25)]
