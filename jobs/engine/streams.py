"""One stream of a Singer catalog, with its metadata at hand. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]  # an attribute: the names from the stream's schema down to it
# Legacy taps read these from the stream itself, under other names.
_STREAM_KEYS = {
    "selected": "selected",
    "replication-method": "replication_method",
    "replication-key": "replication_key",
    "table-key-properties": "key_properties",
    "view-key-properties": "key_properties",
    "key-properties": "key_properties",
}


def name_of(stream: Mapping[str, Any]) -> str:
    """What rules, catalogs and bookmarks call a stream."""
    return str(stream.get("tap_stream_id") or stream.get("stream") or "")


def attributes_of(schema: Any, above: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every attribute of a schema with its own schema, each object before what is in it."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        path = (*above, str(name))
        yield path, inner if isinstance(inner, Mapping) else {}
        yield from attributes_of(inner, path)


def breadcrumb_of(path: Path) -> Path:
    """Where metadata of an attribute is kept."""
    return tuple(part for name in path for part in ("properties", name))


class Stream:
    """A catalog's stream with its metadata at hand. Opened for writing it is a copy; the schema stays the original's."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.entry: dict[str, Any] = dict(entry)
        self.name = name_of(entry)
        self.metadata: dict[Path, dict[str, Any]] = {}
        given = entry.get("metadata")
        for item in given if isinstance(given, list) else []:
            if isinstance(item, Mapping):
                self.metadata[tuple(map(str, item.get("breadcrumb") or ()))] = dict(item.get("metadata") or {})
        self.attributes = dict(attributes_of(entry.get("schema")))
        schema = entry.get("schema")
        self.is_legacy = not self.metadata or (
            isinstance(schema, Mapping)
            and ("selected" in schema or any("selected" in inner for inner in self.attributes.values()))
        )
        self.root: dict[str, Any] = self.metadata.get((), {})

    def own(self, key: str) -> Any:
        """The stream's metadata value, also where a legacy catalog has it."""
        value = self.root.get(key)
        return self.entry.get(_STREAM_KEYS.get(key, key)) if value is None else value

    @property
    def key_properties(self) -> list[str]:
        """Names of the columns that identify a row; [] where there are none."""
        for value in (
            self.entry.get("key_properties"),
            self.root.get("table-key-properties"),
            self.root.get("view-key-properties"),
        ):
            if isinstance(value, list) and value:
                return [str(name) for name in value]
        return []

    @property
    def replication_method(self) -> str:
        """As the tap forces it, as metadata has it, as a legacy catalog has it; "" where nothing says."""
        return str(self.root.get("forced-replication-method") or self.own("replication-method") or "")

    @property
    def replication_key(self) -> str:
        """The column bookmarks are kept of; "" where none is named."""
        return str(self.own("replication-key") or "")

    def inclusion(self, path: Path) -> str:
        """automatic, available or unsupported, as metadata or the schema has it."""
        meta = self.metadata.get(breadcrumb_of(path), {}).get("inclusion")
        schema = self.attributes.get(path) if path else self.entry.get("schema")
        inclusion = meta or (schema.get("inclusion") if isinstance(schema, Mapping) else None) or "available"
        if (
            inclusion == "available"
            and len(path) == 1
            and (path[0] in self.key_properties or path[0] == self.replication_key)
        ):
            return "automatic"
        return str(inclusion)

    def said(self, path: Path) -> bool | None:
        """Whether the catalog itself selects this; None where it does not say."""
        meta = self.metadata.get(breadcrumb_of(path), {})
        schema = self.attributes.get(path) if path else self.entry.get("schema")
        places = [meta.get("selected"), None if path else self.entry.get("selected")]
        places += [schema.get("selected") if isinstance(schema, Mapping) else None, meta.get("selected-by-default")]
        return next((bool(value) for value in places if value is not None), None)

    def put(self, path: Path, key: str, value: Any) -> None:
        """Set a metadata value; an entry that is missing is made."""
        breadcrumb = breadcrumb_of(path)
        if path and breadcrumb not in self.metadata:
            self.metadata[breadcrumb] = {"inclusion": self.inclusion(path)}
        self.metadata.setdefault(breadcrumb, {})[key] = value
        if not path:
            self.root = self.metadata[()]
            if key in _STREAM_KEYS:
                self.entry[_STREAM_KEYS[key]] = value

    def select(self, chosen: Mapping[Path, bool], *, is_selected: bool) -> None:
        """Write the selection down, wherever taps look for it."""
        self.put((), "selected", is_selected)
        for path, is_chosen in chosen.items():
            above = chosen.get(path[:-1], is_chosen)
            if len(path) == 1 or breadcrumb_of(path) in self.metadata or is_chosen != above:
                self.put(path, "selected", is_chosen)
        if self.is_legacy and isinstance(self.entry.get("schema"), Mapping):
            self.entry["schema"] = schema = copy.deepcopy(dict(self.entry["schema"]))
            schema["selected"] = is_selected
            for path, inner in attributes_of(schema):
                if isinstance(inner, dict):
                    inner["selected"] = chosen[path]

    def closed(self) -> dict[str, Any]:
        """The stream as a catalog has it."""
        entries = [{"breadcrumb": list(crumb), "metadata": values} for crumb, values in self.metadata.items()]
        return {**self.entry, "metadata": entries}
