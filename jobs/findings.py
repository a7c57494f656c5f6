"""What a run finds out for later ones: the catalog of a source, the versions in an environment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.engine.singer import apply_selection, streams_of
from pipelines.models import ComponentCatalog, DataComponent, PluginEnvironment
from pipelines.services import record_built, record_error, record_lock, touch


def event_of_catalog(values: Mapping[str, Any], job_id: uuid.UUID) -> dict[str, Any]:
    """A catalog event as a finding. Native extractors name their streams, taps bring the whole catalog."""
    catalog = values.get("catalog") or {"streams": values.get("streams") or []}
    return {**values, "kind": "catalog", "catalog": catalog, "job_id": job_id}


def keep_finding(finding: Mapping[str, Any]) -> None:
    """Store one finding. A component or environment that is gone by now keeps nothing."""
    if finding["kind"] == "catalog":
        _keep_catalog(finding)
    else:
        _keep_environment(finding)


def _keep_environment(finding: Mapping[str, Any]) -> None:
    """The first versions an environment was resolved to; that it is built and used; or why it is not."""
    fingerprint = str(finding["fingerprint"])
    if finding.get("error"):
        record_error(fingerprint, str(finding["error"]))
        return
    size = int(finding.get("size_bytes") or 0)
    if lock := finding.get("lock"):
        record_lock(fingerprint, lock, finding.get("packages"), size)
    elif finding.get("built") and (row := PluginEnvironment.objects.filter(fingerprint=fingerprint).first()):
        record_built(fingerprint, row.lock, size)
    touch(fingerprint)


@transaction.atomic
def _keep_catalog(finding: Mapping[str, Any]) -> None:
    """The newest catalog of a component, and its streams in the API's form."""
    component = DataComponent.objects.filter(pk=finding.get("component")).first()
    if component is None:
        return
    values = {"key": finding.get("key") or "", "catalog": finding["catalog"], "job_id": finding["job_id"]}
    ComponentCatalog.objects.update_or_create(component=component, defaults={**values, "discovered_at": timezone.now()})
    shown = [
        {
            "name": stream["name"],
            "selected": "SELECTED" if stream["selected"] else "EXCLUDED",
            "fields": stream["fields"],
        }
        for stream in streams_of(
            apply_selection(finding["catalog"], finding.get("select") or (), finding.get("metadata"))
        )
    ]
    DataComponent.objects.filter(pk=component.pk).update(streams=shown)
