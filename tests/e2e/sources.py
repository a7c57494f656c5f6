"""What connectors read in these tests: a PostgreSQL database behind a port, and a small web API."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = ("new", "paid", "sent")


def order(number: int) -> dict:
    """An order as the API has it; each a minute younger than the one before."""
    return {
        "id": number,
        "status": STATUSES[number % 3],
        "amount": round(number * 1.25, 2),
        "note": None if number % 7 == 0 else f"Order {number}, “quoted”",
        "updated_at": (FIRST + timedelta(minutes=number)).isoformat(),
    }


class Api:
    """GET /orders?since=... and /customers, each as one JSON list. Rows are added between two runs."""

    def __init__(self) -> None:
        self.orders = [order(number) for number in range(1, 101)]
        self.asked: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                api.asked.append(self.path)
                since = parse_qs(parts.query).get("since", [""])[0]
                rows = [{"id": 1, "name": "Ada"}]
                if parts.path == "/orders":
                    rows = [row for row in api.orders if row["updated_at"] >= since]
                body = json.dumps(rows).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Api:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Database:
    """A database of the test's PostgreSQL server with a small shop in it, as connectors reach it: by host and port."""

    def __init__(self, url: str, port: int) -> None:
        self._url = url
        self.port = port
        self.name = urlsplit(url).path.lstrip("/")
        self.execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint PRIMARY KEY, status text, amount numeric(12, 2),"
            " note text, secret text, updated_at timestamptz NOT NULL);"
            "CREATE TABLE shop.customers (id bigint PRIMARY KEY, name text);"
            "INSERT INTO shop.customers VALUES (1, 'Ada'), (2, 'Grace')"
        )
        self.add_orders(1, 500)

    def execute(self, query: str) -> None:
        """Run statements and commit."""
        with psycopg.connect(self._url) as connection:
            connection.execute(query)

    def add_orders(self, first: int, last: int) -> None:
        """Orders with these numbers, each a minute younger than the one before."""
        self.execute(
            "INSERT INTO shop.orders SELECT n, (array['new', 'paid', 'sent'])[n % 3 + 1], n * 1.25,"
            " CASE WHEN n % 7 > 0 THEN 'Order ' || n END, 'secret ' || n,"
            f" '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute' FROM generate_series({first}, {last}) n"
        )

    def rows(self, query: str) -> list[tuple]:
        """What a query answers."""
        with psycopg.connect(self._url) as connection:
            return connection.execute(query).fetchall()

    def settings(self, database: str) -> dict[str, str]:
        """The settings of a connector; `database` is its name for the database's name."""
        at = {"host": "127.0.0.1", "port": str(self.port), "user": "postgres", "password": "no-password-is-asked-for"}
        return at | {database: self.name}


@contextlib.contextmanager
def forwarded_postgres() -> Iterator[int]:
    """A port of this host that leads to the test's PostgreSQL server, which itself listens on a socket file only."""
    folder = parse_qs(urlsplit(os.environ["TEST_POSTGRES_URL"]).query)["host"][0]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(os.path.join(folder, ".s.PGSQL.5432"))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
