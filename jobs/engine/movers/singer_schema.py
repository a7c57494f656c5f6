"""A Singer SCHEMA as columns: which property becomes which column, of which type. Pure.

Types follow from what a schema allows, never from the values: a value that its column's type does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.types import MAX_DIGITS, ZONED, decimal_for

JOINT = "__"  # between the names of an object and its property, where objects are flattened
WHOLE = "record"  # the one column of a stream whose schema names no property
OPEN_SCALE = 18  # digits after the point of a decimal whose schema does not say how many it needs
BIGINT_MAX = 2**63 - 1
HUGEINT_MAX = 2**127 - 1
FORMATS = {"date-time": ZONED, "date": "DATE", "time": "TIME"}
MAX_COLUMNS = 10_000  # of a stream; flattened objects that refer to each other have no end of them
MAX_CHOICES = 100  # of types for a property; with more it may hold anything
MAX_DEPTH = 16  # of references and choices inside each other
DECIMAL_FORMAT = "singer.decimal"


@dataclass(frozen=True)
class Property:
    """A column of a stream. `form` is how its values are decoded: int, bool, text, raw (exact JSON), any (as text)."""

    path: tuple[str, ...]  # of names in the record
    name: str
    kind: str  # DuckDB's type
    form: str


@dataclass(frozen=True)
class StreamSchema:
    """What a SCHEMA message says. `is_whole`: the record as it is becomes the one column."""

    stream: str
    properties: tuple[Property, ...]
    keys: tuple[str, ...]
    is_whole: bool = False


def bad_schema(stream: str | None, line: int, reason: str, column: str | None = None) -> MoverError:
    """A SCHEMA message that makes no table."""
    return MoverError(
        f"Line {line} of the tap's output: the SCHEMA of stream {stream or '(none)'} cannot be used",
        reason=reason,
        remedy="Select other properties of the stream, or correct the tap.",
        code="singer-schema",
        stream=stream,
        line=line,
        column=column,
    )


def read_schema(message: Mapping[str, Any], *, line: int, flatten: bool) -> StreamSchema:
    """The columns of a stream. Raises MoverError: singer-schema, column-twice."""
    stream = message.get("stream")
    if not isinstance(stream, str) or not stream:
        raise bad_schema(None, line, "The message names no stream.")
    schema = message.get("schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        raise bad_schema(stream, line, "It has no properties, so there is no column to store a record in.")
    keys = message.get("key_properties") or ()
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise bad_schema(stream, line, "Its key_properties are not a list of names.")
    if not schema["properties"]:
        return StreamSchema(stream, (Property((), WHOLE, "JSON", "raw"),), tuple(keys), is_whole=True)
    properties = tuple(islice(_properties(schema["properties"], schema, flatten=flatten), MAX_COLUMNS + 1))
    if len(properties) > MAX_COLUMNS:
        raise bad_schema(stream, line, f"It has more than {MAX_COLUMNS:,} columns.")
    _refuse_twins(properties, stream, line)
    return StreamSchema(stream, properties, tuple(keys))


def _refuse_twins(properties: Sequence[Property], stream: str, line: int) -> None:
    """Columns of one name: properties that differ by case, or a flattened one that meets one that is written so."""
    taken: dict[str, Property] = {}
    for found in properties:
        if not found.name:
            raise bad_schema(stream, line, "A property has an empty name.")
        if (other := taken.setdefault(found.name.lower(), found)) is not found:
            raise MoverError(
                f"Stream {stream} has two properties named {found.name}",
                reason=f"{'.'.join(other.path)} and {'.'.join(found.path)} would be the same column: names must differ by"
                " more than their case.",
                remedy="Deselect one of them.",
                code="column-twice",
                stream=stream,
                line=line,
                column=found.name,
            )


def _properties(
    properties: Mapping[str, Any], root: Mapping[str, Any], *, flatten: bool, above: tuple[str, ...] = ()
) -> Iterable[Property]:
    for name, schema in properties.items():
        path = (*above, name)
        choices = alternatives(schema, root)
        inner = choices[0].get("properties") if len(choices) == 1 and choices[0].get("type") == "object" else None
        # An object that refers to itself has no bottom; six levels are as deep as columns get.
        if flatten and isinstance(inner, dict) and inner and len(path) < 6:
            yield from _properties(inner, root, flatten=True, above=path)
            continue
        kind, form = kind_of(choices)
        yield Property(path, JOINT.join(path), kind, form)


def alternatives(schema: Any, root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a schema allows, one type in each, without null. An empty one allows anything."""
    # References that lead back to themselves have no end of choices.
    found = list(islice(_choices(schema, root), MAX_CHOICES + 1))
    return [choice for choice in found if choice.get("type") != "null"] if len(found) <= MAX_CHOICES else [{}]


def _choices(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        yield {}
        return
    schema = _resolved(schema, root)
    for joined in schema.get("allOf") or ():
        schema = {**_resolved(joined, root), **{key: value for key, value in schema.items() if key != "allOf"}}
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            base = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            for member in schema[word]:
                yield from _choices({**base, **member} if isinstance(member, dict) else member, root, depth + 1)
            return
    kinds = schema.get("type")
    if kinds is None:
        kinds = "object" if "properties" in schema else "array" if "items" in schema else None
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        yield {**schema, "type": kind} if isinstance(kind, str) else {}


def _resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed, where that leads to a place in the same document."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        place = schema.get("$ref")
        if place is None:
            return schema
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        found: Any = root if isinstance(place, str) and place.startswith("#") else {}
        for step in str(place).lstrip("#").strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            found = (found.get(step) if step else found) if isinstance(found, dict) else None
        schema = {**found, **rest} if isinstance(found, dict) else rest
    return {}


def kind_of(choices: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The type and the form of a column for what its schema allows."""
    kinds = {choice.get("type") for choice in choices}
    if None in kinds or kinds & {"object", "array"}:
        return "JSON", "raw"
    if not kinds:
        return "VARCHAR", "any"
    if kinds == {"integer"}:
        return _integer_kind(choices)
    if kinds <= {"integer", "number"}:
        return _number_kind(choices), "raw"
    if kinds == {"boolean"}:
        return "BOOLEAN", "bool"
    texts = [choice for choice in choices if choice.get("type") == "string"]
    if kinds <= {"string", "integer", "number"} and all(text.get("format") == DECIMAL_FORMAT for text in texts):
        return _decimal_text_kind(texts), "any"
    if kinds == {"string"}:
        return _text_kind(texts), "text"
    return "VARCHAR", "any"


def _text_kind(choices: Sequence[Mapping[str, Any]]) -> str:
    formats = {str(choice.get("format")) for choice in choices}
    if formats == {"date", "date-time"}:
        return ZONED
    return FORMATS.get(formats.pop(), "VARCHAR") if len(formats) == 1 else "VARCHAR"


def _decimal_text_kind(choices: Sequence[Mapping[str, Any]]) -> str:
    digits, scale = choices[0].get("precision"), choices[0].get("scale")
    if isinstance(digits, int) and isinstance(scale, int) and 0 <= scale <= digits:
        return decimal_for(digits - scale, scale) or _open_decimal(scale)
    return _open_decimal(OPEN_SCALE)


def _open_decimal(scale: int) -> str:
    """As many digits as there are, for a schema that does not say how many it needs or needs too many."""
    return f"DECIMAL({MAX_DIGITS},{min(scale, OPEN_SCALE)})"


def _bounds(choices: Sequence[Mapping[str, Any]]) -> list[Decimal]:
    words = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    return [
        Decimal(choice[word])
        for choice in choices
        for word in words
        if isinstance(choice.get(word), int | Decimal) and not isinstance(choice[word], bool)
    ]


def _integer_kind(choices: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    bounds = _bounds(choices)
    if all(-BIGINT_MAX - 1 <= bound <= BIGINT_MAX + 1 for bound in bounds):
        return "BIGINT", "int"
    return ("HUGEINT", "raw") if all(abs(bound) <= HUGEINT_MAX for bound in bounds) else ("VARCHAR", "any")


def _number_kind(choices: Sequence[Mapping[str, Any]]) -> str:
    numbers = [choice for choice in choices if choice["type"] == "number"]
    steps = [choice.get("multipleOf") for choice in numbers]
    if not all(isinstance(step, int | Decimal) and not isinstance(step, bool) and step > 0 for step in steps):
        return "DOUBLE"
    scale = max(max(0, -int(Decimal(step or 1).normalize().as_tuple().exponent)) for step in steps)
    bounds = _bounds(numbers)
    if not bounds or len(numbers) != len(choices):
        return _open_decimal(scale)
    whole = max(len(str(int(abs(bound)))) for bound in bounds)
    # A bound such as 10**10 is one that is not reached.
    if all(str(int(abs(bound))).strip("0") == "1" for bound in bounds if len(str(int(abs(bound)))) == whole):
        whole = max(whole - 1, 1) if _are_open(numbers) else whole
    return decimal_for(whole, scale) or _open_decimal(scale)


def _are_open(choices: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the bounds themselves are no values: written as true by old drafts, as a number by new ones."""
    return all("exclusiveMaximum" in choice or "exclusiveMinimum" in choice for choice in choices)
