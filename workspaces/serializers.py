"""Workspaces and profiles as HAL bodies."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from eltsite.api.links import HALSerializer, Link, href, link
from eltsite.api.times import ContractTimeField
from workspaces.models import User, Workspace


class ProfileSerializer(HALSerializer):
    """A person, by the subject that the contract calls an id."""

    id = serializers.CharField(source="profile_id")
    name = serializers.CharField(source="display_name")
    handle = serializers.SerializerMethodField()
    email = serializers.CharField()
    defaultWorkspace = serializers.SerializerMethodField()

    def get_handle(self, user: User) -> str:
        """The name others mention the person by."""
        return f"@{user.username}"

    def get_defaultWorkspace(self, user: User) -> dict[str, str] | None:
        """Its id; only in the person's own profile."""
        return None if self.bare or user.default_workspace_id is None else {"id": str(user.default_workspace_id)}

    def links(self, user: User) -> dict[str, Link]:
        return {
            "self": link(href(self.request, "api-profile", user.profile_id)),
            "workspaces": link(href(self.request, "api-workspaces")),
        }


class WorkspaceSerializer(HALSerializer):
    """A workspace. Its secrets are not part of the body."""

    id = serializers.CharField()
    created = ContractTimeField(source="created_at")
    lastModified = ContractTimeField(source="modified_at")
    alias = serializers.CharField()
    name = serializers.CharField()
    domains = serializers.JSONField()
    repositoryUrl = serializers.SerializerMethodField()
    defaultEnvironment = serializers.CharField(source="default_environment")
    status = serializers.CharField()
    managed = serializers.SerializerMethodField()
    defaultWorkspace = serializers.SerializerMethodField()
    statusReason = serializers.CharField(source="status_reason")

    def get_repositoryUrl(self, workspace: Workspace) -> str:
        """The contract's literal for a workspace without a repository."""
        return "DISABLED"

    def get_managed(self, workspace: Workspace) -> bool:
        """No workspace is run by anybody but its members."""
        return False

    def get_defaultWorkspace(self, workspace: Workspace) -> bool:
        """Whether the caller made it their default."""
        return self.request.user.default_workspace_id == workspace.pk

    def links(self, workspace: Workspace) -> dict[str, Link]:
        return {
            "self": link(href(self.request, "api-workspace", workspace.pk)),
            "jobs": link(href(self.request, "api-workspace-jobs", workspace.pk)),
            "pipelines": link(href(self.request, "api-workspace-pipelines", workspace.pk)),
        }


def start_links(request: Any) -> dict[str, Link]:
    """Where a caller of the API begins."""
    return {
        "self": link(href(request, "api-root")),
        "profiles": link(href(request, "api-profiles")),
        "workspaces": link(href(request, "api-workspaces")),
    }
