"""The one table of types. DuckDB's names are the language all readers and writers speak. Pure.

Two names are not DuckDB's: NULL is a column without any value, NUMERIC is PostgreSQL's numeric without limits.
"""

from __future__ import annotations

import re

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
SIGNED_FOR = {"UTINYINT": "SMALLINT", "USMALLINT": "INTEGER", "UINTEGER": "BIGINT", "UBIGINT": "HUGEINT"}
DIGITS = {
    **{"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39},
    **{"UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20},
}
FLOATS = ("FLOAT", "DOUBLE")
TIMESTAMPS = ("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
ZONED = "TIMESTAMP WITH TIME ZONE"
MAX_DIGITS = 38
SHORT_DIGITS = 18  # a decimal up to here is stored in eight bytes
DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
ALIASES = {
    "INT": "INTEGER",
    "INT1": "TINYINT",
    "INT2": "SMALLINT",
    "INT4": "INTEGER",
    "INT8": "BIGINT",
    "INTEGER": "INTEGER",
    "LONG": "BIGINT",
    "BOOL": "BOOLEAN",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
    "CHAR": "VARCHAR",
    "REAL": "FLOAT",
    "FLOAT4": "FLOAT",
    "FLOAT8": "DOUBLE",
    "NUMERIC": "DECIMAL(18,3)",
    "DECIMAL": "DECIMAL(18,3)",
    "BYTEA": "BLOB",
    "BINARY": "BLOB",
    "DATETIME": "TIMESTAMP",
    "TIMESTAMPTZ": ZONED,
}
NAMEABLE = {
    *INTEGERS,
    *SIGNED_FOR,
    *FLOATS,
    *TIMESTAMPS,
    ZONED,
    "BOOLEAN",
    "VARCHAR",
    "BLOB",
    "DATE",
    "TIME",
    "UUID",
    "JSON",
}

TO_POSTGRES = {
    "BOOLEAN": "boolean",
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "numeric(39,0)",
    "UTINYINT": "smallint",
    "USMALLINT": "integer",
    "UINTEGER": "bigint",
    "UBIGINT": "numeric(20,0)",
    "UHUGEINT": "numeric(39,0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "BLOB": "bytea",
    "DATE": "date",
    "TIME": "time without time zone",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP_S": "timestamp without time zone",
    "TIMESTAMP_MS": "timestamp without time zone",
    "TIMESTAMP_NS": "timestamp without time zone",
    ZONED: "timestamp with time zone",
    "UUID": "uuid",
    "JSON": "jsonb",
    "INTERVAL": "interval",
    "NUMERIC": "numeric",
    "NULL": "text",
}
FROM_POSTGRES = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "oid": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": ZONED,
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
}  # all others arrive as text, arrays and composites as JSON


def normal(name: str) -> str | None:
    """A type a person may write in a setting, by its DuckDB name; None when there is no such type."""
    upper = " ".join(name.upper().split())
    found = re.fullmatch(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", upper)
    if found:
        digits, scale = int(found[1]), int(found[2] or 0)
        return f"DECIMAL({digits},{scale})" if 1 <= digits <= MAX_DIGITS and scale <= digits else None
    upper = re.sub(r"\(\d+\)$", "", upper) if upper.startswith(("VARCHAR", "CHAR")) else upper
    upper = ALIASES.get(upper, upper)
    return upper if upper in NAMEABLE or DECIMAL.fullmatch(upper) else None


def stored(name: str) -> str:
    """The type a DuckDB column gets for values of this type, in a file that duckdb 1.0 can open."""
    if name == "NULL" or name.startswith("ENUM") or name in ("BIGNUM", "BIT", "GEOMETRY", "VARIANT", "TIME_NS"):
        return "VARCHAR"
    return name


def is_nested(name: str) -> bool:
    """Whether values of this type hold others."""
    return name.endswith("]") or name.startswith(("STRUCT", "MAP", "UNION"))


def decimal_for(whole: int, scale: int) -> str | None:
    """The decimal that holds so many digits before and after the point; None when there is none."""
    whole = max(whole, 1)
    if whole + scale <= SHORT_DIGITS:
        return f"DECIMAL({SHORT_DIGITS},{scale})"
    return f"DECIMAL({MAX_DIGITS},{scale})" if whole + scale <= MAX_DIGITS else None


def widen(old: str, new: str) -> str | None:
    """The narrowest type that holds the values of both: int, bigint, decimal, double; date, timestamp.

    None where only text would do: that is the caller's to allow or refuse.
    """
    if old == new or new == "NULL":
        return old
    if old == "NULL":
        return new
    if _is_integer(old) and _is_integer(new):
        return max(SIGNED_FOR.get(old, old), SIGNED_FOR.get(new, new), key=INTEGERS.index)
    if _is_number(old) and _is_number(new):
        return _widen_numbers(old, new)
    if {old, new} <= {"DATE", *TIMESTAMPS}:
        return max(old, new, key=("DATE", *TIMESTAMPS).index) if "DATE" not in (old, new) else _instant(old, new)
    if "JSON" in (old, new) and is_nested(new if old == "JSON" else old):
        return "JSON"
    return None


def _is_integer(name: str) -> bool:
    return name in INTEGERS or name in SIGNED_FOR


def _is_number(name: str) -> bool:
    return _is_integer(name) or name in FLOATS or name == "NUMERIC" or DECIMAL.fullmatch(name) is not None


def _instant(old: str, new: str) -> str:
    """A date beside a timestamp becomes a timestamp, fine enough for both."""
    finer = new if old == "DATE" else old
    return "TIMESTAMP" if finer in ("TIMESTAMP_S", "TIMESTAMP_MS") else finer


def _widen_numbers(old: str, new: str) -> str:
    if old in FLOATS or new in FLOATS:
        return "DOUBLE"
    if "NUMERIC" in (old, new):
        return "NUMERIC"
    (whole, scale), (other_whole, other_scale) = _digits(old), _digits(new)
    scale = max(scale, other_scale)
    digits = max(whole, other_whole) + scale
    return f"DECIMAL({digits},{scale})" if digits <= MAX_DIGITS else "DOUBLE"


def _digits(name: str) -> tuple[int, int]:
    """Digits before and after the point."""
    found = DECIMAL.fullmatch(name)
    return (int(found[1]) - int(found[2]), int(found[2])) if found else (DIGITS[name], 0)


def to_postgres(name: str) -> str:
    """The PostgreSQL type for values of a DuckDB type."""
    found = DECIMAL.fullmatch(name)
    if found:
        return f"numeric({found[1]},{found[2]})"
    return TO_POSTGRES.get(name) or ("jsonb" if is_nested(name) else "text")


def landed(name: str) -> str:
    """The DuckDB type of what PostgreSQL stores for values of a DuckDB type."""
    native = to_postgres(name)
    found = re.fullmatch(r"numeric\((\d+),(\d+)\)", native)
    if found:
        return f"DECIMAL({found[1]},{found[2]})" if int(found[1]) <= MAX_DIGITS else "NUMERIC"
    back = {"smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT", "jsonb": "JSON", "numeric": "NUMERIC"}
    if native in back:
        return back[native]
    return "TIMESTAMP" if native == TO_POSTGRES["TIMESTAMP"] else name


def from_postgres(type_name: str, modifier: int, *, category: str = "") -> str:
    """The DuckDB type for values of a PostgreSQL type: its typname, its modifier, and typcategory."""
    if type_name == "numeric":
        if modifier < 4:
            return "NUMERIC"
        digits, scale = ((modifier - 4) >> 16) & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 1024) - 1024
        return f"DECIMAL({digits},{scale})" if digits <= MAX_DIGITS and 0 <= scale <= digits else "NUMERIC"
    if category in ("A", "C"):
        return "JSON"
    return FROM_POSTGRES.get(type_name, "VARCHAR")
