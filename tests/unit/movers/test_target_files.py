"""target-files: a manifest says which data files count."""

from __future__ import annotations

import json

import duckdb
import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_files


def orders(**more):
    return tap_files({"stream": "orders", "path": "orders/*.csv", "primary_keys": ["id"], **more})


def manifest(place: Workspace) -> dict:
    return json.loads((place.folder / "exports" / "orders" / "_eltsite_manifest.json").read_text())


def rows(place: Workspace, ending: str = "parquet") -> list:
    """What a reader finds who follows the manifest; a reader of all files must find the same."""
    folder = place.folder / "exports" / "orders"
    named = sorted(str(folder / file["name"]) for file in manifest(place)["files"])
    assert named == sorted(str(path) for path in folder.iterdir() if path.name != "_eltsite_manifest.json")
    reader = {"parquet": "read_parquet", "csv": "read_csv", "jsonl": "read_json"}[ending]
    return duckdb.sql(
        f"SELECT id, amount::VARCHAR FROM {reader}({named!r}, union_by_name = true) ORDER BY id"
    ).fetchall()


@pytest.mark.parametrize(
    ("ending", "compression"),
    [("parquet", "auto"), ("csv", "none"), ("csv", "gzip"), ("jsonl", "auto"), ("jsonl", "gzip")],
)
def test_each_method_in_each_format(place: Workspace, ending: str, compression: str):
    place.write("orders/1.csv", "id,amount\n1,1.25\n2,2.25\n")
    first = place.load(orders(), to_files(format=ending, compression=compression))
    place.write("orders/1.csv", "id,amount\n1,1.75\n")
    place.write("orders/2.csv", "id,amount,note\n3,3.25,new\n")
    second = place.load(orders(), to_files(format=ending, compression=compression), **first.state)
    assert rows(place, ending) == [(1, "1.75"), (3, "3.25")]
    assert (second.stream("orders")["inserted"], second.stream("orders")["deleted"]) == (2, 2)

    place.write("orders/3.csv", "id,amount\n3,9.25\n4,4.25\n4,4.5\n")
    third = place.load(orders(), to_files("merge", format=ending, compression=compression), **second.state)
    done = third.stream("orders")
    assert (done["rows_read"], done["inserted"], done["updated"]) == (3, 1, 1)
    assert [row[0] for row in rows(place, ending)] == [1, 3, 4]
    assert [float(row[1]) for row in rows(place, ending)] == [1.75, 9.25, 4.5]

    place.load(orders(), to_files("replace", format=ending, compression=compression), **third.state)
    assert len(rows(place, ending)) == 5


def test_unchanged_files_write_nothing(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1.25\n")
    first = place.load(orders(), to_files())
    before = manifest(place)
    place.load(orders(), to_files(), **first.state)
    assert manifest(place) == before


def test_files_that_a_killed_run_left_are_named_or_removed(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1.25\n")
    first = place.load(orders(), to_files())
    folder = place.folder / "exports" / "orders"
    (name,) = [file["name"] for file in manifest(place)["files"]]
    (folder / name).rename(folder / f".{name}.part")  # killed after the manifest, before the names
    (folder / ".part-20200101T000000000000-00000.parquet.part").write_text("left over")
    place.write("orders/2.csv", "id,amount\n2,2.25\n")
    place.load(orders(), to_files(), **first.state)
    assert rows(place) == [(1, "1.25"), (2, "2.25")]


def test_merge_refuses_rows_without_a_key(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1\n,2\n")
    assert place.move(orders(), to_files("merge")).error["code"] == "null-key"
    assert place.move(orders(primary_keys=[]), to_files("merge")).error["code"] == "key-missing"


def test_a_folder_outside_is_refused(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,1\n")
    assert place.move(orders(), to_files(path="../elsewhere")).error["code"] == "path-outside"
    place.allowed.append(str(place.folder.parent))
    place.load(orders(), to_files(path=str(place.folder.parent / "elsewhere")))
