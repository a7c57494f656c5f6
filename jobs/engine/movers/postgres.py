"""PostgreSQL: connecting, and saying in plain words why it did not work."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import psycopg

from jobs.engine.movers.protocol import MoverError

CONNECT_TIMEOUT_SECONDS = 15
NOTICES_LOST_CLIENTS = 140_000  # the first version of the server that can
SESSION = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
COPIED_COLUMN = re.compile(r"COPY .*?, line \d+, column ([^:\n]*)")
STATE_REMEDIES = {
    "28P01": ("wrong-password", "Check the settings user and password."),
    "28000": ("wrong-password", "Check the settings user and password, and the server's pg_hba.conf."),
    "3D000": ("database-missing", "Check the setting database, or create that database."),
    "53300": ("source-busy", "The server has no free connection: run again later, or raise its max_connections."),
    "42501": ("no-permission", "Grant the user the right it lacks."),
    "42P01": ("table-missing", "Check the names of the table and its schema."),
    "42703": ("column-missing", "Check the names of the columns."),
    "22001": ("value-refused", "Correct the value, or give the column a wider type."),
    "22003": ("value-refused", "Correct the value, or give the column a wider type."),
    "22021": ("value-refused", "Correct the value, or leave the column out."),
    "22P02": ("value-refused", "Correct the value, or leave the column out."),
    "22P05": ("value-refused", "Correct the value, or leave the column out."),
    "53100": ("disk-full", "Free some space on the server's disk, then run again."),
    "57014": ("cancelled", "The statement was cancelled on the server, by a stop or a time limit."),
    "55P03": ("store-locked", "Another session holds the table; wait for it or end it, then run again."),
}


def connect(
    settings: Mapping[str, Any], *, job: str, attempt: int, autocommit: bool = False
) -> psycopg.Connection[Any]:
    """Open a connection marked with the job's name, in UTC, with ISO dates. Raises MoverError, naming the server."""
    try:
        connection = psycopg.connect(
            host=settings.get("host") or "localhost",
            port=int(settings.get("port") or 5432),
            user=settings.get("user") or None,
            password=settings.get("password") or None,
            dbname=settings.get("database") or None,
            sslmode=settings.get("sslmode") or "prefer",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name=f"eltsite {job}:{attempt}"[:63],
            client_encoding="UTF8",
            options=" ".join(f"-c {name}={value}" for name, value in SESSION.items()),
            autocommit=autocommit,
        )
    except psycopg.OperationalError as error:
        raise explain_connect(settings, error) from error
    _end_with_client(connection)
    return connection


def _end_with_client(connection: psycopg.Connection[Any]) -> None:
    """Have the server end a running statement soon after we are gone, however we went."""
    if connection.info.server_version < NOTICES_LOST_CLIENTS:
        return
    with contextlib.suppress(psycopg.errors.InvalidParameterValue):  # not every operating system can
        connection.execute("SET client_connection_check_interval = 1000")
        connection.commit()
    connection.rollback()


def place(settings: Mapping[str, Any]) -> str:
    """The server in words: user@host:port/database."""
    host, port = settings.get("host") or "localhost", settings.get("port") or 5432
    return f"{settings.get('user') or ''}@{host}:{port}/{settings.get('database') or ''}"


def explain_connect(settings: Mapping[str, Any], error: psycopg.Error) -> MoverError:
    """Why no connection came about."""
    text = plain(error)
    where = place(settings)
    if "password authentication failed" in text or "no password supplied" in text:
        return MoverError(
            f"PostgreSQL refused the password of {settings.get('user') or 'the user'}",
            reason=f"{where}: {text}.",
            remedy="Check the settings user and password.",
            code="wrong-password",
        )
    if re.search(r'database ".*" does not exist', text):
        return MoverError(
            f"PostgreSQL has no database {settings.get('database')}",
            reason=f"{where}: {text}.",
            remedy="Check the setting database, or create that database.",
            code="database-missing",
        )
    if re.search(r'role ".*" does not exist|pg_hba.conf|authentication failed', text):
        return MoverError(
            f"PostgreSQL refused the user {settings.get('user') or ''}".rstrip(),
            reason=f"{where}: {text}.",
            remedy="Check the setting user, and what the server's pg_hba.conf allows.",
            code="wrong-password",
        )
    return MoverError(
        f"PostgreSQL at {settings.get('host') or 'localhost'}:{settings.get('port') or 5432} cannot be reached",
        reason=f"{where}: {text}.",
        remedy="Check the settings host and port, that the server runs, and that this host may reach it.",
        code="source-down",
    )


def explain(error: psycopg.Error, *, doing: str, stream: str | None = None) -> MoverError:
    """A failed statement in plain words. `doing` is what was tried, such as "read table public.orders"."""
    state = error.sqlstate or ""
    code, remedy = STATE_REMEDIES.get(
        state, ("statement-failed", "See the reason; correct the settings or the data, then run again.")
    )
    if isinstance(error, psycopg.OperationalError) and not state:
        code, remedy = "source-down", "Check that the server runs and is reachable, then run again."
    return MoverError(
        f"PostgreSQL could not {doing}",
        reason=_sentence(plain(error)),
        remedy=remedy,
        code=code,
        stream=stream,
        column=error.diag.column_name or _copied_column(error),
    )


def _copied_column(error: psycopg.Error) -> str | None:
    """The column that a COPY was at."""
    found = COPIED_COLUMN.match(error.diag.context or "")
    return found[1] if found else None


def plain(error: psycopg.Error) -> str:
    """The server's own words, on one line, without the address list that libpq puts before them."""
    text = error.diag.message_primary or str(error)
    detail = error.diag.message_detail
    text = re.sub(r"^connection failed: ", "", " ".join(text.split()))
    text = re.sub(r'^connection to server (at|on socket) "[^"]*"(, port \d+)?( \([^)]*\))? failed: ', "", text)
    text = re.sub(r"^(FATAL|ERROR): +", "", text)
    return (f"{text} ({' '.join(detail.split())})" if detail else text).rstrip(".")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
