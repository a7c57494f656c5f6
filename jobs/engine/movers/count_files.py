"""Counts the rows of JSONL and CSV files without reading them as such: by their line ends."""

from __future__ import annotations

import glob
import gzip
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

from jobs.engine.movers import paths
from jobs.engine.movers.count_places import filled, filled_path
from jobs.engine.movers.count_tables import Table

BLOCK = 1 << 20  # bytes
COUNTED_BYTES = 8 << 30  # of all files of a stream: more would take longer than it is worth


class FileStore:
    """The files of a target that adds lines to them."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._store = spec["store"]
        self._settings = spec["loader"]["settings"]
        self._base = str(spec.get("files_folder") or "")
        self._allowed = [str(folder) for folder in spec.get("allowed_folders") or ()]
        self._is_csv = self._store["kind"] == "csv"
        self._quote = (filled(self._store.get("quote"), self._settings) or '"').encode()[:1]
        header = filled(self._store.get("header", True), self._settings).strip().lower()
        self._has_header = header not in ("false", "no", "0", "")

    def count(self, streams: Sequence[str], keys: Mapping[str, Any], *, is_after: bool) -> dict[str, Table]:
        """The rows of each stream. Keys are not looked for: such files hold each row that was ever sent."""
        return {stream: self._count(stream) for stream in streams}

    def _count(self, stream: str) -> Table:
        files = self._files(stream)
        size = sum(os.path.getsize(file) for file in files)
        if size > COUNTED_BYTES:
            return Table(exists=True, why=f"its files are larger than {COUNTED_BYTES >> 30} GiB together")
        return Table(rows=sum(self._rows(file) for file in files), exists=bool(files))

    def _files(self, stream: str) -> list[str]:
        """Each resolved by itself: a link inside a folder may lead out of it."""
        path, is_pattern = filled_path(self._store.get("path"), self._settings, stream)
        if not path:
            return []
        place = paths.resolve(path, allowed=self._allowed, base=self._base, what="The target's file")
        found = sorted(glob.glob(place)) if is_pattern else [place]
        resolved = [paths.resolve(file, allowed=self._allowed, what="The target's file") for file in found]
        return [file for file in resolved if os.path.isfile(file)]

    def _rows(self, path: str) -> int:
        opener: Any = gzip.open if path.endswith(".gz") else open
        with opener(path, "rb") as file:
            if not self._is_csv:
                return count_lines(file)
            return max(count_records(file, quote=self._quote) - self._has_header, 0)


def count_lines(file: IO[bytes]) -> int:
    """Lines, the last one also without an end."""
    lines, last = 0, b"\n"
    while block := file.read(BLOCK):
        lines += block.count(b"\n")
        last = block[-1:]
    return lines + (last != b"\n")


def count_records(file: IO[bytes], *, quote: bytes) -> int:
    """CSV records: a line end between quotes ends none. A doubled quote leaves and enters again, which is the same."""
    records, is_quoted, last = 0, False, b"\n"
    while block := file.read(BLOCK):
        pieces = block.split(quote)
        records += sum(piece.count(b"\n") for piece in pieces[is_quoted::2])
        is_quoted ^= len(pieces) % 2 == 0
        last = block[-1:]
    return records + (last != b"\n")
