"""The types of text: a CSV value has none, so they are guessed, and every later value is held against the guess.

DuckDB casts '1.5' to the integer 2, '1.239' to the decimal 1.24, '007' to 7 and drops the zone of
'2024-01-05T10:00:00+02:00': so each cast is guarded by a condition under which the value keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from jobs.engine.movers.quoting import ident, text
from jobs.engine.movers.types import DECIMAL, INTEGERS, SIGNED_FOR, ZONED, decimal_for

FEW_ROWS = 1000
DOUBLE_DIGITS = 17  # a number of more has digits that a double does not keep
DOUBLE_LENGTH = 25  # the same with an exponent
LONG_SCALE = 9  # with more digits after the point it may be a double that was printed
MARK = "eltsite-guess:"  # begins the error of a guarded cast
WHOLE = r"0|-?[1-9][0-9]*"
DECIMALS = r"-?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)"
FLOATING = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?inf|-?infinity|nan|-?Infinity|-?Inf|NaN"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
INSTANT = f"{DAY}({CLOCK})?"
ZONED_INSTANT = f"{DAY}{CLOCK} ?(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)"


def _matches(column: str, pattern: str) -> str:
    return f"regexp_full_match({column}, {text(pattern)})"


def _is_within_double(column: str) -> str:
    """The condition under which a number has no more digits than a double keeps. Cheap ones first: they decide mostly."""
    below_one = f"strlen({column}) <= {DOUBLE_DIGITS + 2} AND {column} >= '0.' AND {column} < '0/'"
    signs = f"CAST(contains({column}, '.') AS INTEGER) + CAST({column} < '0' AS INTEGER)"
    digits = f"length(replace(ltrim(rtrim({column}, '0'), '-0.'), '.', ''))"
    with_exponent = f"length({column}) <= {DOUBLE_LENGTH} AND (contains({column}, 'e') OR contains({column}, 'E'))"
    few = [f"{length} <= {DOUBLE_DIGITS}" for length in (f"strlen({column})", f"strlen({column}) - ({signs})", digits)]
    return f"({few[0]} OR ({below_one}) OR {few[1]} OR {few[2]} OR ({with_exponent}))"


KINDS = ("number", "boolean", "time")
KIND_OF = {
    "BIGINT": "number",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "DATE": "time",
    "TIMESTAMP": "time",
    ZONED: "time",
}


def _facts(name: str, kinds: Sequence[str]) -> list[str]:
    """The aggregates that decide one column's type, in the order `_choose` takes them; 0 for what cannot be."""
    c = ident(name)
    is_decimal = _matches(c, DECIMALS)
    after_point = f"CASE WHEN contains({c}, '.') THEN length({c}) - instr({c}, '.') ELSE 0 END"
    before_point = f"length(ltrim(split_part({c}, '.', 1), '-'))"
    is_double = f"TRY_CAST({c} AS DOUBLE) IS NOT NULL AND {_is_within_double(c)}"
    number = [
        f"count_if({_matches(c, WHOLE)} AND TRY_CAST({c} AS BIGINT) IS NOT NULL)",
        f"count_if({is_decimal})",
        f"coalesce(max(CASE WHEN {is_decimal} THEN {after_point} END), 0)",
        f"coalesce(max(CASE WHEN {is_decimal} THEN {before_point} END), 0)",
        f"count_if({_matches(c, FLOATING)} AND {is_double})",
        f"count_if(CAST(TRY_CAST({c} AS DOUBLE) AS VARCHAR) = {c})",
    ]
    boolean = [f"count_if(lower({c}) IN ('true', 'false'))"]
    time = [
        f"count_if({_matches(c, DAY)} AND TRY_CAST({c} AS DATE) IS NOT NULL)",
        f"count_if({_matches(c, INSTANT)} AND TRY_CAST({c} AS TIMESTAMP) IS NOT NULL)",
        f"count_if({_matches(c, ZONED_INSTANT)} AND TRY_CAST({c} AS TIMESTAMPTZ) IS NOT NULL)",
    ]
    groups = {"number": number, "boolean": boolean, "time": time}
    wanted = [fact if kind in kinds else "0" for kind in KINDS for fact in groups[kind]]
    return [f"count({c})", *wanted]


def _choose(facts: Sequence[int]) -> str:
    filled, whole, decimals, scale, digits, floating, printed, booleans, days, instants, zoned = facts
    if filled == 0:
        return "NULL"
    if whole == filled:
        return "BIGINT"
    if decimals == filled and scale > LONG_SCALE and printed == filled:
        return "DOUBLE"  # printed by a program that held doubles: nothing is lost
    if decimals == filled:
        # Digits without a point that no decimal holds are a name, not a quantity.
        return decimal_for(digits, scale) or ("DOUBLE" if scale and floating == filled else "VARCHAR")
    if floating == filled:
        return "DOUBLE"
    if booleans == filled:
        return "BOOLEAN"
    if days == filled:
        return "DATE"
    if instants == filled:
        return "TIMESTAMP"
    return ZONED if zoned == filled else "VARCHAR"


def guess(engine: Any, relation: str, names: Sequence[str], *, sample_rows: int, careful: bool) -> dict[str, str]:
    """The narrowest type of each text column of a relation that keeps the meaning of its values.

    A few rows tell what kinds of values there may be, the first `sample_rows` decide among those; when `careful`, all
    rows do. What a few rows show to be text stays text.
    """
    guessed = _guess(engine, f"(SELECT * FROM {relation} LIMIT {FEW_ROWS})", dict.fromkeys(names, KINDS))
    open_ones = {name: kind for name, kind in guessed.items() if kind != "VARCHAR"}
    kinds = {name: KINDS if kind == "NULL" else (KIND_OF.get(kind, "number"),) for name, kind in open_ones.items()}
    rest = relation if careful else f"(SELECT * FROM {relation} LIMIT {sample_rows})"
    return {**guessed, **_guess(engine, rest, kinds)}


def _guess(engine: Any, relation: str, kinds: Mapping[str, Sequence[str]]) -> dict[str, str]:
    if not kinds:
        return {}
    aggregates = [_facts(name, wanted) for name, wanted in kinds.items()]
    sql = "SELECT " + ", ".join(fact for facts in aggregates for fact in facts) + f" FROM {relation}"
    row = engine.execute(sql).fetchone()
    width = len(aggregates[0])
    return {name: _choose(row[i * width : (i + 1) * width]) for i, name in enumerate(kinds)}


def accepts(name: str, kind: str, value: str, *, given: bool) -> str:
    """The condition under which a text keeps its meaning as `kind`. `value` is what TRY_CAST made of it.

    `given`: a person chose the type, so the spelling may vary.
    """
    c = ident(name)
    kind = SIGNED_FOR.get(kind, kind)
    decimal = DECIMAL.fullmatch(kind)
    printed = f"CAST({value} AS VARCHAR) = {c}"
    conditions = [f"{value} IS NOT NULL"]
    if kind in INTEGERS:
        conditions = [*conditions, _matches(f"trim({c})", "[+-]?[0-9]+")] if given else [printed]
    elif decimal and given:
        conditions.append(_matches(f"trim({c})", rf"[+-]?[0-9]*(\.[0-9]{{0,{decimal[2]}}}0*)?"))
    elif decimal:
        conditions.append(f"(NOT contains({c}, '.') OR length({c}) - instr({c}, '.') <= {decimal[2]})")
        conditions += [f"NOT contains({c}, 'e')", f"NOT contains({c}, 'E')"]
    elif kind == "BOOLEAN" and not given:
        conditions = [f"lower({c}) IN ('true', 'false')"]
    elif kind == "DATE":
        conditions = [*conditions, f"length(trim({c})) <= 10"] if given else [printed]
    elif kind.startswith("TIMESTAMP") and kind != ZONED:
        unzoned = f"NOT regexp_matches(substr({c}, 11), '[Z+-]')" if given else _matches(c, INSTANT)
        conditions = [f"({printed} OR ({value} IS NOT NULL AND {unzoned}))"]
    elif kind == "DOUBLE" and not given:
        conditions.append(_is_within_double(c))
    return " AND ".join(conditions)


def typed(relation: str, kinds: Mapping[str, str], *, given: Set[str]) -> tuple[str, dict[str, str]]:
    """A relation of text columns, each cast once, and the expression of each column's value in its type.

    A value that would change its meaning is an error that begins with MARK.
    """
    casts, expressions = [], {}
    for number, (name, kind) in enumerate(kinds.items()):
        c, value = ident(name), ident(f"_eltsite_value_{number}")
        if kind == "VARCHAR":
            expressions[name] = c
            continue
        casts.append(f"TRY_CAST({c} AS {kind}) AS {value}")
        condition = accepts(name, kind, value, given=name in given)
        expressions[name] = f"CASE WHEN {c} IS NULL OR ({condition}) THEN {value} ELSE error({text(MARK + name)}) END"
    return (f"(SELECT {', '.join(['*', *casts])} FROM {relation})" if casts else relation), expressions


def misfits(types: Mapping[str, str], *, given: Set[str]) -> list[tuple[str, str]]:
    """Per column of text that is to have a type: the condition that finds a value which does not fit."""
    found = []
    for name, kind in types.items():
        if kind != "VARCHAR":
            condition = accepts(name, kind, f"TRY_CAST({ident(name)} AS {kind})", given=name in given)
            found.append((name, f"{ident(name)} IS NOT NULL AND NOT coalesce(({condition}), false)"))
    return found
