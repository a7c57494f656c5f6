"""One file of a stream as a part, read by DuckDB's own readers: what the formats share, and Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from jobs.engine.movers import failures, types
from jobs.engine.movers.ports import FILE_COLUMN, Column
from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.quoting import ident, text


@dataclass
class Scan:
    """A scan whose rows nobody but DuckDB counts."""

    select: str
    names: Sequence[str]

    def rows_read(self) -> int | None:
        return None


@dataclass
class FilePart:
    """What the formats share. `path` is where the bytes are, `file` what rows carry in _eltsite_file."""

    stream: str
    path: str
    file: str
    size: int | None
    settings: Mapping[str, Any]
    compression: str = "none"
    columns: list[Column] = field(default_factory=list)
    careful: bool = False
    spelled: dict[str, str] = field(default_factory=dict)  # columns that are called otherwise in the table

    @property
    def label(self) -> str:
        return self.file

    @property
    def source(self) -> str:
        """The path as DuckDB takes it: its wildcards are letters here."""
        return text("".join(f"[{letter}]" if letter in "*?[" else letter for letter in self.path))

    def bytes(self) -> IO[bytes]:
        """What the file holds, unpacked."""
        opener: Any = gzip.open if self.compression == "gzip" else open
        opened: IO[bytes] = opener(self.path, "rb")
        return opened

    def select(self, types_by_name: Mapping[str, str]) -> str:
        raise NotImplementedError

    def inspect(self, engine: Any) -> None:
        """Find out the columns."""
        raise NotImplementedError

    def rename(self, name: str, to: str) -> None:
        """Call a column as another file of the stream spells it."""
        self.spelled[name] = to

    def disagree(self, name: str, kind: str) -> MoverError:
        """What to raise where a column cannot be of the type the stream has for it."""
        own = next(column.type for column in self.columns if column.name == name)
        return MoverError(
            f"{self.file}: column {name} of stream {self.stream} is {own} where it was {kind}",
            reason=f"No type but text holds both, and {kind} would lose or refuse values. Nothing was loaded.",
            remedy="Correct the file, give the column a type in columns, or switch on Widen to text.",
            code="column-narrows",
            stream=self.stream,
            file=self.file,
            column=name,
        )

    @contextmanager
    def scan(self, engine: Any, types: Mapping[str, str]) -> Iterator[Scan]:
        names = [self.spelled.get(column.name, column.name) for column in self.columns]
        yield Scan(self.select(types), [*names, FILE_COLUMN])

    def explain(self, error: Exception) -> Exception:
        named = failures.bad_line(error, stream=self.stream, file=self.file)
        return named or failures.explain(error, doing=f"read {self.file}", stream=self.stream, file=self.file)

    def copy_binary(self, types: Mapping[str, str]) -> None:
        return None


@dataclass
class ParquetPart(FilePart):
    """A Parquet file: its columns have their types."""

    def inspect(self, engine: Any) -> None:
        found = engine.execute(f"DESCRIBE SELECT * FROM read_parquet({self.source})").fetchall()
        self.columns = [Column(name, types.stored(kind)) for name, kind, *_ in found]

    def select(self, types_by_name: Mapping[str, str]) -> str:
        columns = []
        for column in self.columns:
            name = self.spelled.get(column.name, column.name)
            columns.append(f"CAST({ident(column.name)} AS {types_by_name[name]}) AS {ident(name)}")
        columns.append(f"{text(self.file)} AS {ident(FILE_COLUMN)}")
        return f"SELECT {', '.join(columns)} FROM read_parquet({self.source})"

    def explain(self, error: Exception) -> Exception:
        if "No magic bytes" in str(error) or "too small to be a Parquet" in str(error):
            return MoverError(
                f"{self.file} is not a Parquet file",
                reason=f"{failures.first_line(error)}.",
                remedy="Check the file, or the stream's setting format.",
                code="not-parquet",
                stream=self.stream,
                file=self.file,
            )
        return super().explain(error)
