"""One CSV, TSV or JSONL file as a part: columns without types, guessed and then held against the guess."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import duckdb

from jobs.engine.movers import failures, guesses, json_numbers, types
from jobs.engine.movers.file_formats import FilePart
from jobs.engine.movers.ports import FILE_COLUMN, Column, GuessFailed
from jobs.engine.movers.protocol import MoverError, log
from jobs.engine.movers.quoting import ident, text

SAMPLE_ROWS = 20_000
HEADER_BYTES = 1 << 20
WINDOW_BYTES = 8 << 20  # far below DuckDB's buffer of 32 MB, and far above the longest line it reads
GLANCE_BYTES = 64 << 10
DELIMITERS = ",;\t|"


def same_name(stream: str, file: str, name: str) -> MoverError:
    """Two columns whose names differ by case only, or not at all."""
    return MoverError(
        f"{file} has two columns named {name}",
        reason="The names of a table's columns must differ by more than their case.",
        remedy="Rename one of them in the file, or leave it out.",
        code="column-twice",
        stream=stream,
        file=file,
        column=name,
    )


@dataclass
class TextPart(FilePart):
    """Formats with untyped columns: their types are guessed from text, and each value is held against the guess."""

    texts: frozenset[str] = frozenset()  # columns that arrive as text
    given: frozenset[str] = frozenset()  # columns whose type a person chose
    wanted: dict[str, str] = field(default_factory=dict)  # the types of the last scan, by the file's own names

    def relation(self) -> str:
        """A FROM clause with the columns in `texts` as text."""
        raise NotImplementedError

    def guess(self, engine: Any) -> dict[str, str]:
        """Guess the types of text columns, from the first rows or, when careful, from all."""
        names = [name for name in self.texts if name not in self.given]
        return guesses.guess(engine, self.relation(), names, sample_rows=SAMPLE_ROWS, careful=self.careful)

    def select(self, types_by_name: Mapping[str, str]) -> str:
        if not self.columns:  # an empty file: what it held before goes
            return f"SELECT '' AS {ident(FILE_COLUMN)} WHERE false"
        names = {column.name: self.spelled.get(column.name, column.name) for column in self.columns}
        self.wanted = {own: types_by_name[name] for own, name in names.items()}
        texts = {own: kind for own, kind in self.wanted.items() if own in self.texts}
        relation, values = guesses.typed(self.relation(), texts, given=self.given)
        columns = [
            f"{values.get(own) or f'CAST({ident(own)} AS {self.wanted[own]})'} AS {ident(name)}"
            for own, name in names.items()
        ]
        columns.append(f"{text(self.file)} AS {ident(FILE_COLUMN)}")
        return f"SELECT {', '.join(columns)} FROM {relation}"

    def explain(self, error: Exception) -> Exception:
        if guesses.MARK in str(error) or isinstance(error, duckdb.ConversionException):
            bad = self.locate()
            if bad is not None and bad.event["column"] in self.given:
                return bad
            if not self.careful:
                return GuessFailed(self.file)
            if bad is not None:
                return bad
        return super().explain(error)

    def disagree(self, name: str, kind: str) -> MoverError:
        found = self.locate({name: kind}) if name in self.texts else None
        whole = super().disagree(name, kind)
        if found is not None:
            value = str(found.event["headline"]).removeprefix(f"{self.file}, ")
            whole.event |= {
                "line": found.event["line"],
                "reason": f"{value[:1].upper()}{value[1:]}. Nothing was loaded.",
            }
        return whole

    def locate(self, wanted: Mapping[str, str] | None = None) -> MoverError | None:
        """Find the first value that does not fit its column's type, and its line."""
        chosen = {name: kind for name, kind in (wanted or self.wanted).items() if name in self.texts}
        conditions = guesses.misfits(chosen, given=self.given)
        if not conditions:
            return None
        found = " ".join(f"WHEN {condition} THEN {text(name)}" for name, condition in conditions)
        value = " ".join(f"WHEN {condition} THEN {ident(name)}" for name, condition in conditions)
        sql = (
            f"SELECT record, bad, value FROM (SELECT row_number() OVER () AS record, CASE {found} END AS bad,"
            f" CASE {value} END AS value FROM {self.relation()}) WHERE bad IS NOT NULL ORDER BY record LIMIT 1"
        )
        try:
            with duckdb.connect() as engine:  # the store's own connection is in a failed transaction
                row = engine.execute(sql).fetchone()
        except duckdb.Error:
            return None
        return self._bad_value(*row, kind=chosen[row[1]]) if row else None

    def line_of(self, record: int) -> int:
        """The line on which the n-th record begins."""
        return record

    def _bad_value(self, record: int, name: str, value: str, *, kind: str) -> MoverError:
        line = self.line_of(record)
        return MoverError(
            f'{self.file}, line {line}, column {name}: "{failures.clip(value)}" is not a {kind}',
            reason=f"Column {name} of stream {self.stream} has the type {kind}. Nothing of this stream was committed.",
            remedy="Correct the value, set it as the stream's null text, or give the column another type in columns.",
            code="csv-value",
            stream=self.stream,
            file=self.file,
            line=line,
            column=name,
        )


@dataclass
class CsvPart(TextPart):
    """A CSV or TSV file."""

    delimiter: str = ","
    has_header: bool = True

    def inspect(self, engine: Any) -> None:
        """Read the header, then the types."""
        self._refuse_endless_line()
        names = self._header()
        for number, name in enumerate(names):
            if name.lower() in {other.lower() for other in names[:number]}:
                raise same_name(self.stream, self.file, name)
        self.texts = frozenset(names)
        chosen = {name: kind for name, kind in (self.settings.get("columns") or {}).items() if name in names}
        self.given = frozenset(chosen)
        self.columns = [Column(name, "VARCHAR") for name in names]
        if names:
            kinds = {**self.guess(engine), **chosen}
            self.columns = [Column(name, kinds[name]) for name in names]

    def relation(self) -> str:
        columns = ", ".join(f"{text(column.name)}: 'VARCHAR'" for column in self.columns)
        null = str(self.settings.get("null") or "")
        return (
            f"read_csv({self.source}, auto_detect = false, header = {str(self.has_header).lower()},"
            f" delim = {text(self.delimiter)}, quote = '\"', escape = '\"', nullstr = {text(null)},"
            f" allow_quoted_nulls = false, compression = {text(self.compression)},"
            f" encoding = {text(str(self.settings.get('encoding') or 'utf-8'))}, columns = {{{columns}}})"
        )

    def _open(self) -> io.TextIOWrapper:
        encoding = str(self.settings.get("encoding") or "utf-8")
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding
        # What cannot be decoded is DuckDB's to name, with its line.
        return io.TextIOWrapper(self.bytes(), encoding=encoding, errors="replace", newline="")

    def _refuse_endless_line(self) -> None:
        """DuckDB leaves a last line that is longer than its buffer out, without a word."""
        if self.compression == "none" and (self.size or 0) < WINDOW_BYTES:
            return
        with self.bytes() as file:
            start = 0
            while window := file.read(GLANCE_BYTES):
                if b"\n" not in window and b"\r" not in window:
                    window += file.read(WINDOW_BYTES - len(window))
                    if len(window) == WINDOW_BYTES and b"\n" not in window and b"\r" not in window:
                        raise self._endless_line(start)
                start += WINDOW_BYTES
                file.seek(start)

    def _endless_line(self, start: int) -> MoverError:
        with self.bytes() as file:
            line = 1 + sum(file.read(WINDOW_BYTES).count(b"\n") for _ in range(start // WINDOW_BYTES))
        return MoverError(
            f"{self.file}, line {line}: the line cannot be read",
            reason=f"It is longer than {WINDOW_BYTES >> 20} MiB.",
            remedy="Correct the line, or check the stream's settings format, compression and encoding.",
            code="csv-line",
            stream=self.stream,
            file=self.file,
            line=line,
        )

    def _header(self) -> list[str]:
        with self._open() as lines:
            try:
                first = lines.readline(HEADER_BYTES)
                self.delimiter = str(self.settings.get("delimiter") or "") or self._likely_delimiter(first)
                lines.seek(0)
                fields = next(csv.reader(lines, delimiter=self.delimiter), [])
            except (UnicodeError, csv.Error, OSError, EOFError) as error:
                raise self._unreadable(error) from error
        self.has_header = self.settings.get("header", True) is not False
        if not self.has_header:
            return [f"column_{number}" for number in range(1, len(fields) + 1)]
        return [name.strip() or f"column_{number}" for number, name in enumerate(fields, 1)]

    def _likely_delimiter(self, line: str) -> str:
        if self.settings.get("format") == "tsv":
            return "\t"
        counts = {mark: len(next(csv.reader([line], delimiter=mark), [])) for mark in DELIMITERS}
        return max(DELIMITERS, key=lambda mark: counts[mark])

    def _unreadable(self, error: Exception) -> MoverError:
        return MoverError(
            f"{self.file}, line 1: the header cannot be read",
            reason=f"{error}.",
            remedy="Check the stream's settings encoding, compression and delimiter.",
            code="csv-line",
            stream=self.stream,
            file=self.file,
            line=1,
        )

    def line_of(self, record: int) -> int:
        with self._open() as lines:
            reader = csv.reader(lines, delimiter=self.delimiter)
            begins = 1
            for number, fields in enumerate(reader):
                if number == record - (0 if self.has_header else 1):
                    return begins if fields else reader.line_num
                begins = reader.line_num + 1
        return record + self.has_header


@dataclass
class JsonlPart(TextPart):
    """A file of JSON objects, one a line. Nested values are columns of JSON; decimals stay decimals."""

    kinds: dict[str, str] = field(default_factory=dict)  # as DuckDB reads them
    run_folder: str = "."  # where a copy may be written
    copy: str = ""  # read in place of the file, where that holds numbers that DuckDB would shorten
    json_texts: frozenset[str] = frozenset()  # columns of JSON that the copy holds as texts

    def inspect(self, engine: Any) -> None:
        """Look at all rows, for DuckDB ignores keys that only later ones have; at some where a few are wanted."""
        if self._is_empty():
            return
        limit = SAMPLE_ROWS if self.settings.get("limit_rows") else None
        with json_numbers.searching(self.bytes, most_lines=limit) as holds_long_numbers:
            options = f"sample_size = {limit or -1}, records = true"
            found = engine.execute(f"DESCRIBE SELECT * FROM {self._read(options)}").fetchall()
            names = [row[0] for row in found]
            self._refuse_twins(engine, names)
            chosen = {name: kind for name, kind in (self.settings.get("columns") or {}).items() if name in names}
            read = {name: self._kind(kind) for name, kind, *_ in found}
            self.given = frozenset(chosen)
            self.texts = frozenset(name for name, kind in read.items() if kind == "GUESS" or name in chosen)
            self.kinds = {name: "VARCHAR" if name in self.texts else kind for name, kind in read.items()}
            doubles = frozenset(name for name, kind, *_ in found if "DOUBLE" in kind or "JSON" in kind)
            if doubles and holds_long_numbers():
                self._keep_digits(engine, doubles, limit)
        kinds = {**self.kinds, **self.guess(engine), **chosen}
        self.columns = [Column(name, kinds[name]) for name in names]

    def relation(self) -> str:
        kinds = {
            name: "VARCHAR" if name in self.json_texts else types.stored(kind) for name, kind in self.kinds.items()
        }
        columns = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in kinds.items())
        relation = self._read(f"columns = {{{columns}}}")
        if not self.json_texts:
            return relation
        as_json = ", ".join(f"CAST({ident(name)} AS JSON) AS {ident(name)}" for name in sorted(self.json_texts))
        return f"(SELECT * REPLACE ({as_json}) FROM {relation})"

    def _keep_digits(self, engine: Any, doubles: Set[str], limit: int | None) -> None:
        """Go over to a copy of the file in which the values of some columns are texts."""
        log(f"{self.stream}: {self.file} holds numbers of more digits than a double keeps; all of them are kept")
        rows = f"(SELECT * FROM {self.relation()}{f' LIMIT {limit}' if limit else ''})"
        engine.execute(f"SELECT count(COLUMNS(*)) FROM {rows}").fetchall()  # what DuckDB refuses is refused here too
        json_texts = frozenset(name for name in doubles if self.kinds[name] == "JSON")
        rewriter = json_numbers.Rewriter(numbers=doubles - json_texts, anything=json_texts)
        digest = hashlib.blake2b(f"{self.stream}/{self.file}".encode(), digest_size=8).hexdigest()
        copy = os.path.join(self.run_folder, f"numbers-{digest}")
        with self.bytes() as lines, open(copy, "wb") as out:
            for number, line in enumerate(itertools.islice(lines, limit), 1):
                try:
                    out.write(rewriter.line(line))
                except json_numbers.MALFORMED as error:
                    raise self._no_object(number, line, f"{error}.") from error
        self.copy, self.json_texts = copy, json_texts
        self.careful = True  # a number of many digits may be in any row

    def _read(self, options: str) -> str:
        source, compression = (text(self.copy), "none") if self.copy else (self.source, self.compression)
        return f"read_json({source}, format = 'newline_delimited', compression = {text(compression)}, {options})"

    def _is_empty(self) -> bool:
        with self.bytes() as lines:
            return not any(line.strip() for line in lines)

    @staticmethod
    def _kind(kind: str) -> str:
        if types.is_nested(kind):
            return "JSON"
        # As DOUBLE a number of many digits would lose some, and DuckDB takes 2024-1-5 for a date: the text decides.
        guessed = dict.fromkeys(("DOUBLE", "HUGEINT", "DATE", "TIMESTAMP", types.ZONED), "GUESS")
        return {**guessed, "TIME": "VARCHAR", "UUID": "VARCHAR", '"NULL"': "NULL"}.get(kind, kind)

    def _refuse_twins(self, engine: Any, names: Sequence[str]) -> None:
        """Keys that differ by case only would be renamed by DuckDB, and then not found."""
        lower = {name.lower() for name in names}
        suspects = [
            name for name in names if name.rpartition("_")[2].isdigit() and name.rpartition("_")[0].lower() in lower
        ]
        if not suspects:
            return
        objects = (
            f"read_json_objects({self.source}, format = 'newline_delimited', compression = {text(self.compression)})"
        )
        keys = {row[0] for row in engine.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {objects}").fetchall()}
        for name in suspects:
            if name not in keys:
                raise same_name(self.stream, self.file, name.rpartition("_")[0])

    def explain(self, error: Exception) -> Exception:
        if isinstance(error, duckdb.InvalidInputException | duckdb.BinderException):
            return self._bad_line() or super().explain(error)
        return super().explain(error)

    def _bad_line(self) -> MoverError | None:
        """The first line that is not an object; DuckDB's own line numbers are sometimes one off."""
        with self.bytes() as lines:
            for number, line in enumerate(lines, 1):
                try:
                    if not line.strip() or isinstance(json.loads(line), dict):
                        continue
                    reason = "It is JSON, but not an object."
                except ValueError as error:
                    reason = f"{str(error)[:1].upper()}{str(error)[1:]}."
                return self._no_object(number, line, reason)
        return None

    def _no_object(self, number: int, line: bytes, reason: str) -> MoverError:
        return MoverError(
            f"{self.file}, line {number}: the line is not a JSON object",
            reason=f"{reason} The line is: {failures.clip(line.decode(errors='replace'))}",
            remedy="Each line of a JSONL file is one JSON object. Correct the line, then run again.",
            code="json-line",
            stream=self.stream,
            file=self.file,
            line=number,
        )
