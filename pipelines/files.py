"""A workspace's small files and its variables. Its functions are called through services.py."""

from __future__ import annotations

import hashlib
import re

from django.conf import settings
from django.db import transaction
from django.utils.formats import number_format

from eltsite.errors import Conflict, Invalid
from pipelines.locks import lock_workspace
from pipelines.models import WorkspaceFile, WorkspaceVariable
from pipelines.plugins import MASK
from pipelines.variables import references
from workspaces.models import User, Workspace

LONGEST_PATH = 400
LONGEST_PART = 255  # bytes that a file system takes
MEBIBYTE = 1024 * 1024


@transaction.atomic
def save_file(workspace: Workspace, *, path: str, content: bytes, user: User | None = None) -> WorkspaceFile:
    """Make or replace a file of the workspace."""
    workspace = lock_workspace(workspace)
    _check_path(workspace, path)
    if len(content) > settings.UPLOAD_MAX_BYTES:
        size, most = number_format(len(content) / MEBIBYTE, 1), settings.UPLOAD_MAX_BYTES // MEBIBYTE
        raise Invalid.field(
            "content",
            f"{path} has {size} MiB, and a file of the workspace at most {most}. Put it into an allowed folder of the host.",
            code="too-large",
        )
    values = {"content": content, "size": len(content), "digest": hashlib.sha256(content).hexdigest()}
    return WorkspaceFile.objects.update_or_create(workspace=workspace, path=path, defaults=values)[0]


@transaction.atomic
def delete_file(file: WorkspaceFile, *, user: User | None = None) -> None:
    """Delete a file of the workspace."""
    lock_workspace(file.workspace)
    file.delete()


def _check_path(workspace: Workspace, path: str) -> None:
    parts = path.split("/")
    if not path or len(path) > LONGEST_PATH or not path.isprintable() or "\\" in path:
        remedy = f"Write at most {LONGEST_PATH} characters with forward slashes, such as models/orders.sql."
        raise Invalid.field("path", f"{path[:60] or 'The empty text'} is not a path. {remedy}", value=path)
    if any(part in ("", ".", "..") for part in parts):
        reason = "it must stay inside the workspace, with a name between any two slashes"
        raise Invalid.field(
            "path", f"{path} is not a path here: {reason}. Write it such as models/orders.sql.", value=path
        )
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        raise Invalid.field(
            "path", f"{path[:60]}… has a part of more than {LONGEST_PART} bytes. Shorten it.", value=path
        )
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    clash = (
        workspace.files.filter(path__in=folders).first() or workspace.files.filter(path__startswith=path + "/").first()
    )
    if clash is not None:
        message = (
            f"{path} cannot stand beside the file {clash.path}: one would be a file and a folder at once. Rename it."
        )
        raise Invalid.field("path", message, value=path, code="taken")


@transaction.atomic
def save_variable(
    workspace: Workspace, *, name: str, value: str, is_sensitive: bool = True, user: User | None = None
) -> WorkspaceVariable:
    """Make or change a variable. `***` keeps the stored value."""
    workspace = lock_workspace(workspace)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,119}", name):
        message = f"{name or 'The empty text'} is not a name of a variable. Write letters, digits and _, such as SHOP_PASSWORD."
        raise Invalid.field("name", message, value=name)
    row = workspace.variables.filter(name=name).first() or WorkspaceVariable(workspace=workspace, name=name)
    if value == MASK and row.pk is None:
        message = f"{MASK} stands for the stored value, and {name} is new. Write its value."
        raise Invalid.field("value", message, code="no-stored-value")
    if value == MASK and row.is_sensitive and not is_sensitive:
        message = f"{name} was stored as sensitive, so it is not shown by a change of mind. Write its value again."
        raise Invalid.field("value", message, code="no-stored-value")
    if value != MASK:
        row.value = value
    row.is_sensitive, row.modified_by = is_sensitive, user
    row.save()
    return row


@transaction.atomic
def delete_variable(variable: WorkspaceVariable, *, user: User | None = None) -> None:
    """Delete a variable that nothing refers to."""
    workspace = lock_workspace(variable.workspace)
    rows = [*workspace.components.all(), *workspace.pipelines.filter(deleting_at__isnull=True)]
    users = [str(row) for row in rows if _refers_to(row.properties, variable.name)]
    if users:
        raise Conflict(f"{', '.join(users[:5])} refers to ${variable.name}. Change that first.")
    variable.delete()


def _refers_to(properties: dict[str, str], name: str) -> bool:
    # Inside JSON a whole text `$NAME` is not the whole property, so look for it as a word too.
    return any(name in references(text) or f'"${name}"' in text for text in properties.values())
