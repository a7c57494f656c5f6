"""What was deleted while it still worked goes when nothing of it does: jobs, pipelines, workspaces."""

from __future__ import annotations

from django.db import transaction

from jobs import folders
from jobs.models import Job
from jobs.services import remove_deleted
from pipelines.models import Pipeline
from workspaces.models import Workspace


def purge_deleted() -> int:
    """Remove the rows (and folders) of everything deleted that has no active job; returns how many rows."""
    removed = remove_deleted()
    for pipeline in Pipeline.objects.filter(deleting_at__isnull=False):
        removed += _remove(pipeline, Job.objects.active().filter(pipeline=pipeline).exists())
    for workspace in Workspace.objects.filter(deleting_at__isnull=False):
        if _remove(workspace, Job.objects.active().filter(workspace=workspace).exists()):
            folders.remove(workspace)
            removed += 1
    return removed


def _remove(row: Pipeline | Workspace, is_busy: bool) -> int:
    if is_busy:
        return 0
    with transaction.atomic():
        if isinstance(row, Workspace):
            # Components are protected by the pipelines that use them, plugins by the components.
            Pipeline.objects.filter(workspace=row).delete()
            row.components.all().delete()
        type(row).objects.filter(pk=row.pk).delete()
    return 1
