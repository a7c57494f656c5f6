"""Values of PostgreSQL that are easily changed on the way, from it and into it."""

from __future__ import annotations

import math

import pytest

from tests.unit.movers.conftest import Server, Workspace, tap_files, to_duckdb

TEXTS = [
    *("", " ", "  padded  ", "NULL", "null", r"\N", r"\.", ".", "a\\b", "\\", "\\\\n", "tab\there"),
    *("line\nfeed", "carriage\rreturn", "both\r\n", "\n", '"', '""', "'", "a,b", 'say "hi", twice\n', "%s %d", "{}"),
    *("ü ß € 漢字", "🙂 e\u0301", "\u00a0", "\u2028", "\ufeff", "#", "--", "x" * 100_000, None),
]
FIELDS = {
    "price numeric(12,4)": ["0.0001", "-99999999.9999", None],
    "open numeric": ["12345678901234567890.123456789", "-0.5", None],
    "flag boolean": ["true", "false", None],
    "day date": ["1969-12-31", "0001-01-01", "infinity"],
    "at timestamp": ["1969-12-31 23:59:59.999999", "infinity", "-infinity"],
    "zoned timestamptz": ["1900-01-01 00:00:00+00", "2024-03-31 02:30:00+01", "infinity"],
    "clock time": ["00:00:00", "23:59:59.999999", None],
    "spell interval": ["1 year -2 mons 3 days -04:05:06.789", "-1 day", "00:00:00.000001"],
    "ratio double precision": ["NaN", "-Infinity", "0.1"],
    "small real": ["NaN", "Infinity", "0.1"],
    "ident uuid": ["6f1c8e52-0000-4000-8000-00000000000a", None, None],
    "raw bytea": ["\\x", "\\x00ff0a0d5c", None],
    "doc json": ['{"b":  1, "a": "x\\ny"}', "null", '"text"'],
    "docs jsonb": ['{"a": [1, {"b": "\\\\"}]}', "[]", None],
    "words text[]": ['{a,NULL,"",NULL}', '{"a,b","c\\"d","e\\\\f"}', "{}"],
    "grid int[]": ["{{1,2},{3,4}}", "{}", None],
    "prices numeric[]": ["{1.10,2.25}", None, None],
    "stamp timetz": ["10:00:00+02", None, None],
    "net inet": ["10.0.0.1/24", "::1", None],
    "span int4range": ["[1,5)", "empty", None],
}


def quoted(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def fill_texts(server: Server) -> None:
    server.run("CREATE TABLE texts (note text)")
    with server.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO texts VALUES (%s)", [[value] for value in TEXTS])


def fill_fields(server: Server) -> None:
    server.run(f"CREATE TABLE fields (id int, {', '.join(FIELDS)})")
    for row in range(3):
        values = ", ".join(quoted(values[row]) for values in FIELDS.values())
        server.run(f"INSERT INTO fields VALUES ({row}, {values})")


def sorted_texts(values: list[tuple]) -> list[str]:
    return sorted(repr(value) for (value,) in values)


def test_every_text_arrives_in_duckdb_as_it_is(place: Workspace, server: Server):
    """One column: a row without a value is an empty line on the way, and empty text is not."""
    fill_texts(server)
    place.load(server.tap({"table": "texts"}), to_duckdb())
    assert sorted_texts(place.query("SELECT note FROM shop.texts")) == sorted(map(repr, TEXTS))


@pytest.mark.parametrize("method", ["append", "replace"])
def test_every_text_arrives_in_postgres_as_it_is(place: Workspace, server: Server, method: str):
    fill_texts(server)
    tap = server.tap({"table": "texts"})
    place.load(tap, server.target(method))
    if method == "replace":
        place.load(tap, server.target(method))
    assert sorted_texts(server.run("SELECT note FROM shop.texts")) == sorted(map(repr, TEXTS))


def test_every_text_arrives_in_postgres_from_files_as_it_is(place: Workspace, server: Server):
    fill_texts(server)
    place.load(
        server.tap({"table": "texts"}), {"plugin": "target-files", "name": "Out", "settings": {"path": "files/out"}}
    )
    place.load(tap_files({"stream": "back", "path": "out/**/*.parquet"}), server.target())
    assert sorted_texts(server.run("SELECT note FROM shop.back")) == sorted(map(repr, TEXTS))


@pytest.mark.parametrize("method", ["append", "replace", "merge"])
def test_every_type_arrives_in_postgres_as_it_is(place: Workspace, server: Server, method: str):
    fill_fields(server)
    tap = server.tap({"table": "fields", "primary_keys": ["id"]})
    place.load(tap, server.target(method))
    if method != "append":
        place.load(tap, server.target(method))

    types = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND attrelid ="
    assert server.run(f"{types} 'shop.fields'::regclass") == server.run(f"{types} 'public.fields'::regclass")
    rows = "SELECT t::text FROM {}.fields t ORDER BY id"
    assert server.run(rows.format("shop")) == server.run(rows.format("public"))


def test_every_type_arrives_in_duckdb_with_its_meaning(place: Workspace, server: Server):
    fill_fields(server)
    place.load(server.tap({"table": "fields"}), to_duckdb())

    def column(name: str) -> list[str | None]:
        return [row[0] for row in place.query(f'SELECT "{name}"::VARCHAR FROM shop.fields ORDER BY id')]

    assert column("price") == ["0.0001", "-99999999.9999", None]
    assert column("open") == ["12345678901234567890.123456789", "-0.500000000", None]
    assert column("day") == ["1969-12-31", "0001-01-01", "infinity"]
    assert column("at") == ["1969-12-31 23:59:59.999999", "infinity", "-infinity"]
    assert column("zoned") == ["1900-01-01 00:00:00+00", "2024-03-31 01:30:00+00", "infinity"]
    assert column("ident") == ["6f1c8e52-0000-4000-8000-00000000000a", None, None]
    assert column("doc") == ['{"b":  1, "a": "x\\ny"}', "null", '"text"']
    assert column("words") == ['["a", null, "", null]', '["a,b", "c\\"d", "e\\\\f"]', "[]"]
    assert column("grid") == ["[[1, 2], [3, 4]]", "[]", None]
    assert column("prices") == ["[1.10, 2.25]", None, None]
    assert column("span") == ["[1,5)", "empty", None]
    assert [row[0] for row in place.query("SELECT raw FROM shop.fields ORDER BY id")] == [b"", b"\x00\xff\n\r\\", None]
    ratios = [row[0] for row in place.query("SELECT ratio FROM shop.fields ORDER BY id")]
    assert math.isnan(ratios[0]) and ratios[1:] == [-math.inf, 0.1]
    assert place.types("fields")["spell"] in ("VARCHAR", "INTERVAL")


def test_times_before_our_era_stay_there(place: Workspace, server: Server):
    server.run("CREATE TABLE t (day date, moment timestamp, zoned timestamptz)")
    server.run("INSERT INTO t VALUES ('0044-03-15 BC', '0044-03-15 10:00:00.5 BC', '0044-03-15 10:00:00+00 BC')")
    place.load(server.tap({"table": "t"}), to_duckdb())
    assert place.query("SELECT day::VARCHAR, moment::VARCHAR, zoned::VARCHAR FROM shop.t") == [
        ("0044-03-15 (BC)", "0044-03-15 (BC) 10:00:00.5", "0044-03-15 (BC) 10:00:00+00")
    ]


def test_a_zero_byte_in_text_is_refused_by_postgres_by_name(place: Workspace, server: Server):
    place.write("t.jsonl", '{"id": 1, "note": "a\\u0000b"}\n')
    error = place.move(tap_files({"stream": "t", "path": "t.jsonl"}), server.target()).error
    assert error["code"] == "value-refused" and "0x00" in error["reason"]
    assert server.run("SELECT to_regclass('shop.t')") == [(None,)]


def test_names_that_need_quotes_and_percent_signs_arrive(place: Workspace, server: Server):
    server.run('CREATE TABLE "Od d%s" ("a b" int, "c""d" text, "%" int, "Ünit" int)')
    server.run("""INSERT INTO "Od d%s" VALUES (1, 'x', 2, 3)""")
    tap = server.tap({"stream": "Odd", "table": "Od d%s", "primary_keys": ["a b"]})
    for target in (server.target("merge"), to_duckdb("merge")):
        place.load(tap, target)
        place.load(tap, target)
    assert server.run('SELECT "a b", "c""d", "%", "Ünit" FROM shop.odd') == [(1, "x", 2, 3)]
    assert place.query('SELECT "a b", "c""d", "%", "Ünit" FROM shop.odd') == [(1, "x", 2, 3)]
