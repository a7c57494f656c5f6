"""Columns as JSON has them: the JSON Schema of a type, and the SQL that writes a value as JSON text. Pure.

The text is put together from its pieces, for to_json would keep 17 digits of a number inside JSON, and 0.1 of a
FLOAT would become 0.10000000149011612. Values that JSON has no word for end the statement by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.engine.movers import failures, types
from jobs.engine.movers.ports import Column
from jobs.engine.movers.quoting import ident, text

# Python programs check multipleOf with decimals of 28 digits: with more the check itself fails.
CHECKED_DIGITS = 28
BITS = {
    **{"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63, "HUGEINT": 127},
    **{"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128},
}
ANYTHING = ["null", "object", "array", "string", "number", "boolean"]
DAYS = "DATE '0001-01-01' AND DATE '9999-12-31'"
INSTANTS = "TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"
NO_DATE = "infinity or a year that is not one of 0001 to 9999, which JSON has no date for"
NO_NUMBER = "nan or infinity, which JSON has no number for"
NOT_JSON = "text that is almost JSON, but not quite: nan, infinity or a comma too many"
# DuckDB reads these as JSON too.
LENIENT = text(r"(?i)nan|inf|,\s*[\]}]")
STRINGS = text(r'"(\\.|[^"\\])*"')


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema of a DuckDB type. Everything may be null."""
    found = types.DECIMAL.fullmatch(kind)
    if found:
        digits, scale = int(found[1]), int(found[2])
        step = {"multipleOf": float(f"1e-{scale}") if scale else 1} if digits <= CHECKED_DIGITS else {}
        return {"type": ["null", "number"], **step}
    if kind in BITS:
        highest = (1 << BITS[kind]) - 1
        # Without bounds some targets make a column of 32 bits.
        return {"type": ["null", "integer"], "minimum": 0 if kind[0] == "U" else -highest - 1, "maximum": highest}
    if kind in types.FLOATS:
        return {"type": ["null", "number"]}
    if kind == "BOOLEAN":
        return {"type": ["null", "boolean"]}
    if kind == "JSON" or types.is_nested(kind):
        return {"type": list(ANYTHING)}
    return {"type": ["null", "string"], **_string(kind)}


def _string(kind: str) -> dict[str, Any]:
    if kind in types.TIMESTAMPS or kind == types.ZONED:
        return {"format": "date-time"}
    if kind == "BLOB":
        return {"contentEncoding": "base64"}
    return (
        {"format": {"DATE": "date", "TIME": "time", "UUID": "uuid"}[kind]} if kind in ("DATE", "TIME", "UUID") else {}
    )


def object_schema(columns: Sequence[Column]) -> dict[str, Any]:
    """The JSON Schema of a row."""
    return {"type": "object", "properties": {column.name: schema_of(column.type) for column in columns}}


def value_of(name: str, kind: str) -> str:
    """The SQL expression of a column's value as JSON text, never NULL.

    Instants without a zone are UTC, as everywhere here.
    """
    return f"coalesce({_text_of(name, kind)}, 'null')"


def _text_of(name: str, kind: str) -> str:
    c = ident(name)
    if kind in types.FLOATS:
        return _guarded(c, f"isfinite({c})", f"CAST({c} AS VARCHAR)", failures.refusal(name, NO_NUMBER))
    if kind in BITS or kind == "BOOLEAN" or types.DECIMAL.fullmatch(kind):
        return f"CAST({c} AS VARCHAR)"
    if kind == "DATE":
        day = f"concat('\"', CAST({c} AS VARCHAR), '\"')"
        return _guarded(c, f"{c} BETWEEN {DAYS}", day, failures.refusal(name, NO_DATE))
    if kind in types.TIMESTAMPS or kind == types.ZONED:
        instant = f"CAST({c} AS TIMESTAMP)" if kind == types.ZONED else c
        # Nanoseconds end in the year 2262, and DuckDB does not compare them with the year 1.
        is_date = f"isfinite({c})" if kind == "TIMESTAMP_NS" else f"{instant} BETWEEN {INSTANTS}"
        written = f"concat('\"', replace(CAST({instant} AS VARCHAR), ' ', 'T'), 'Z\"')"
        return _guarded(c, is_date, written, failures.refusal(name, NO_DATE))
    if kind == "BLOB":
        return f"'\"' || base64({c}) || '\"'"
    if kind == "JSON" or types.is_nested(kind):
        return _json(name, f"CAST({c if kind == 'JSON' else f'to_json({c})'} AS VARCHAR)")
    return f"CAST(to_json(CAST({c} AS VARCHAR)) AS VARCHAR)"


def _guarded(column: str, condition: str, value: str, refusal: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN NULL WHEN {condition} THEN {value} ELSE {refusal} END"


def _json(name: str, value: str) -> str:
    """A JSON value as it is, on one line: in JSON a line break stands between values only."""
    bare = f"regexp_replace({value}, {STRINGS}, '\"\"', 'g')"
    is_json = f"json_valid({value}) AND NOT (regexp_matches({value}, {LENIENT}) AND regexp_matches({bare}, {LENIENT}))"
    line = f"replace(replace({value}, chr(10), ' '), chr(13), ' ')"
    return _guarded(value, is_json, line, failures.refusal(name, NOT_JSON))


def record_of(stream: str, kinds: Mapping[str, str], *, present: Sequence[str]) -> str:
    """The SQL expression of a Singer RECORD line. `kinds` are the stream's columns; one that is not `present` is null."""
    pieces = [text(f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":{{')]
    for number, (name, kind) in enumerate(kinds.items()):
        pieces.append(text(f"{',' if number else ''}{json.dumps(name, ensure_ascii=False)}:"))
        pieces.append(value_of(name, kind) if name in present else "'null'")
    return f"concat({', '.join([*pieces, text('}}')])})"
