"""Wakes workers. The one file that calls django-q2.

A task carries no job: it says "look". Losing, doubling or delaying one therefore never loses, doubles or wedges a
job; the scheduler wakes again whatever is left lying. It is written in the caller's transaction, like the job's row.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django_q.models import Failure, OrmQ
from django_q.tasks import async_task

TASK = "jobs.tasks.run_next"


def wake(count: int = 1) -> None:
    """Have `count` workers look for a job."""
    for _ in range(count):
        async_task(TASK, save=False)


def waiting_wakes() -> int:
    """How many wake-ups no worker has taken yet."""
    return OrmQ.objects.filter(lock__lte=timezone.now()).count()


def prune(now: datetime) -> None:
    """Drop what django-q2 keeps of failed tasks: it never does so itself."""
    Failure.objects.filter(stopped__lt=now - timedelta(days=1)).delete()
