"""States and their changes as HAL bodies, and the bodies that change a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from eltsite.api.links import HALSerializer, Link, href, link
from eltsite.api.times import ExtensionTimeField
from eltsite.errors import FieldError, Invalid
from pipelines.models import Pipeline, PipelineStateChange
from pipelines.state import ViewedState
from pipelines.state_values import MISSING, Difference, differences
from workspaces.permissions import RUN, WRITE
from workspaces.serializers import ProfileSerializer

EDITED = ("state", "reason")


@dataclass(frozen=True)
class PipelineStates:
    """The state of a pipeline's present pair, and those of earlier ones."""

    pipeline: Pipeline
    current: ViewedState
    earlier: Sequence[ViewedState] = ()
    is_busy: bool = False
    has_job: bool = False


class StateSerializer(HALSerializer):
    """A PipelineStates: what its next run begins with. All its fields are ours; the contract has no state."""

    extractor = serializers.SerializerMethodField()
    loader = serializers.SerializerMethodField()
    state = serializers.JSONField(source="current.row.state")
    partial = serializers.JSONField(source="current.row.partial")
    effective = serializers.JSONField(source="current.effective")
    epoch = serializers.IntegerField(source="current.row.epoch")
    sequence = serializers.IntegerField(source="current.row.sequence")
    job = serializers.CharField(source="current.row.job_id")
    modified = ExtensionTimeField(source="current.row.modified_at")

    def get_extractor(self, states: PipelineStates) -> str:
        """The component it is of; a pipeline without a pair has none."""
        row = states.current.row
        return row.extractor.name if row.extractor_id else ""

    def get_loader(self, states: PipelineStates) -> str:
        """As get_extractor."""
        row = states.current.row
        return row.loader.name if row.loader_id else ""

    def embedded(self, states: PipelineStates) -> dict[str, Any]:
        earlier = [PipelineStates(states.pipeline, viewed) for viewed in states.earlier]
        return {"earlier": StateSerializer(earlier, many=True, bare=True).data if earlier else None}

    def links(self, states: PipelineStates) -> dict[str, Link]:
        pipeline, access = states.pipeline, self.context["access"]
        address = href(self.request, "api-pipeline-state", pipeline.pk)
        links = {"self": link(address)}
        if states.current.row.extractor_id and not states.is_busy and access.can(pipeline.workspace_id, WRITE):
            links["update state"] = link(address, "PUT")
        if not states.is_busy and access.can(pipeline.workspace_id, RUN):
            links["reset state"] = link(address, "DELETE")
        links["state changes"] = link(href(self.request, "api-pipeline-state-changes", pipeline.pk), "GET")
        links["export state"] = link(href(self.request, "api-pipeline-state-export", pipeline.pk), "GET")
        if states.has_job:
            links["job"] = link(href(self.request, "api-job", states.current.row.job_id), "GET")
        links["pipeline"] = link(href(self.request, "api-pipeline", pipeline.pk), "GET")
        return links


class StateChangeSerializer(HALSerializer):
    """One entry of the history, as pipelines.state.changes_of gives them."""

    id = serializers.CharField()
    created = ExtensionTimeField(source="created_at")
    reason = serializers.CharField()
    job = serializers.CharField(source="job_id")
    extractor = serializers.CharField(source="state.extractor.name")
    loader = serializers.CharField(source="state.loader.name")
    before = serializers.JSONField()
    after = serializers.JSONField()
    diff = serializers.SerializerMethodField()

    def get_diff(self, change: PipelineStateChange) -> list[dict[str, Any]]:
        """What changed, value by value, each under its JSON pointer."""
        return [_difference(each) for each in differences(change.before, change.after)]

    def embedded(self, change: PipelineStateChange) -> dict[str, Any]:
        return {"profile": ProfileSerializer(change.user, bare=True).data if change.user else None}

    def links(self, change: PipelineStateChange) -> dict[str, Link]:
        pipeline = change.state.pipeline
        address = href(self.request, "api-pipeline-state-change", pipeline.pk, change.pk)
        links = {"self": link(address)}
        if change.is_latest and self.context["access"].can(pipeline.workspace_id, WRITE):  # type: ignore[attr-defined]
            links["undo change"] = link(
                href(self.request, "api-pipeline-state-change-undone", pipeline.pk, change.pk), "PUT"
            )
        if change.job_number is not None:  # type: ignore[attr-defined]
            links["job"] = link(href(self.request, "api-job", change.job_id), "GET")
        links["state"] = link(href(self.request, "api-pipeline-state", pipeline.pk), "GET")
        return links


def _difference(found: Difference) -> dict[str, Any]:
    sides = {"before": found.before, "after": found.after}
    return {
        "op": found.op,
        "path": found.pointer,
        **{name: side for name, side in sides.items() if side is not MISSING},
    }


@dataclass(frozen=True)
class NewState:
    """What a body asks for: `value` as the whole state, or as a form to be imported."""

    value: Any
    reason: str
    is_import: bool


def read_new_state(body: Mapping[str, Any], *, reason: str = "") -> NewState:
    """{"state": {...}, "reason": "..."}, also as it was read from here; every other body is a form to be imported.

    `reason` is the one of the query string: an import has no place for it.
    """
    if "state" not in body:
        return NewState(body, reason, is_import=True)
    known = {*EDITED, *StateSerializer().fields, "_links", "_embedded"}
    faults = [
        FieldError(name, f"There is no field '{name}' beside state. Put it inside state, or leave it out.", "unknown")
        for name in body
        if name not in known
    ]
    given = body.get("reason", reason)
    if not isinstance(given, str):
        faults.append(FieldError("reason", "reason is to be a text.", "type", given))
    if faults:
        raise Invalid(" ".join(fault.message for fault in faults), errors=faults)
    return NewState(body["state"], given or reason, is_import=False)
