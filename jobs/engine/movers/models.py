"""Verb `models`: builds the workspace's SQL models where the rows were loaded, each after those it reads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.engine.movers import duckdb, paths
from jobs.engine.movers.model_duckdb import DuckDBModels, warehouse_path
from jobs.engine.movers.model_postgres import PostgresModels
from jobs.engine.movers.model_sql import Model, read_models
from jobs.engine.movers.model_store import ModelFailed, ModelStore, target_schema
from jobs.engine.movers.protocol import MoverError, emit, log

SOURCE = "models"
DIALECTS = {"target-duckdb": "duckdb", "target-postgres": "postgres"}
# Failures that leave the file in other hands, or unreadable: a copy of it would be worth nothing.
NO_COPY = ("store-locked", "store-unreadable", "path-outside")
STORES: dict[str, Callable[[Mapping[str, Any]], ModelStore]] = {
    "target-duckdb": DuckDBModels,
    "target-postgres": PostgresModels,
}


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Build the models, then publish what readers see: rows were loaded before, and are shown even where this fails."""
    failure: MoverError | None = None
    built = 0
    try:
        built = build(spec)
    except MoverError as error:
        failure = error
    if spec.get("publish_snapshot") and (failure is None or failure.event["code"] not in NO_COPY):
        publish(spec)
    if failure:
        raise failure
    return {"models": built}


def build(spec: Mapping[str, Any]) -> int:
    """Put the models in order and build them; answers how many. Raises the first one's failure, after the last."""
    plugin = spec["loader"]["plugin"]
    models = read_models(spec["models"], dialect=dialect_of(plugin), schema=target_schema(spec))
    if not models:
        log("The workspace has no SQL models", source=SOURCE)
        return 0
    names = ", ".join(model.name for model in models)
    log(f"{len(models)} SQL model{'' if len(models) == 1 else 's'}, in this order: {names}", source=SOURCE)
    store = STORES[plugin](spec)
    try:
        failures = build_all(models, store)
    finally:
        store.close()
    if failures:
        raise failures[0]
    return len(models)


def dialect_of(plugin: str) -> str:
    """The SQL of a loader's store. Raises MoverError (models-need-database) for one that holds files."""
    if plugin not in DIALECTS:
        raise MoverError(
            f"SQL models cannot run in {plugin}",
            reason="They are tables and views of a database, and this loader writes files.",
            remedy="Load into target-duckdb or target-postgres, or take the models out of the pipeline.",
            code="models-need-database",
        )
    return DIALECTS[plugin]


def build_all(models: Sequence[Model], store: ModelStore) -> list[ModelFailed]:
    """Build what can be built; a model below a failed or skipped one is skipped. Returns the failures, first first."""
    failures: list[ModelFailed] = []
    unbuilt: set[str] = set()
    for index, model in enumerate(models):
        if above := sorted(model.parents & unbuilt):
            unbuilt.add(model.name)
            reason = f"{' and '.join(above)} above it {'was' if len(above) == 1 else 'were'} not built"
            log(f"Skipped {model.name}: {reason}", source=SOURCE, level="warning")
            report(model, "skipped", error=reason)
            continue
        remaining = frozenset(later.name for later in models[index + 1 :])
        if failure := build_one(model, store, remaining=remaining):
            unbuilt.add(model.name)
            failures.append(failure)
    return failures


def build_one(model: Model, store: ModelStore, *, remaining: frozenset[str]) -> ModelFailed | None:
    """Build one model and say how it went."""
    started = time.monotonic()
    try:
        rows = store.build(model, remaining=remaining)
    except ModelFailed as failure:
        log(f"{failure}. {failure.event['reason']}", source=SOURCE, level="error")
        report(model, "error", seconds=time.monotonic() - started, error=str(failure.event["reason"]))
        return failure
    seconds = time.monotonic() - started
    log(f"{model.kind.capitalize()} {model.name}: {rows:,} rows in {seconds:.2f} s", source=SOURCE)
    report(model, "complete", rows=rows, seconds=seconds)
    return None


def report(
    model: Model, status: str, *, rows: int | None = None, seconds: float | None = None, error: str | None = None
) -> None:
    """One model event."""
    rounded = None if seconds is None else round(seconds, 3)
    emit("model", name=model.name, kind=model.kind, status=status, rows=rows, seconds=rounded, error=error)


def publish(spec: Mapping[str, Any]) -> None:
    """The snapshot that pages read of a DuckDB file; other stores need none."""
    if spec["loader"]["plugin"] != "target-duckdb":
        return
    path = warehouse_path(spec)
    if os.path.exists(path) and duckdb.publish_snapshot(path, max_bytes=int(spec["limits"]["snapshot_max_bytes"])):
        log(f"Published {paths.shown(path)}.snapshot", source=SOURCE)
