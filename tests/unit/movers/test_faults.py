"""Files that are broken, endless or out of bounds: named, bounded, and nothing half-written."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_duckdb, to_files

MIB = 1 << 20


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_packed_file_cut_short_is_named(place: Workspace, ending: str):
    line = {"csv": "%d,note of %d\n", "jsonl": '{"id": %d, "note": "note of %d"}\n'}[ending]
    text = ("id,note\n" if ending == "csv" else "") + "".join(line % (n, n) for n in range(100_000))
    packed = gzip.compress(text.encode())
    place.write(f"t.{ending}.gz", packed[: len(packed) // 2])
    error = place.move(tap_files({"stream": "t", "path": f"t.{ending}.gz"}), to_duckdb()).error

    assert error["file"] == f"t.{ending}.gz" and error["code"] != "unexpected"
    assert place.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'") == [(0,)]


@pytest.mark.parametrize("content", [b"id\n1\n", b"\x1f\x8bnot packed at all"])
def test_a_file_that_is_not_packed_though_it_says_so_is_named(place: Workspace, content: bytes):
    place.write("t.csv.gz", content)
    tap = tap_files({"stream": "t", "path": "t.csv.gz", "compression": "gzip"})
    error = place.move(tap, to_duckdb()).error
    assert error["file"] == "t.csv.gz" and error["code"] != "unexpected"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_line_without_end_is_named_within_bounded_memory(place: Workspace, ending: str):
    start = b"id,note\n1,x\n2," if ending == "csv" else b'{"id": 1, "note": "x"}\n{"id": 2, "note": "'
    place.write(f"t.{ending}", start + b"a" * (64 * MIB))
    error = place.move(tap_files({"stream": "t", "path": f"t.{ending}"}), to_duckdb()).error

    assert error["file"] == f"t.{ending}" and error["code"] != "unexpected"
    assert place.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'") == [(0,)]


def test_a_symlink_among_the_files_that_a_pattern_finds_may_not_lead_out(place: Workspace, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.csv"
    secret.write_text("id\n1\n")
    place.write("orders/1.csv", "id\n1\n")
    (place.files / "orders" / "2.csv").symlink_to(secret)
    error = place.move(tap_files({"stream": "t", "path": "orders/*.csv"}), to_duckdb()).error
    assert error["code"] == "path-outside"


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["movers", *sys.argv[2:]]
runpy.run_module("jobs.engine.movers", run_name="__main__")
"""


@pytest.mark.parametrize("store", ["duckdb", "files"])
def test_a_file_that_may_not_grow_further_ends_the_run_and_keeps_what_was_there(
    place: Workspace, store: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory
):
    """The limit of a user's files, where the disk itself has room."""
    loader = {"duckdb": to_duckdb(), "files": to_files(format="csv")}[store]
    tap = tap_files({"stream": "t", "path": "*.csv"})
    place.write("few.csv", "id,note\n1,x\n")
    first = place.load(tap, loader)
    place.write("many.csv", "id,note\n" + "".join(f"{n},{n * 7919:040d}\n" for n in range(200_000)))
    program = tmp_path_factory.mktemp("program") / "limited.py"
    program.write_text(LIMITED)

    real = subprocess.Popen

    def start(argv: list[str], **more: object) -> subprocess.Popen[str]:
        return real([sys.executable, str(program), str(2 * MIB), *argv[3:]], **more)

    monkeypatch.setattr("tests.unit.movers.conftest.subprocess.Popen", start)
    ended = place.move(tap, loader, **first.state)
    monkeypatch.undo()

    assert ended.error["code"] != "unexpected", ended.log
    if store == "duckdb":
        assert place.query("SELECT count(*) FROM shop.t") == [(1,)]
    else:
        assert len(list((place.folder / "exports" / "t").glob("*part-*"))) == 1
    assert place.load(tap, loader).stream("t")["rows_read"] == 200_000
