"""Verb `check`: whether a pipeline makes sense as it is written. Opens no store and asks no server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from jobs.engine.movers import paths, types
from jobs.engine.movers.check_files import (
    describe,
    find_files,
    is_web,
    require_found,
    require_readable,
    require_writable,
)
from jobs.engine.movers.checklist import Checklist
from jobs.engine.movers.model_duckdb import warehouse_path
from jobs.engine.movers.model_sql import RESERVED_PREFIX, read_models
from jobs.engine.movers.model_store import target_schema
from jobs.engine.movers.models import dialect_of
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.tables import table_name

Values = Mapping[str, Any]

SERVER = ("host", "user", "database")
REQUIRED: dict[str, dict[str, tuple[str, ...]]] = {
    "extractor": {"tap-files": ("files",), "tap-sql": ("dialect", "tables")},
    "loader": {"target-duckdb": ("path",), "target-postgres": SERVER, "target-files": ("path",)},
}
REQUIRED_FOR_DIALECT = {"postgresql": SERVER, "sqlite": ("path",)}
DUCKDB_MAGIC = b"DUCK"  # at byte 8


def check_config(spec: Values, checks: Checklist) -> None:
    """Make every check that needs no connection. A connector's own settings are the engine's to check."""
    has_extractor = not is_connector(spec, "extractor") and checks.make(
        "Extractor", partial(check_end, spec, "extractor")
    )
    has_loader = not is_connector(spec, "loader") and checks.make("Loader", partial(check_end, spec, "loader"))
    if has_extractor:
        for entry in entries_of(spec["extractor"]):
            checks.make(f"Stream {stream_of(entry)}", partial(check_entry, spec, entry))
        checks.make("Tables", partial(check_tables, spec))
    if has_loader:
        checks.make("Place of the rows", partial(TARGETS[spec["loader"]["plugin"]], spec))
    if has_loader and (has_extractor or is_connector(spec, "extractor")):
        checks.make("Load method", partial(check_method, spec))
    if spec.get("models") and spec.get("loader"):
        checks.make("SQL models", partial(check_models, spec))


def is_connector(spec: Values, end: str) -> bool:
    """Whether a Singer program is at this end. Only plugins that movers run go by their bare names."""
    component = spec.get(end)
    return component is not None and all(component["plugin"] not in plugins for plugins in REQUIRED.values())


def check_end(spec: Values, end: str) -> str:
    """There is one, we know its plugin, and it has the settings that the plugin cannot do without."""
    component = spec.get(end)
    if not component:
        raise MoverError(
            f"The pipeline has no {end}",
            reason="It moves rows from an extractor to a loader, and needs one of each.",
            remedy=f"Add a component whose plugin is {'a' if end == 'loader' else 'an'} {end}.",
            code="end-missing",
        )
    plugin, settings = component["plugin"], component["settings"]
    if plugin not in REQUIRED[end]:
        raise MoverError(
            f"{plugin} is not {'a' if end == 'loader' else 'an'} {end} that this version can run",
            reason=f"It can run {', '.join(REQUIRED[end])}.",
            remedy=f"Choose one of these as the plugin of {component['name']}.",
            code="plugin-unknown",
        )
    needed = (*REQUIRED[end][plugin], *REQUIRED_FOR_DIALECT.get(str(settings.get("dialect")), ()))
    if missing := [name for name in needed if settings.get(name) in (None, "", [])]:
        raise setting_missing(component["name"], missing)
    return f"{component['name']} ({plugin})"


def setting_missing(name: str, missing: list[str]) -> MoverError:
    is_one = len(missing) == 1
    return MoverError(
        f"{name}: the setting{'' if is_one else 's'} {', '.join(missing)} {'is' if is_one else 'are'} missing",
        reason=f"The plugin cannot work without {'it' if is_one else 'them'}.",
        remedy=f"Fill {'it' if is_one else 'them'} in on the component {name}.",
        code="setting-missing",
    )


def entries_of(extractor: Values) -> list[Values]:
    """The extractor's streams as its settings list them."""
    settings = extractor["settings"]
    return list(settings["files" if extractor["plugin"] == "tap-files" else "tables"])


def stream_of(entry: Values) -> str:
    """The stream's name; a table's own where none is given."""
    return str(entry.get("stream") or entry.get("table") or "without a name")


def check_entry(spec: Values, entry: Values) -> str:
    """One stream of the extractor."""
    extractor = spec["extractor"]
    if extractor["plugin"] == "tap-files":
        return check_file_entry(spec, entry)
    text = check_table_entry(extractor["name"], entry)
    if extractor["settings"]["dialect"] == "sqlite":
        path = str(extractor["settings"]["path"])
        files = find_files(path, spec)
        require_found(files, path, stream=stream_of(entry))
        require_readable(files, stream=stream_of(entry))
    return text


def check_file_entry(spec: Values, entry: Values) -> str:
    """A stream of files: it has a name and a path that may be read, and its types are types."""
    name = f"{spec['extractor']['name']}, stream {stream_of(entry)}"
    if missing := [key for key in ("stream", "path") if not entry.get(key)]:
        raise setting_missing(name, missing)
    for column, kind in (entry.get("columns") or {}).items():
        if types.normal(str(kind)) is None:
            raise MoverError(
                f"{name}: {kind} is not a type",
                reason=f"The setting columns gives it to the column {column}.",
                remedy="Name a type such as BIGINT, DECIMAL(10,2), VARCHAR, DATE or TIMESTAMP.",
                code="type-unknown",
                stream=stream_of(entry),
                column=str(column),
            )
    if is_web(entry["path"]):
        return "an address; the test of both ends asks it"
    files = find_files(entry["path"], spec)
    require_found(files, entry["path"], stream=stream_of(entry))
    require_readable(files, stream=stream_of(entry))
    return describe(files)


def check_table_entry(component: str, entry: Values) -> str:
    """A stream of a database: a table, or a query with a name; incremental needs its key."""
    name = f"{component}, stream {stream_of(entry)}"
    if not entry.get("table") and not entry.get("query"):
        raise setting_missing(name, ["table"])
    if not entry.get("table") and not entry.get("stream"):
        raise setting_missing(name, ["stream"])
    if entry.get("replication_method") == "INCREMENTAL" and not entry.get("replication_key"):
        raise setting_missing(name, ["replication_key"])
    return "a query" if entry.get("query") else f"the table {entry['table']}"


def check_tables(spec: Values) -> str:
    """Each stream has a table of its own, and no model takes its name."""
    taken: dict[str, str] = {}
    for entry in entries_of(spec["extractor"]):
        stream = stream_of(entry)
        name = table_name(stream)
        if not name or name.startswith(RESERVED_PREFIX) or name in taken:
            other = f"The stream {taken[name]} has that table already" if name in taken else "That is no table's name"
            raise MoverError(
                f"The stream {stream} cannot have the table {name or 'without a name'}",
                reason=f"{other}.",
                remedy="Give the stream another name.",
                code="stream-name",
                stream=stream,
            )
        taken[name] = stream
    for model in spec.get("models") or ():
        if (name := PurePosixPath(model["path"]).stem.lower()) in taken:
            raise MoverError(
                f"The model {name} would replace the table of the stream {taken[name]}",
                reason=f"{model['path']} is named like the table that the pipeline loads.",
                remedy="Rename the file, or the stream.",
                code="model-name-taken",
                stream=taken[name],
                file=model["path"],
            )
    return ", ".join(taken)


def check_method(spec: Values) -> str:
    """Merge tells rows apart by their primary key, so every stream has one. A connector itself says which it is."""
    method = str(spec["loader"]["settings"].get("load_method") or "append")
    if is_connector(spec, "extractor"):
        return method
    keyless = [stream_of(entry) for entry in entries_of(spec["extractor"]) if not entry.get("primary_keys")]
    if method == "merge" and keyless:
        raise MoverError(
            f"Load method merge: no primary key for {', '.join(keyless)}",
            reason="Merge updates the rows that are there already, and knows them by their primary key.",
            remedy="Name the primary key of each stream in the extractor's settings, or choose append or replace.",
            code="primary-key-missing",
            stream=keyless[0],
        )
    return method


def check_duckdb(spec: Values) -> str:
    """The warehouse's file may be written, or made; and what is there is a DuckDB file."""
    path = warehouse_path(spec)
    require_writable(os.path.dirname(path), what="The warehouse's folder")
    if not os.path.exists(path):
        return f"{paths.shown(path)}, which the first run makes"
    if not os.path.isfile(path) or not os.access(path, os.R_OK | os.W_OK):
        raise not_usable(path, "The user that jobs run as may not read and write it.")
    with open(path, "rb") as file:
        head = file.read(12)
    if head and head[8:] != DUCKDB_MAGIC:
        raise not_usable(path, "It is there, but it is not a DuckDB file.")
    return f"{paths.shown(path)}, schema {target_schema(spec)}"


def not_usable(path: str, reason: str) -> MoverError:
    return MoverError(
        f"{paths.shown(path)} cannot be the warehouse",
        reason=reason,
        remedy="Name another file in the loader's setting path, or see to this one.",
        code="store-unreadable",
        file=paths.shown(path),
    )


def check_folder(spec: Values) -> str:
    """The folder of the files may be written, or made."""
    path = paths.resolve(
        str(spec["loader"]["settings"]["path"]), allowed=spec.get("allowed_folders", ()), what="The folder"
    )
    require_writable(path, what="The folder")
    return paths.shown(path)


def check_server(spec: Values) -> str:
    """A server is not asked here."""
    settings = spec["loader"]["settings"]
    return f"{settings['database']} on {settings['host']}, schema {target_schema(spec)}; the test of both ends asks it"


TARGETS: dict[str, Callable[[Values], str]] = {
    "target-duckdb": check_duckdb,
    "target-postgres": check_server,
    "target-files": check_folder,
}


def check_models(spec: Values) -> str:
    """All models parse, and none waits for itself."""
    plugin = (spec.get("loader") or {}).get("plugin", "a pipeline without a loader")
    models = read_models(spec["models"], dialect=dialect_of(plugin), schema=target_schema(spec))
    return f"{len(models)} in this order: {', '.join(model.name for model in models)}"
