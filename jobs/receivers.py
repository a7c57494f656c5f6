"""What jobs do when the apps below say that something changed: a call upward is a signal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from django.dispatch import receiver

from jobs.models import Job
from jobs.services import JobNotActive, create_job, create_workspace_job, remove_tests_of, request_stop
from jobs.status import JobType, Trigger
from pipelines.signals import component_deleting, pipeline_changed, pipeline_deleting
from workspaces.signals import workspace_created, workspace_deleting


@receiver(workspace_created)
def set_up_workspace(sender: Any, *, workspace: Any, user: Any = None, **_: Any) -> None:
    """A new workspace gets its folder and its warehouse."""
    create_workspace_job(workspace, type=JobType.WORKSPACE_INIT, user=user)


@receiver(pipeline_changed)
def check_pipeline(sender: Any, *, pipeline: Any, user: Any = None, needs_check: bool = True, **_: Any) -> None:
    """A saved pipeline is checked before it may run."""
    if needs_check:
        create_job(pipeline, type=JobType.PIPELINE_CONFIG, trigger=Trigger.SYSTEM, user=user)


@receiver(pipeline_deleting)
def stop_jobs_of(sender: Any, *, pipeline: Any, user: Any = None, **_: Any) -> None:
    """A pipeline that is being deleted ends its jobs; the row goes when they have."""
    _stop_all(Job.objects.active().filter(pipeline=pipeline), user)


@receiver(component_deleting)
def remove_tests(sender: Any, *, component: Any, **_: Any) -> None:
    """A component that is being deleted takes its tests with it."""
    remove_tests_of(component)


@receiver(workspace_deleting)
def stop_jobs_in(sender: Any, *, workspace: Any, user: Any = None, **_: Any) -> None:
    """A workspace that is being deleted ends its jobs; it goes when they have."""
    _stop_all(Job.objects.active().filter(workspace=workspace), user)


def _stop_all(jobs: Iterable[Job], user: Any) -> None:
    for job in jobs:
        with contextlib.suppress(JobNotActive):  # it ended in between
            request_stop(job, user=user)
