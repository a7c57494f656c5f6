"""A folder of data files and its manifest: what a merge keeps, what a killed run leaves, what readers see meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.unit.movers.conftest import Workspace, tap_files, to_files

FORMATS = ("parquet", "csv", "jsonl")


def orders(**more):
    return tap_files({"stream": "orders", "path": "orders/*.csv", "primary_keys": ["id"], **more})


def folder(place: Workspace) -> Path:
    return place.folder / "exports" / "orders"


def manifest(place: Workspace) -> dict[str, Any]:
    return json.loads((folder(place) / "_eltsite_manifest.json").read_text())


def rows(place: Workspace, columns: str = "id, amount") -> list[Any]:
    """What a reader finds who follows the manifest."""
    files = [str(folder(place) / file["name"]) for file in manifest(place)["files"]]
    reader = {"parquet": "read_parquet", "csv": "read_csv", "jsonl": "read_json"}[manifest(place)["format"]]
    return duckdb.sql(f"SELECT {columns} FROM {reader}({files!r}, union_by_name = true) ORDER BY id").fetchall()


@pytest.mark.parametrize("file_format", FORMATS)
def test_merge_keeps_the_columns_that_the_source_does_not_have(place: Workspace, file_format: str):
    place.write("orders/1.csv", "id,amount,note\n1,10,kept\n2,20,too\n")
    first = place.load(orders(), to_files("merge", format=file_format))
    (place.files / "orders/1.csv").unlink()
    place.write("orders/2.csv", "id,amount\n1,11\n3,30\n")
    place.load(orders(), to_files("merge", format=file_format), **first.state)

    assert rows(place, "id, amount, note") == [(1, 11, "kept"), (2, 20, "too"), (3, 30, None)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_merge_keeps_types_and_text_through_every_rewrite(place: Workspace, file_format: str):
    """A merge reads its own files again: empty text is not NULL, 007 not 7, and a wider type takes the old rows along."""
    place.write("orders/1.csv", 'id,amount,zip,note\n1,10,007,""\n2,20,,"a,""b""\nc"\n')
    first = place.load(orders(), to_files("merge", format=file_format))
    place.write("orders/2.csv", "id,amount,zip,note\n3,0.25,0099,x\n")
    second = place.load(orders(), to_files("merge", format=file_format), **first.state)
    place.write("orders/3.csv", "id,amount,zip,note\n4,1,1234,y\n")
    place.load(orders(), to_files("merge", format=file_format), **second.state)

    (name,) = [file["name"] for file in manifest(place)["files"]]
    options = ", quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, all_varchar = true"
    source = f"read_csv('{folder(place) / name}'{options})" if file_format == "csv" else f"'{folder(place) / name}'"
    found = duckdb.sql(f"SELECT zip::VARCHAR, note, amount::DECIMAL(9,2) FROM {source} ORDER BY id").fetchall()
    assert [row[:2] for row in found] == [("007", ""), (None, 'a,"b"\nc'), ("0099", "x"), ("1234", "y")]
    assert [str(row[2]) for row in found] == ["10.00", "20.00", "0.25", "1.00"]
    assert manifest(place)["columns"]["amount"].startswith("DECIMAL")


@pytest.mark.parametrize("file_format", FORMATS)
def test_merge_widens_nested_and_timed_columns_like_any_other(place: Workspace, file_format: str):
    tap = tap_files({"stream": "orders", "path": "orders/*.jsonl", "primary_keys": ["id"]})
    place.write("orders/1.jsonl", '{"id": 1, "at": "2024-02-29", "tags": ["a", "b"]}\n')
    first = place.load(tap, to_files("merge", format=file_format))
    place.write("orders/2.jsonl", '{"id": 2, "at": "2024-03-01 10:00:00", "tags": {"k": [1, null]}}\n')
    place.load(tap, to_files("merge", format=file_format), **first.state)

    found = rows(place, 'id, "at"::TIMESTAMP::VARCHAR, tags::JSON::VARCHAR')
    assert [row[:2] for row in found] == [(1, "2024-02-29 00:00:00"), (2, "2024-03-01 10:00:00")]
    assert [json.loads(row[2]) for row in found] == [["a", "b"], {"k": [1, None]}]


def test_a_reader_of_the_old_manifest_is_not_shown_a_run_that_failed(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    first = place.load(orders(), to_files("replace"))
    before = manifest(place)
    place.write("orders/2.csv", "id,amount\n2,20,oops\n")
    assert place.move(orders(), to_files("replace"), **first.state).error["code"] == "csv-line"

    assert manifest(place) == before
    assert rows(place) == [(1, 10)]
    assert sorted(path.name for path in folder(place).iterdir()) == sorted(
        ["_eltsite_manifest.json", *(file["name"] for file in before["files"])]
    )


def test_each_format_of_a_folder_may_change_between_runs(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    first = place.load(orders(), to_files("merge", format="csv"))
    place.write("orders/2.csv", "id,amount\n1,11\n2,20\n")
    place.load(orders(), to_files("merge", format="parquet"), **first.state)

    assert rows(place) == [(1, 11), (2, 20)]


def test_a_manifest_that_cannot_be_read_is_named_and_nothing_is_removed(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    first = place.load(orders(), to_files())
    (folder(place) / "_eltsite_manifest.json").write_text("{")
    before = sorted(path.name for path in folder(place).iterdir())
    error = place.move(orders(), to_files(), **first.state).error

    assert error["code"] == "store-unreadable"
    assert error["file"] == "exports/orders/_eltsite_manifest.json"
    assert sorted(path.name for path in folder(place).iterdir()) == before


def test_files_of_other_programs_in_the_folder_stay(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    first = place.load(orders(), to_files())
    (folder(place) / "README.txt").write_text("ours")
    place.load(orders(), to_files("replace"), **first.state)

    assert (folder(place) / "README.txt").read_text() == "ours"


def test_two_pipelines_of_one_folder_keep_each_others_state(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n")
    other = "33333333-3333-4333-8333-333333333333"
    place.load(orders(), to_files("merge"))
    place.load(orders(), to_files("merge"), pipeline=other)
    assert set(manifest(place)["loads"]) == {"11111111-1111-4111-8111-111111111111", other}
    assert place.load(orders(), to_files("merge")).stream("orders")["rows_read"] == 0


def test_merge_takes_a_key_that_an_append_left_twice(place: Workspace):
    place.write("orders/1.csv", "id,amount\n1,10\n1,11\n2,20\n")
    first = place.load(orders(), to_files("append"))
    place.write("orders/2.csv", "id,amount\n1,12\n3,30\n")
    done = place.load(orders(), to_files("merge"), **first.state).stream("orders")

    assert (done["inserted"], done["updated"]) == (1, 1)
    assert rows(place) == [(1, 12), (2, 20), (3, 30)]


@pytest.mark.parametrize("method", ["append", "merge"])
def test_columns_are_spelled_as_the_first_file_spelled_them(place: Workspace, method: str):
    place.write("orders/1.csv", "id,Amount\n1,10\n")
    first = place.load(orders(), to_files(method))
    place.write("orders/2.csv", "ID,AMOUNT\n2,20.5\n")
    place.load(orders(), to_files(method), **first.state)

    assert list(manifest(place)["columns"]) == ["id", "Amount", "_eltsite_file"]
    assert {name for file in manifest(place)["files"] for name in file["columns"]} == set(manifest(place)["columns"])
    assert rows(place) == [(1, 10), (2, 20.5)]
