"""Values of records in the types of their columns: as Arrow where they have them, else as text under a guard.

DuckDB rounds, cuts and shifts in silence; so each cast of text holds a condition under which the value keeps its
meaning, and where it does not hold the statement ends with the line, the column and the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.movers import failures
from jobs.engine.movers.guesses import CLOCK, DAY
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import text
from jobs.engine.movers.types import DECIMAL, ZONED

LINE = "line"  # of the tap's output: a stage's first column
SAFE_LENGTH = 15  # digits that every double keeps
FINE_CLOCK = CLOCK.replace("{1,6}", "{1,6}0*")
OFFSET = "[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?"  # from UTC: no place was ever farther from it
INSTANT = f"{DAY}({FINE_CLOCK} ?(Z|UTC|{OFFSET})?)?"
MIDNIGHT = r"[T ]00:00(:00(\.0+)?)?(Z|[+-]00(:?00)?)?"
TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?(Z|[+-]00(:?00)?)?"
INTEGER = r"[+-]?[0-9]+(\.0+)?([eE]\+?[0-9]+)?"
NO_FINITE = r"[+-]?(nan|inf|infinity)"
REFUSED = re.compile(r"eltsite-singer:(\d+):(\d+):(.*)", re.DOTALL)
ARROW = {"int": pa.int64(), "bool": pa.bool_(), "text": pa.string()}
_text = msgspec.json.Decoder(str)


def column_of(values: Sequence[Any], form: str, kind: str) -> tuple[pa.Array, bool]:
    """A column of values in Arrow, and whether it is in its own type already; if not, it is text to be cast.

    Raises UnicodeError or pa.ArrowInvalid for bytes that are not UTF-8.
    """
    if form in ARROW:
        try:
            return pa.array(values, ARROW[form]), form != "text" or kind == "VARCHAR"
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return pa.array([_plain(value) for value in values], pa.string()), kind == "VARCHAR"
    column = pa.array(list(map(bytes, values)), pa.binary()).cast(pa.string())
    column = pc.if_else(pc.equal(column, "null"), None, column)
    if kind == "JSON":
        return column, True
    if pc.any(pc.starts_with(column, '"')).as_py():
        unquoted = [None if v is None else _text.decode(v) if v[:1] == '"' else v for v in column.to_pylist()]
        column = pa.array(unquoted, pa.string())
    if DECIMAL.fullmatch(kind) and pc.any(pc.match_substring_regex(column, "[eE]")).as_py():
        column = pa.array([_written_out(value) for value in column.to_pylist()], pa.string())
    return column, kind == "VARCHAR"


def _plain(value: Any) -> str | None:
    """A value as JSON writes it, texts without their quotes."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written_out(value: str | None) -> str | None:
    """A number without an exponent."""
    try:
        return value if value is None or "e" not in value.lower() else format(Decimal(value), "f")
    except InvalidOperation:
        return value


def guarded(number: int, kind: str) -> tuple[str, str]:
    """For the n-th column, which is text: the cast, as an expression with a name, and its value under the guard."""
    c, value = f"c{number}", f"v{number}"
    source = f"left({c}, 10)" if kind == "DATE" else c
    refusal = f"error('eltsite-singer:' || {LINE} || ':{number}:' || left({c}, 200))"
    condition = f"{value} IS NOT NULL AND {_keeps(c, value, kind)}"
    return (
        f"TRY_CAST({source} AS {kind}) AS {value}",
        f"CASE WHEN {c} IS NULL THEN NULL WHEN {condition} THEN {value} ELSE {refusal} END",
    )


def _keeps(c: str, value: str, kind: str) -> str:
    """The condition under which a text means what its cast means."""
    decimal = DECIMAL.fullmatch(kind)
    if decimal:
        return _matches(c, rf"[+-]?[0-9]*(\.[0-9]{{0,{decimal[2]}}}0*)?")
    if kind == "DOUBLE":
        exact = f"(length({c}) <= {SAFE_LENGTH} OR {_is_printed(c, value)})"
        finite = f"(isfinite({value}) OR {_matches(f'lower({c})', NO_FINITE)})"
        return f"{exact} AND {finite} AND ({value} <> 0 OR {_digits(c)} = '')"
    if kind == "BOOLEAN":
        return f"lower({c}) IN ('true', 'false', '1', '0')"
    if kind in ("DATE", ZONED):
        pattern = f"{DAY}({MIDNIGHT})?" if kind == "DATE" else INSTANT
        return f"({_matches(c, pattern)} AND {value} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999')"
    return _matches(c, TIME if kind == "TIME" else INTEGER)


def _matches(c: str, pattern: str) -> str:
    return f"regexp_full_match({c}, {text(pattern)})"


def _digits(c: str) -> str:
    """The significant digits of a number's text."""
    return f"trim(replace(regexp_replace({c}, '[eE].*$', ''), '.', ''), '+-0')"


def _is_printed(c: str, double: str) -> str:
    """Whether a number's text is the double as programs print it: with as few digits as tell it, or with 17."""
    printed = (f"CAST({double} AS VARCHAR)", f"format('{{:.16e}}', {double})")
    return f"({printed[0]} = {c} OR {_digits(c)} IN ({', '.join(map(_digits, printed))}))"


def exact_as_double(number: int) -> str:
    """An integer or decimal column for a table whose column is a double: refused where that would round it."""
    c, double = f"c{number}", f"CAST(c{number} AS DOUBLE)"
    refusal = f"error('eltsite-singer:' || {LINE} || ':{number}:' || {c})"
    kept = _is_printed(f"CAST({c} AS VARCHAR)", double)
    return f"CASE WHEN {c} IS NULL THEN NULL WHEN {kept} THEN {double} ELSE {refusal} END"


def refused(error: Exception, names: Sequence[str], kinds: Sequence[str], stream: str) -> MoverError | None:
    """The named failure of a guard; None for other errors."""
    found = REFUSED.search(str(error))
    if found is None:
        return None
    line, number, value = int(found[1]), int(found[2]), found[3]
    return not_a(value, line=line, stream=stream, column=names[number], kind=kinds[number])


def not_a(value: str, *, line: int, stream: str, column: str, kind: str) -> MoverError:
    """A value that its column's type does not hold."""
    return MoverError(
        f'Line {line} of the tap\'s output: column {column} of stream {stream} holds "{failures.clip(value)}",'
        f" which is not a {kind}",
        reason="The type follows from the stream's schema, and storing the value would change it or lose it."
        " Nothing after the last stored state was committed.",
        remedy="Correct the value in the source, leave the property out, or have the tap declare another type for it.",
        code="value-refused",
        stream=stream,
        line=line,
        column=column,
    )
