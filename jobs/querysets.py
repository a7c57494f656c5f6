"""Reads of jobs, and the one write of their status."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q

from jobs.status import ACTIVE, STALE_SECONDS, TERMINAL, TRANSITIONS, JobStatus

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AnonymousUser

    from workspaces.models import User


class JobQuerySet(models.QuerySet[Any]):
    """Jobs."""

    def visible(self) -> JobQuerySet:
        """Those nobody deleted."""
        return self.filter(deleted_at__isnull=True)

    def visible_to(self, user: User | AnonymousUser) -> JobQuerySet:
        """Those of the user's workspaces that nobody deleted."""
        if not user.is_authenticated:
            return self.none()
        found = self.visible().filter(workspace__deleting_at__isnull=True)
        return found if user.is_superuser else found.filter(workspace__memberships__user=user)

    def active(self) -> JobQuerySet:
        """Queued or running, deleted ones included: they still hold their place."""
        return self.filter(status__in=sorted(ACTIVE))

    def finished(self) -> JobQuerySet:
        """In a final status."""
        return self.filter(status__in=TERMINAL)

    def stale(self, now: datetime) -> JobQuerySet:
        """Running, but not heard of for STALE_SECONDS."""
        limit = now - timedelta(seconds=STALE_SECONDS)
        return self.filter(status=JobStatus.RUNNING).filter(
            Q(heartbeat_at__lt=limit) | Q(heartbeat_at__isnull=True, started_at__lt=limit)
        )

    def claimable(self, host: str, now: datetime) -> JobQuerySet:
        """Those a worker of this host may try to claim, best first: short checks before runs, then by age."""
        return (
            self.filter(status=JobStatus.QUEUED, required_host__in=("", host))
            .filter(Q(not_before__isnull=True) | Q(not_before__lte=now))
            .order_by(models.Case(models.When(type="PIPELINE_RUN", then=1), default=0), "created_at", "id")
        )

    def transition(
        self, job_id: UUID, *, to: JobStatus, from_: Iterable[JobStatus], claim: UUID | None = None, **values: Any
    ) -> bool:
        """Move one job to another status by compare and set; False when it was not in `from_` (or not ours).

        Raises ValueError for a move that TRANSITIONS does not know, IntegrityError where a constraint refuses.
        """
        sources = [status for status in from_ if to in TRANSITIONS[status]]
        if not sources:
            raise ValueError(f"no move from {list(from_)} to {to}")
        found = self.filter(pk=job_id, status__in=sources)
        if claim is not None:
            found = found.filter(claim_token=claim)
        return found.update(status=to, **values) == 1
