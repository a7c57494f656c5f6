"""What tap-files may reach: the workspace's files, allowed folders, and the web, within bounds."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobs.engine.movers.downloads import shown, why_refused
from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb


def one(path: str, **more):
    return tap_files({"stream": "t", "path": path, **more})


def test_a_file_that_is_missing_is_named(place: Workspace):
    error = place.move(one("nope.csv"), to_duckdb()).error
    assert (error["code"], error["file"]) == ("file-missing", "nope.csv")
    error = place.move(one("orders/*.csv"), to_duckdb()).error
    assert error["code"] == "file-missing" and "orders/*.csv" in error["headline"]


@pytest.mark.parametrize(
    "path", ["../secret.csv", "/etc/passwd", "a/../../secret.csv", "../*.csv", "link.csv", "l*.csv"]
)
def test_a_path_that_leads_outside_is_refused(place: Workspace, path: str):
    outside = place.folder.parent / "secret.csv"
    outside.write_text("a\n1\n")
    (place.files / "a").mkdir()
    (place.files / "link.csv").symlink_to(outside)
    assert place.move(one(path, format="csv"), to_duckdb()).error["code"] in ("path-outside", "file-missing")


def test_an_allowed_folder_is_read_by_its_absolute_path(place: Workspace, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    (folder / "a.csv").write_text("n\n1\n")
    place.allowed.append(str(folder))
    place.load(one(f"{folder}/*.csv"), to_duckdb())
    assert place.query("SELECT n, _eltsite_file FROM shop.t") == [(1, f"{folder}/a.csv")]


def test_unknown_formats_and_encodings_are_named(place: Workspace):
    place.write("t.dat", "a\n1\n")
    assert place.move(one("t.dat"), to_duckdb()).error["code"] == "format-unknown"
    assert place.move(one("t.dat", encoding="klingon"), to_duckdb()).error["code"] == "encoding-unknown"
    place.write("u.csv", b"a\n\xff\n")
    assert place.move(one("u.csv", encoding="ascii"), to_duckdb()).error["code"] == "encoding-wrong"


class Web(BaseHTTPRequestHandler):
    """A small web server: files with tags, redirects, an endless answer."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved.csv":
            return self._answer(302, {"Location": "/orders.csv"})
        if self.path == "/metadata.csv":
            return self._answer(302, {"Location": "http://169.254.169.254/latest/meta-data"})
        if self.path == "/file.csv":
            return self._answer(302, {"Location": "file:///etc/passwd"})
        if self.path == "/round.csv":
            return self._answer(302, {"Location": "/round.csv"})
        if self.path == "/large.csv":
            return self._answer(200, {}, b"a\n" + b"1\n" * (1 << 20))
        if self.path.startswith("/orders.csv"):
            if self.headers.get("If-None-Match") == '"v1"':
                return self._answer(304, {})
            return self._answer(200, {"ETag": '"v1"'}, gzip.compress(b"id,name\n1,x\n2,y\n"))
        return self._answer(404, {})

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    Web.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_file_is_read_once_until_it_changes(place: Workspace, web: str):
    address = f"{web.replace('http://', 'http://user:secret@')}/moved.csv?token=secret"
    tap = one(f"{web}/orders.csv?token=secret")
    first = place.load(tap, to_duckdb())
    assert place.query("SELECT id, name, _eltsite_file FROM shop.t ORDER BY id")[0] == (1, "x", f"{web}/orders.csv")
    second = place.load(tap, to_duckdb(), **first.state)
    assert second.stream("t")["rows_read"] == 0
    assert "secret" not in str(first.events) and "secret" not in shown(address)
    place.load(one(f"{web}/moved.csv"), to_duckdb())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("metadata.csv", "address-refused"),
        ("file.csv", "file-missing"),
        ("round.csv", "file-missing"),
        ("nope.csv", "file-missing"),
        ("large.csv", "file-too-large"),
    ],
)
def test_what_the_web_may_not_do(place: Workspace, web: str, path: str, code: str):
    error = place.move(one(f"{web}/{path}"), to_duckdb()).error
    assert (error["code"], error["file"]) == (code, f"{web}/{path}")


def test_private_addresses_are_refused_unless_allowed(place: Workspace, web: str):
    place.limits["allow_private_addresses"] = False
    assert place.move(one(f"{web}/orders.csv"), to_duckdb()).error["code"] == "address-refused"
    assert Web.asked == []
    down = one("http://127.0.0.1:1/a.csv")
    place.limits["allow_private_addresses"] = True
    assert place.move(down, to_duckdb()).error["code"] == "source-down"


@pytest.mark.parametrize(
    ("address", "private", "metadata"),
    [
        ("93.184.216.34", False, False),
        ("2606:2800:220:1:248:1893:25c8:1946", False, False),
        ("10.0.0.1", True, False),
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("0.0.0.0", True, False),
        ("100.64.0.1", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("fd00::1", True, False),
        ("169.254.169.254", True, True),
        ("::ffff:169.254.169.254", True, True),
        ("2002:a9fe:a9fe::1", True, True),
        ("64:ff9b::169.254.169.254", True, True),
        ("fe80::1%eth0", True, True),
        ("fd00:ec2::254", True, True),
        ("224.0.0.1", True, True),
    ],
)
def test_addresses_are_judged(address: str, private: bool, metadata: bool):
    assert bool(why_refused(address, allow_private=False)) == private
    assert bool(why_refused(address, allow_private=True)) == metadata
