"""Reads of definitions. Each view's queryset begins with `visible_to`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from workspaces.models import User


class InWorkspaceQuerySet(models.QuerySet[Any]):
    """Rows that belong to one workspace."""

    def visible_to(self, user: User | AnonymousUser) -> InWorkspaceQuerySet:
        """Those of the workspaces the user is a member of; all for a superuser."""
        if not user.is_authenticated:
            return self.none()
        found = self.filter(workspace__deleting_at__isnull=True)
        return found if user.is_superuser else found.filter(workspace__memberships__user=user)


class DataPluginQuerySet(models.QuerySet[Any]):
    """Plugins: those shipped with the product, and a workspace's own."""

    def visible_to(self, user: User | AnonymousUser) -> DataPluginQuerySet:
        """The shipped ones, and those of the user's workspaces."""
        if not user.is_authenticated:
            return self.none()
        found = self.filter(workspace__deleting_at__isnull=True)
        if user.is_superuser:
            return found
        return found.filter(models.Q(workspace__isnull=True) | models.Q(workspace__memberships__user=user))

    def shipped(self) -> DataPluginQuerySet:
        """Those that come with this release."""
        return self.filter(workspace__isnull=True, is_hidden=False)

    def usable_in(self, workspace: Any) -> DataPluginQuerySet:
        """Those a component of this workspace may use."""
        return self.filter(models.Q(workspace__isnull=True) | models.Q(workspace=workspace))


class PipelineQuerySet(InWorkspaceQuerySet):
    """Pipelines, without those being deleted."""

    def alive(self) -> PipelineQuerySet:
        """Those nobody asked to delete."""
        return self.filter(deleting_at__isnull=True)

    def visible_to(self, user: User | AnonymousUser) -> PipelineQuerySet:
        """Those of the user's workspaces that nobody asked to delete."""
        return super().visible_to(user).filter(deleting_at__isnull=True)  # type: ignore[return-value]

    def due(self, now: datetime) -> PipelineQuerySet:
        """Those whose next slot has come."""
        return self.alive().filter(next_run_at__lte=now, is_paused=False).order_by("next_run_at")
