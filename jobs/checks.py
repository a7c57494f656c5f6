"""System checks: settings that would break the rules the queue rests on are refused at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

RULES = {
    "orm": ("default", "the job's row and its wake-up must be written in one transaction"),
    "scheduler": (False, "schedules are ours: django-q2's are late, and one bad row stops them all"),
    "max_attempts": (1, "jobs are retried by their own rules"),
    "ack_failures": (True, "a failed wake-up must not come back for ever"),
    "timeout": (None, "the supervisor alone holds a run's deadline"),
    "queue_limit": (1, "a worker must not hoard wake-ups"),
    "bulk": (1, "a worker must not hoard wake-ups"),
}


@register()
def check_queue_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a Q_CLUSTER that could lose, double or wedge a job."""
    found = []
    for index, (name, (wanted, why)) in enumerate(RULES.items(), start=1):
        value = settings.Q_CLUSTER.get(name)
        if value != wanted:
            found.append(
                Error(
                    f"Q_CLUSTER[{name!r}] is {value!r}: {why}.", hint=f"Set it to {wanted!r}.", id=f"jobs.E{index:03}"
                )
            )
    return found
