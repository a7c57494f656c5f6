"""Environments of connectors as rows: what each is made of, and which versions it is held to.

A lock is written by the first job that resolves the environment, or comes with eltsite. After that it stays until a
person upgrades it or steps back. Building is the jobs' part; nothing here touches a folder.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from eltsite.errors import Conflict
from pipelines.locks import lock_row
from pipelines.models import PluginEnvironment
from pipelines.plugins import CATALOGUE, Plugin, shipped_plugins
from workspaces.models import User

LOCKS = CATALOGUE / "locks"
USED_STEP = timedelta(minutes=1)  # a write per job would make many small runs wait for one row
LONGEST_ERROR = 20_000
REBUILT = "# Rebuilt "  # ends a lock: an environment is called by its lock's text, so another text is built anew
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;\\]+)|@\s*(\S+))", re.MULTILINE)


def environment_for(plugin: Plugin) -> PluginEnvironment:
    """The environment of a connector, made when it is missing. One that eltsite ships begins with the shipped lock."""
    found = PluginEnvironment.objects.filter(fingerprint=plugin.fingerprint).first()
    if found is None:
        lock = shipped_locks().get(plugin.fingerprint, "")
        values = {
            "requirements": " ".join(plugin.pip_url.split()),
            "python": plugin.python,
            "lock": lock,
            "packages": packages_of(lock),
        }
        found, _ = PluginEnvironment.objects.get_or_create(fingerprint=plugin.fingerprint, defaults=values)
    return found


@functools.cache
def shipped_locks() -> Mapping[str, str]:
    """The locks that come with eltsite, by the fingerprint of what they resolve."""
    found = {}
    for plugin in shipped_plugins():
        path = LOCKS / f"{plugin.name}--{plugin.variant}.txt"
        if plugin.pip_url and path.exists():
            found[plugin.fingerprint] = path.read_text(encoding="utf-8")
    return found


def sync_locks() -> None:
    """Give the environments of shipped connectors the shipped locks, where nobody and no job decided otherwise.

    A lock without `resolved_at` is a shipped one as it came; one without `resolved_by` was not touched by a person.
    """
    untouched = PluginEnvironment.objects.filter(resolved_by__isnull=True)
    untouched = untouched.filter(Q(lock="") | Q(resolved_at__isnull=True))
    for fingerprint, lock in shipped_locks().items():
        for row in untouched.filter(fingerprint=fingerprint):
            if _without_mark(row.lock) != lock.strip():
                values = {"lock": lock, "packages": packages_of(lock), "built_at": None, "error": ""}
                kept = row.lock or row.previous_lock
                untouched.filter(pk=row.pk, lock=row.lock).update(**values, previous_lock=kept)


def packages_of(lock: str) -> dict[str, str]:
    """Name to version of what a lock pins; of a package pinned by address, the address."""
    return {name: version or address for name, version, address in _PINNED.findall(lock)}


# ---------- what jobs say ----------


def record_lock(
    fingerprint: str,
    lock: str,
    packages: Mapping[str, str] | None = None,
    size_bytes: int = 0,
    *,
    now: datetime | None = None,
) -> str:
    """Keep what an environment was resolved to, and that it is built. Returns the lock that counts.

    The first lock wins: where another is there already, that one is returned, and nothing is written. For a lock that
    was just resolved; one that a job was given is `record_built`.
    """
    at = now or timezone.now()
    rows = PluginEnvironment.objects.filter(fingerprint=fingerprint)
    built = {"built_at": at, "size_bytes": size_bytes, "error": ""}
    found = dict(packages) if packages is not None else packages_of(lock)
    if lock and rows.filter(lock="").update(lock=lock, packages=found, resolved_at=at, **built):
        return lock
    return rows.values_list("lock", flat=True).first() or ""


def record_built(fingerprint: str, lock: str, size_bytes: int = 0, *, now: datetime | None = None) -> None:
    """Note that an environment is built from this lock, unless another counts by now. `size_bytes` 0: not known."""
    values: dict[str, object] = {"built_at": now or timezone.now(), "error": ""}
    if size_bytes:
        values["size_bytes"] = size_bytes
    PluginEnvironment.objects.filter(fingerprint=fingerprint, lock=lock).exclude(lock="").update(**values)


def record_error(fingerprint: str, error: str) -> None:
    """Keep why the last build failed; the end of a long story."""
    PluginEnvironment.objects.filter(fingerprint=fingerprint).update(error=error[-LONGEST_ERROR:])


def touch(fingerprint: str, *, now: datetime | None = None) -> None:
    """Note that a job uses the environment, to the minute."""
    at = now or timezone.now()
    old = Q(used_at__isnull=True) | Q(used_at__lt=at - USED_STEP)
    PluginEnvironment.objects.filter(old, fingerprint=fingerprint).update(used_at=at)


# ---------- what a person does ----------


@transaction.atomic
def upgrade_environment(environment: PluginEnvironment, user: User | None = None) -> PluginEnvironment:
    """Have the next job resolve the environment anew; the present versions are kept for one step back."""
    row = lock_row(environment)
    if not row.lock:
        raise Conflict(f"{row} has no versions yet, or is being upgraded: the next job resolves it.")
    row.previous_lock, row.lock, row.packages = row.lock, "", {}
    row.error, row.built_at, row.resolved_at, row.resolved_by = "", None, None, user
    row.save()
    return row


@transaction.atomic
def roll_back_environment(environment: PluginEnvironment, user: User | None = None) -> PluginEnvironment:
    """Return to the versions before the last upgrade; another step back returns to those of now."""
    row = lock_row(environment)
    if not row.previous_lock:
        raise Conflict(f"{row} has no earlier versions to return to.")
    row.lock, row.previous_lock = row.previous_lock, row.lock
    row.packages = packages_of(row.lock)
    row.error, row.built_at, row.resolved_at, row.resolved_by = "", None, timezone.now(), user
    row.save()
    return row


@transaction.atomic
def rebuild_environment(environment: PluginEnvironment, user: User | None = None) -> PluginEnvironment:
    """Have the next job build the environment again from the same versions, on every host."""
    row = lock_row(environment)
    if not row.lock:
        raise Conflict(f"{row} has no versions yet: the next job resolves and builds it.")
    row.lock = f"{_without_mark(row.lock)}\n{REBUILT}{timezone.now().isoformat(timespec='milliseconds')}\n"
    row.error, row.built_at = "", None
    row.save(update_fields=["lock", "error", "built_at"])
    return row


def _without_mark(lock: str) -> str:
    """A lock as it was before any rebuild."""
    return lock.partition(f"\n{REBUILT}")[0].strip()
