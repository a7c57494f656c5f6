"""Making an installation ready to start: folders, keys, database, catalogue, the user that runs work as."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from eltsite import crypto
from eltsite.errors import Conflict
from jobs.folders import ensure_run_as_user
from workspaces.models import InstallationFact, User

logger = logging.getLogger("eltsite.up")

KEPT_BACKUPS = 5
KEY_FACT = "key-fingerprint"


class NewerSchema(Conflict):
    """The database was migrated by a newer eltsite than this one."""


class DatabaseAway(Conflict):
    """The database does not answer."""


class WrongKey(Conflict):
    """The key is not the one that encrypted this installation's secrets."""


def prepare() -> None:
    """Everything before the first process starts. Safe to repeat; raises what stands in the way, with the remedy.

    1. the home, closed to others; 2. a database of a newer eltsite is refused; 3. SQLite is backed up before it is
    migrated; 4. the encryption key must be the one the database knows; 5. the user that runs work as.
    """
    home = Path(settings.ELTSITE_HOME)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    _require_database()
    _refuse_newer_schema()
    pending = _pending_migrations()
    if pending:
        _back_up()
        call_command("migrate", verbosity=0, interactive=False)
    for path in home.glob("eltsite.sqlite3*"):
        path.chmod(0o600)
    check_key()
    ensure_run_as_user()


def _require_database() -> None:
    try:
        connection.ensure_connection()
    except OperationalError as error:
        name = "ELTSITE_HOME" if settings.USES_SQLITE else "ELTSITE_DATABASE_URL"
        raise DatabaseAway(f"The database does not answer: {str(error).strip()} Check {name}.") from error


def _refuse_newer_schema() -> None:
    loader = MigrationLoader(connection)
    ours = {"workspaces", "pipelines", "jobs"}
    unknown = sorted(
        f"{app}.{name}"
        for app, name in loader.applied_migrations
        if app in ours and (app, name) not in loader.disk_migrations
    )
    if unknown:
        raise NewerSchema(
            f"The database holds changes that this version ({settings.VERSION}) does not know: {', '.join(unknown)}. "
            "Start the newer version again, or restore the backup made before it was installed."
        )


def _pending_migrations() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _back_up() -> None:
    """Copy a SQLite database that holds something, by SQLite's own backup: whole even while others write."""
    source = Path(str(settings.DATABASES["default"]["NAME"]))
    if not settings.USES_SQLITE or not source.exists() or not connection.introspection.table_names():
        return
    folder = Path(settings.ELTSITE_HOME) / "backups"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    target = folder / f"eltsite-{timezone.now():%Y%m%d-%H%M%S}.sqlite3"
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    target.chmod(0o600)
    logger.info("backed the database up to %s", target)
    for oldest in sorted(folder.glob("eltsite-*.sqlite3"))[:-KEPT_BACKUPS]:
        oldest.unlink()


def check_key() -> None:
    """Compare the key with the fingerprint in the database, or record it the first time. Raises WrongKey, KeyFault."""
    crypto.cipher(settings.ELTSITE_KEYS)
    prints = [crypto.fingerprint(key) for key in settings.ELTSITE_KEYS]
    known, _ = InstallationFact.objects.get_or_create(name=KEY_FACT, defaults={"value": prints[0]})
    if known.value not in prints:
        raise WrongKey(
            f"The secrets in this database were encrypted with the key {known.value}, but ELTSITE_KEY holds "
            f"{', '.join(prints)}. Set the right key, or put the old one after the new one to rotate."
        )
    if known.value != prints[0]:
        InstallationFact.objects.filter(name=KEY_FACT).update(value=prints[0])


def first_administrator_link(base_url: str) -> str:
    """A one-time link with which the first administrator sets a password; empty where there is one already."""
    if User.objects.filter(is_superuser=True, is_active=True).exclude(password__startswith="!").exists():
        return ""
    user, made = User.objects.get_or_create(username="admin", defaults={"is_superuser": True, "is_staff": True})
    if made:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("welcome", kwargs={"uidb64": uid, "token": default_token_generator.make_token(user)})
    return base_url + path
