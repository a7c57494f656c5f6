"""What the stores that models are built in have in common: who made a relation, what changed, how a failure reads."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Protocol

from jobs.engine.movers.model_sql import Model
from jobs.engine.movers.protocol import MoverError

# The comment on everything a model became. A relation without it is somebody's, and is never replaced.
MARK = "Built by eltsite from "
STATEMENT_SECONDS = 3600
HEADLINE_LENGTH = 300

Columns = dict[str, str]  # name to type, in order


class ModelFailed(MoverError):
    """One model could not be built; the ones that do not read it still can."""


class ModelStore(Protocol):
    """A store that models are built in."""

    def build(self, model: Model, *, remaining: Set[str]) -> int:
        """Make the model's table or view and count its rows. `remaining` names the models that come later.

        Raises ModelFailed where it is the model's fault, MoverError where no other could be built either.
        """

    def close(self) -> None:
        """Leave the store whole and let go of it."""


def target_schema(spec: Mapping[str, Any]) -> str:
    """Where models go: the loader's schema, by default the workspace's."""
    return str(spec["loader"]["settings"].get("schema") or spec["schema"])


def statement_seconds(limits: Mapping[str, Any]) -> float:
    """How long one statement written by a person may take."""
    return float(limits.get("statement_timeout_seconds") or STATEMENT_SECONDS)


def failed(model: Model, message: str, *, line: int | None = None, remedy: str = "", code: str = "") -> ModelFailed:
    """A model's failure with the database's message, and the line of the model's file where it is known."""
    message = message.strip() or "no message"
    where = f"{model.path}, line {line}" if line else model.path
    return ModelFailed(
        f"Model {model.name} failed: {' '.join(message.splitlines()[0].split())}"[:HEADLINE_LENGTH],
        reason=f"{where}: {' '.join(message.split()).rstrip('.')}.",
        remedy=remedy or "Correct the model, then run again.",
        code=code or "model-failed",
        file=model.path,
        line=line,
    )


def taken(model: Model, kind: str) -> ModelFailed:
    """The model's name is that of a relation that no model made, such as a loaded table."""
    return failed(
        model,
        f"there is a {kind} {model.name} that no model made",
        remedy=f"Rename the file, or drop the {kind} {model.name} if nothing needs it.",
        code="model-name-taken",
    )


def too_long(model: Model, seconds: float) -> ModelFailed:
    """The statement was ended by its time limit."""
    return failed(
        model,
        f"it took longer than {seconds:g} s",
        remedy="Make the model cheaper, or have an administrator raise the limit.",
        code="model-time-limit",
    )


def column_changes(before: Columns, after: Columns) -> str:
    """How a relation's columns changed, in words; empty where they did not."""
    changes = [f"{name} {kind} added" for name, kind in after.items() if name not in before]
    changes += [f"{name} removed" for name in before if name not in after]
    changes += [
        f"{name} {before[name]} became {kind}" for name, kind in after.items() if before.get(name, kind) != kind
    ]
    return ", ".join(changes)
