"""The table of types: what holds what. Pure."""

from __future__ import annotations

import itertools

import duckdb
import pytest

from jobs.engine.movers import types

NUMBERS = {
    "TINYINT": ("-128", "127"),
    "SMALLINT": ("-32768", "32767"),
    "INTEGER": ("-2147483648", "2147483647"),
    "BIGINT": ("-9223372036854775808", "9223372036854775807"),
    "UTINYINT": ("0", "255"),
    "USMALLINT": ("0", "65535"),
    "UINTEGER": ("0", "4294967295"),
    "UBIGINT": ("0", "18446744073709551615"),
    "DECIMAL(4,2)": ("-99.99", "99.99"),
    "DECIMAL(18,3)": ("-999999999999999.999", "999999999999999.999"),
    "DECIMAL(38,10)": ("-9999999999999999999999999999.9999999999", "0.0000000001"),
}
OTHERS = ("BOOLEAN", "VARCHAR", "BLOB", "DATE", "TIMESTAMP", types.ZONED, "TIME", "UUID", "JSON", "DOUBLE", "FLOAT")


@pytest.mark.parametrize(("old", "new"), list(itertools.product(NUMBERS, NUMBERS)))
def test_the_wider_type_holds_the_limits_of_both(old: str, new: str):
    wider = types.widen(old, new)
    assert wider == types.widen(new, old)
    assert wider is not None
    if wider == "DOUBLE":  # the end of the chain, where no decimal holds both
        assert "DECIMAL" in old or "DECIMAL" in new
        return
    for kind in (old, new):
        for value in NUMBERS[kind]:
            same = f"SELECT CAST(CAST('{value}' AS {kind}) AS {wider}) = CAST('{value}' AS {kind})"
            assert duckdb.sql(same).fetchall() == [(True,)]


@pytest.mark.parametrize(("old", "new"), list(itertools.product([*NUMBERS, *OTHERS], repeat=2)))
def test_widening_is_stable(old: str, new: str):
    wider = types.widen(old, new)
    assert (wider is None) == (types.widen(new, old) is None)
    assert types.widen(old, old) == old and types.widen("NULL", new) == new and types.widen(old, "NULL") == old
    if wider is not None:
        assert types.widen(wider, old) == types.widen(wider, new) == wider


@pytest.mark.parametrize("kind", [*NUMBERS, *OTHERS, "HUGEINT", "INTEGER[]", "STRUCT(a INTEGER)", "TIMESTAMP_NS"])
def test_a_second_load_into_postgres_widens_nothing(kind: str):
    """What PostgreSQL made of a type is wide enough for the same type coming again."""
    landed = types.landed(kind)
    assert types.widen(landed, types.landed(kind)) == landed
    assert types.to_postgres(landed) == types.to_postgres(kind) or landed == "NUMERIC"


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("int", "INTEGER"),
        ("varchar(20)", "VARCHAR"),
        (" numeric( 10 , 2 ) ", "DECIMAL(10,2)"),
        ("decimal(5)", "DECIMAL(5,0)"),
        ("timestamp with time zone", types.ZONED),
        ("timestamptz", types.ZONED),
        ("decimal(99,2)", None),
        ("integer; drop table x", None),
        ("struct(a int)", None),
        ("", None),
    ],
)
def test_types_that_people_write(written: str, kind: str | None):
    assert types.normal(written) == kind
