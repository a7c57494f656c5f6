"""Rows read for writing. A workspace's definitions change one at a time, so checks across them hold."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models

from eltsite.errors import Conflict, NotFound
from workspaces.models import Workspace

Row = TypeVar("Row", bound=models.Model)


class ChangedMeanwhile(Conflict):
    """Somebody else saved this since you opened it. Load it again and repeat your change."""

    code = "changed-meanwhile"


def lock_workspace(workspace: Workspace) -> Workspace:
    """The workspace's row, locked to the end of the transaction; jobs may still refer to it."""
    locked = Workspace.objects.select_for_update(no_key=True).filter(pk=workspace.pk).first()
    if locked is None:
        raise NotFound()
    if locked.deleting_at is not None:
        raise Conflict(f"{locked.name} is being deleted, so nothing in it can be changed.")
    return locked


def lock_row(row: Row, *, expected_revision: int | None = None) -> Row:
    """The row as the database has it now, locked. Raises ChangedMeanwhile where its revision is another."""
    rows: models.QuerySet[Any] = type(row)._default_manager.select_for_update(no_key=True, of=("self",))
    locked = rows.filter(pk=row.pk).first()
    if locked is None or getattr(locked, "deleting_at", None) is not None:
        raise NotFound(f"{row} was deleted meanwhile.")
    if expected_revision is not None and locked.revision != expected_revision:
        raise ChangedMeanwhile()
    found: Row = locked
    return found
