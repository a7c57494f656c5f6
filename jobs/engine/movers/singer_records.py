"""Lines of one stream as records: a decoder made for its schema, and a patient one for what that does not take.

The decoder makes a struct of each record. Numbers, objects and arrays stay the text they are, so that no digit is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from jobs.engine.movers.singer_schema import Property, StreamSchema

NULL = Raw(b"null")
Path = tuple[str, ...]  # of names in a record
# Python writes these though JSON has none; a text is stepped over.
NO_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')
FORMS: dict[str, tuple[Any, Any]] = {
    "int": (int | None, None),
    "bool": (bool | None, None),
    "text": (str | None, None),
    "raw": (Raw, NULL),
    "any": (Raw, NULL),
}


class Loose(msgspec.Struct, gc=False):
    """A RECORD message of which nothing is known."""

    record: dict[str, Raw]
    version: Raw = NULL
    time_extracted: Raw = NULL


_loose = msgspec.json.Decoder(Loose)
_object = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)


class RecordShape:
    """How the records of a stream are decoded.

    A property that neither the schema nor `ignored` has is left to the patient decoder, so that none gets lost without
    a word: it adds its path to `unknown`. Not so where all are `tolerated`.
    """

    def __init__(
        self, schema: StreamSchema, *, with_times: bool, ignored: Sequence[Path] = (), tolerated: bool = False
    ) -> None:
        self.unknown: list[Path] = []
        self._schema = schema
        self._ignored = () if tolerated else tuple(ignored)
        self._tolerated = tolerated
        self._tree: dict[str, Any] = {}
        for found in schema.properties:
            branch = self._tree
            for name in found.path[:-1]:
                branch = branch.setdefault(name, {})
            if found.path:
                branch[found.path[-1]] = found
        self._attributes: dict[Path, str] = {}
        self.record_type: Any = Raw if schema.is_whole else self._struct(self._tree, ())
        times = [("time_extracted", str | None, None)] if with_times else []
        self.envelope_type = msgspec.defstruct(
            "Envelope", [("record", self.record_type), ("version", int | None, None), *times], gc=False
        )
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(self.envelope_type).decode
        self.decode_record: Callable[[bytes], Any] = msgspec.json.Decoder(self.record_type).decode
        self._with_times = with_times

    def _struct(self, tree: dict[str, Any], above: Path) -> Any:
        fields: list[tuple[str, Any, Any]] = []
        rename = {}
        for number, (name, found) in enumerate(tree.items()):
            attribute = f"f{number}"
            path = (*above, name)
            rename[attribute] = name
            prefix = f"{self._attributes[above]}." if above else ""
            self._attributes[path] = f"{prefix}{attribute}"
            if isinstance(found, dict):
                fields.append((attribute, self._struct(found, path) | None, None))
                continue
            kind, default = FORMS[found.form]
            if path in {(key,) for key in self._schema.keys}:  # a key that is missing is told from one that is null
                kind, default = kind | UnsetType if found.form not in ("raw", "any") else Raw | UnsetType, UNSET
            fields.append((attribute, kind, default))
        for number, path in enumerate(self._ignored):
            if path[:-1] == above and path[-1] not in tree:
                fields.append((f"i{number}", Raw, NULL))
                rename[f"i{number}"] = path[-1]
        return msgspec.defstruct("Record", fields, rename=rename, gc=False, forbid_unknown_fields=not self._tolerated)

    def values(self, found: Property, records: Sequence[Any]) -> list[Any]:
        """A column of many records."""
        if self._schema.is_whole:
            return list(records)
        path = self._attributes[found.path].split(".")
        column: list[Any] = list(map(attrgetter(path[0]), records))
        for step in path[1:]:
            column = [None if value is None else getattr(value, step) for value in column]
        if len(path) > 1 and found.form in ("raw", "any"):
            return [NULL if value is None else value for value in column]
        return column

    def decode_loosely(self, line: bytes) -> Any:
        """A RECORD message with values of other types than the schema has: they are kept as text, to be judged later.

        It may have other properties too.

        Raises msgspec.DecodeError or UnicodeDecodeError where it is no such message at all.
        """
        try:
            message = _loose.decode(line)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            message = _loose.decode(_quote_no_numbers(line))
        version = bytes(message.version).strip(b'"')
        found: Any = self.envelope_type(
            record=self._fill(self.record_type, self._tree, message.record),
            version=int(version) if re.fullmatch(rb"-?[0-9]+", version) else None,
        )
        if self._with_times and bytes(message.time_extracted)[:1] == b'"':
            found.time_extracted = _text.decode(message.time_extracted)
        return found

    def decode_record_loosely(self, line: bytes) -> Any:
        """A record by itself, as the files of a BATCH hold them."""
        try:
            record = _object.decode(line)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            record = _object.decode(_quote_no_numbers(line))
        return self._fill(self.record_type, self._tree, record)

    def _fill(self, kind: Any, tree: dict[str, Any], record: dict[str, Raw], above: Path = ()) -> Any:
        if self._schema.is_whole:
            return Raw(msgspec.json.encode(record))
        values: dict[str, Any] = {}
        for number, (name, found) in enumerate(tree.items()):
            raw = record.get(name)
            if raw is None:
                continue
            if isinstance(found, dict):
                inner = msgspec.structs.fields(kind)[number].type.__args__[0]
                is_null = bytes(raw) == b"null"
                values[f"f{number}"] = (
                    None if is_null else self._fill(inner, found, _object.decode(raw), (*above, name))
                )
            else:
                values[f"f{number}"] = _value(found.form, raw)
        if len(values) < len(record) and not self._tolerated:
            others = [(*above, name) for name in record if name not in tree]
            self.unknown += [path for path in others if path not in self._ignored]
        return kind(**values)


def _value(form: str, raw: Raw) -> Any:
    """A value in its form, or else its text."""
    if form in ("raw", "any"):
        return raw
    try:
        return msgspec.json.decode(raw, type=FORMS[form][0])
    except msgspec.ValidationError:
        text = bytes(raw)
        return str(_text.decode(text)) if text[:1] == b'"' else text.decode()


def _quote_no_numbers(line: bytes) -> bytes:
    """A line whose NaN and Infinity are texts: what a number's column takes, and no other one."""
    return NO_NUMBERS.sub(lambda found: found[0] if found[0][:1] == b'"' else b'"' + found[0] + b'"', line)
