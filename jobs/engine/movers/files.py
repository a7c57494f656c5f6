"""The extractor tap-files: which files there are, which of them are new or changed, and what columns they have.

A bookmark holds for each file its size and time, or what the web server said of it, and a digest where that is cheap.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import importlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from jobs.engine.movers import downloads, failures, paths, types
from jobs.engine.movers.file_formats import ParquetPart
from jobs.engine.movers.ports import FILE_COLUMN, Column, Source, Stream
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.text_formats import CsvPart, JsonlPart

DIGEST_BYTES = 64 << 20  # larger files are known by size and time alone
GZIP_MAGIC = b"\x1f\x8b"
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
ENCODINGS = {
    "utf-8": "utf-8",
    "iso8859-1": "latin-1",
    "utf-16": "utf-16",
}  # by Python's name: those DuckDB reads itself
# A codec is a module, and may be out of reach once root is given up: these are imported before.
OTHER_ENCODINGS = (
    *("ascii", "big5", "cp437", "cp850", "cp852", "cp866", "cp932", "cp949", "euc_jp", "euc_kr", "gb18030", "gbk"),
    *("koi8_r", "koi8_u", "mac_roman", "shift_jis", "latin_1", "utf_8", "utf_8_sig", "utf_16", "utf_16_be"),
    *("utf_16_le", "utf_32"),
    *(f"cp125{number}" for number in range(9)),
    *(f"iso8859_{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
)
for _codec in OTHER_ENCODINGS:
    importlib.import_module(f"encodings.{_codec}")

AnyPart = CsvPart | JsonlPart | ParquetPart
PARTS: dict[str, type[CsvPart] | type[JsonlPart] | type[ParquetPart]] = {
    "csv": CsvPart,
    "tsv": CsvPart,
    "jsonl": JsonlPart,
    "parquet": ParquetPart,
}


class FilesReader:
    """Reads the streams of tap-files."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._settings = spec["extractor"]["settings"]
        self._base = str(spec.get("files_folder") or "")
        self._run_folder = str(spec.get("run_folder") or ".")
        self._allowed = [str(folder) for folder in spec.get("allowed_folders") or ()]
        self._limits = spec.get("limits") or {}

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(str(entry.get("stream") or ""), tuple(entry.get("primary_keys") or ()), checked(entry))
            for entry in self._settings.get("files") or ()
        ]

    @contextmanager
    def open(
        self, stream: Stream, *, engine: Any, bookmark: Mapping[str, Any], method: str, careful: bool
    ) -> Iterator[Source]:
        """Find the files and look into those that are new or changed; all of them where a table is replaced."""
        known = {} if method == "replace" else dict(bookmark.get("files") or {})
        marks: dict[str, Any] = dict(known)
        parts: list[AnyPart] = []
        found = self._find(stream)
        for name, path in found:
            part, mark = self._look(stream, name, path, known=known.get(name) or {})
            marks[name] = mark
            if part is not None:
                parts.append(part)
        if len(found) > len(parts):
            log(f"{stream.name}: {len(found) - len(parts)} of {len(found)} files are unchanged and skipped")
        if parts:
            size = sum(part.size or 0 for part in parts)
            log(f"{stream.name}: reading {len(parts)} file{'s' if len(parts) > 1 else ''}, {_size(size)}")
        for part in parts:
            self._inspect(part, engine, careful=careful)
        columns = _all_columns(parts, allow_text=bool(self._settings.get("allow_text_widening")))
        if len(columns) == 1 and method == "merge":
            columns = []  # empty files: there is no row and no key
        yield Source(
            columns=columns,
            parts=parts,
            bookmark={"files": marks},
            is_full=method == "replace",
            by_file=True,
            nothing_new=not parts and method != "replace",
        )

    def _find(self, stream: Stream) -> list[tuple[str, str]]:
        """The files of a stream: their names for people and tables, and where they are."""
        pattern = str(stream.settings.get("path") or "")
        if pattern.startswith(("http://", "https://")):
            return [(downloads.shown(pattern), pattern)]
        root = paths.resolve("", allowed=self._allowed, base=self._base)
        fixed = pattern.partition("*")[0].partition("?")[0].partition("[")[0].rpartition("/")[0]
        where = paths.resolve(fixed or ("/" if pattern.startswith("/") else ""), allowed=self._allowed, base=self._base)
        exact = paths.resolve(pattern, allowed=self._allowed, base=self._base, what="The file")
        if os.path.isfile(exact):  # also a name that holds a wildcard's letter
            return [(_name(exact, root), exact)]
        rest = pattern[len(fixed) :].lstrip("/")
        matches = sorted(glob.glob(os.path.join(glob.escape(where), rest), recursive=True))
        matches = [
            paths.resolve(os.path.abspath(path), allowed=[*self._allowed, where], what="The file") for path in matches
        ]
        found = [(_name(path, root), path) for path in matches if os.path.isfile(path)]
        if not found:
            raise _missing(stream, pattern, root)
        return list(dict(found).items())

    def _look(
        self, stream: Stream, name: str, path: str, *, known: Mapping[str, Any]
    ) -> tuple[AnyPart | None, Mapping[str, Any]]:
        """A file's part and its mark; no part where the file is what the bookmark knows."""
        if path.startswith(("http://", "https://")):
            to = os.path.join(self._run_folder, f"download-{hashlib.blake2b(path.encode(), digest_size=8).hexdigest()}")
            got = downloads.download(path, to=to, limits=self._limits, known=known, stream=stream.name)
            if got.unchanged or got.mark is None:
                return None, known
            return self._part(stream, name, got.path, got.size), got.mark
        try:
            mark = _mark(path, known)
            if mark is None:
                return None, {**known, "mtime_ns": os.stat(path).st_mtime_ns}
            return self._part(stream, name, path, int(mark["size"])), mark
        except OSError as error:
            raise _unreadable(stream, name, error) from error

    def _part(self, stream: Stream, name: str, path: str, size: int) -> AnyPart:
        settings = dict(stream.settings)
        compression = str(settings.get("compression") or "auto")
        if compression == "auto":
            with open(path, "rb") as file:
                compression = "gzip" if file.read(2) == GZIP_MAGIC else "none"
        kind = str(settings.get("format") or "auto")
        if kind == "auto":
            kind = _format_of(stream, name)
            settings["format"] = kind
        if kind != "parquet":
            settings["encoding"], path, compression = self._decoded(stream, name, path, compression)
        part = PARTS[kind](stream.name, path, name, size, settings, "none" if kind == "parquet" else compression)
        if isinstance(part, JsonlPart):
            part.run_folder = self._run_folder
        return part

    def _decoded(self, stream: Stream, name: str, path: str, compression: str) -> tuple[str, str, str]:
        """The encoding DuckDB is to read, and where; what it cannot read itself is written anew as UTF-8."""
        encoding = str(stream.settings.get("encoding") or "utf-8")
        python_name = codecs.lookup(encoding).name
        wanted = ENCODINGS.get(python_name)
        is_text = stream.settings.get("format") != "jsonl" and not name.endswith((".jsonl", ".ndjson"))
        if wanted == "utf-8" or (wanted and is_text):
            return wanted, path, compression
        source: AnyPart = CsvPart(stream.name, path, name, None, {}, compression)
        copy = os.path.join(self._run_folder, f"utf8-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}")
        decoder = codecs.getincrementaldecoder(python_name)()
        try:
            with source.bytes() as raw, open(copy, "wb") as out:
                while chunk := raw.read(1 << 20):
                    out.write(decoder.decode(chunk).encode())
                out.write(decoder.decode(b"", True).encode())
        except UnicodeDecodeError as error:
            raise _wrong_encoding(stream, name, encoding, error) from error
        return "utf-8", copy, "none"

    def _inspect(self, part: AnyPart, engine: Any, *, careful: bool) -> None:
        part.careful = careful
        try:
            part.inspect(engine)
        except duckdb.Error as error:
            raise part.explain(error) from error
        except OSError as error:
            raise _unreadable(Stream(part.stream), part.file, error) from error
        except (EOFError, zlib.error) as error:  # packed, and cut short or damaged
            raise _unreadable(Stream(part.stream), part.file, OSError(str(error))) from error
        if not part.columns:
            log(f"{part.stream}: {part.file} is empty", level="warning")
        for column in part.columns:
            if column.name.lower() == FILE_COLUMN:
                raise MoverError(
                    f"{part.file} has a column {FILE_COLUMN}",
                    reason="That name is taken: it says which file a row came from.",
                    remedy="Rename the column in the file.",
                    code="column-twice",
                    stream=part.stream,
                    file=part.file,
                    column=column.name,
                )


def checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A stream's settings, types by their DuckDB names. Raises MoverError for what is not known."""
    settings = dict(entry)
    name = str(entry.get("stream") or "")
    columns = {}
    for column, kind in (entry.get("columns") or {}).items():
        columns[column] = types.normal(str(kind)) or ""
        if not columns[column]:
            raise MoverError(
                f"Column {column} of stream {name} is to have the type {kind}, which does not exist",
                reason="The setting columns takes DuckDB's types.",
                remedy="Use one such as VARCHAR, BIGINT, DECIMAL(10,2), DOUBLE, BOOLEAN, DATE or TIMESTAMP.",
                code="type-unknown",
                stream=name,
                column=column,
            )
    encoding = str(entry.get("encoding") or "utf-8")
    try:
        codec = codecs.lookup(encoding)
        is_known = codec._is_text_encoding  # type: ignore[attr-defined]
    except LookupError:
        is_known = False
    if not is_known:
        raise MoverError(
            f"The encoding {encoding} of stream {name} is not known",
            remedy="Use one such as utf-8, latin-1, cp1252, utf-16 or shift_jis.",
            code="encoding-unknown",
            stream=name,
        )
    settings["columns"] = columns
    return settings


def _size(size: int) -> str:
    return f"{size / 1048576:,.1f} MiB" if size >= 1048576 else f"{size / 1024:,.1f} KiB"


def _name(path: str, root: str) -> str:
    """A file's name for people and tables: relative to the workspace's files where it lies there."""
    return path[len(root) + 1 :] if path.startswith(root + "/") else paths.shown(path)


def _format_of(stream: Stream, name: str) -> str:
    stem = name.lower()
    for ending in (".gz", ".gzip"):
        stem = stem.removesuffix(ending)
    kind = FORMATS.get(os.path.splitext(stem)[1])
    if kind is None:
        raise MoverError(
            f"The format of {name} is not known",
            reason=f"Its name ends with none of {', '.join(FORMATS)}, with or without .gz.",
            remedy="Set the stream's format to csv, tsv, jsonl or parquet.",
            code="format-unknown",
            stream=stream.name,
            file=name,
        )
    return kind


def _mark(path: str, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """How to recognise a file; None where it is the known one. Its time alone may differ, if the digest does not."""
    facts = os.stat(path)
    if known.get("size") == facts.st_size and known.get("mtime_ns") == facts.st_mtime_ns:
        return None
    mark: dict[str, Any] = {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
    if facts.st_size <= DIGEST_BYTES:
        with open(path, "rb") as file:
            mark["digest"] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        if known.get("digest") == mark["digest"]:
            return None
    return mark


def _all_columns(parts: Sequence[AnyPart], *, allow_text: bool) -> list[Column]:
    """The columns of all parts together, each in a type that holds all values."""
    columns: dict[str, Column] = {}
    names: dict[str, str] = {}
    for part in parts:
        for column in part.columns:
            key = column.name.lower()
            name = names.setdefault(key, column.name)
            if name != column.name:
                part.rename(column.name, name)
            old = columns.get(name)
            kind = column.type if old is None else types.widen(old.type, column.type)
            if kind is None and not allow_text and old is not None:
                raise part.disagree(column.name, old.type)
            file = old.file if old is not None and kind == old.type else part.file
            columns[name] = Column(name, kind or "VARCHAR", file=file)
    if parts:
        columns[FILE_COLUMN] = Column(FILE_COLUMN, "VARCHAR")
    return list(columns.values())


def _missing(stream: Stream, pattern: str, root: str) -> MoverError:
    is_glob = glob.has_magic(pattern)
    where = "in the workspace's files" if not pattern.startswith("/") else "on this host"
    return MoverError(
        f"No file matches {pattern}" if is_glob else f"The file {pattern} does not exist",
        reason=f"Stream {stream.name} looks for it {where}.",
        remedy="Check the stream's setting path, or add the file.",
        code="file-missing",
        stream=stream.name,
        file=pattern,
    )


def _unreadable(stream: Stream, name: str, error: OSError) -> MoverError:
    if error.errno == 28:
        return failures.disk_full(f"to read {name}", stream=stream.name)
    return MoverError(
        f"{name} cannot be read",
        reason=f"{error.strerror or error}.",
        remedy="Check the file, its compression, and that the user that jobs run as may read it.",
        code="file-unreadable",
        stream=stream.name,
        file=name,
    )


def _wrong_encoding(stream: Stream, name: str, encoding: str, error: UnicodeDecodeError) -> MoverError:
    return MoverError(
        f"{name} is not encoded as {encoding}",
        reason=f"Byte 0x{error.object[error.start]:02x} has no meaning there.",
        remedy="Set the stream's encoding to that of the file.",
        code="encoding-wrong",
        stream=stream.name,
        file=name,
    )
