"""What readers give and writers take. Plain values and protocols.

A source is one stream as one run reads it; its parts are what can be scanned one after the other (a file, a query).
A part is scanned as a SELECT on the writer's DuckDB engine: that is how files, PostgreSQL and SQLite reach any store
without a row becoming a Python object. A part that comes from PostgreSQL may besides offer its rows as a binary COPY.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

FILE_COLUMN = "_eltsite_file"
LOADS_TABLE = "_eltsite_loads"
VERSION_COLUMN = "_sdc_table_version"
ALL_STREAMS = "*"  # the name in LOADS_TABLE of a state that belongs to all streams together


class GuessFailed(Exception):
    """A later value does not have the type that the first rows showed: read again, looking at all rows first."""


@dataclass(frozen=True)
class Column:
    """A column as it comes: `type` is DuckDB's name, `native` PostgreSQL's where the source is one.

    `file` is the one that brought the type, where files did.
    """

    name: str
    type: str
    native: str = ""
    file: str = ""


class Scan(Protocol):
    """A running scan: the SELECT to read from, and afterwards how many rows the source itself says it gave."""

    @property
    def select(self) -> str: ...

    @property
    def names(self) -> Sequence[str]:
        """The columns of the SELECT, in order."""

    def rows_read(self) -> int | None: ...


class Part(Protocol):
    """One piece of a stream. `file` is what its rows carry in _eltsite_file."""

    @property
    def label(self) -> str: ...

    @property
    def file(self) -> str | None: ...

    @property
    def size(self) -> int | None: ...

    def scan(self, engine: Any, types: Mapping[str, str]) -> AbstractContextManager[Scan]:
        """Begin to read, each column in the type given."""

    def explain(self, error: Exception) -> Exception:
        """What to raise for a DuckDB error of a scan: GuessFailed, or a MoverError that names the place."""

    def copy_binary(self, types: Mapping[str, str]) -> AbstractContextManager[Copy] | None:
        """The rows as PostgreSQL's binary COPY, columns as PostgreSQL types; None where the source is not one."""


class Copy(Protocol):
    """A running binary COPY: its chunks, and afterwards how many rows the server says it gave."""

    def chunks(self) -> Iterator[Any]: ...

    def rows_read(self) -> int: ...


@dataclass
class Stream:
    """One stream as the settings describe it."""

    name: str
    primary_keys: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Source:
    """One stream as this run reads it."""

    columns: Sequence[Column]
    parts: Sequence[Part]
    bookmark: dict[str, Any]  # where the next run starts, once this one is committed
    is_full: bool  # whether this is all there is: only then may it replace a table
    by_file: bool = False  # rows of the parts' files that are in the table already give way
    nothing_new: bool = False


class Reader(Protocol):
    """An extractor."""

    def streams(self) -> Sequence[Stream]: ...

    def open(
        self, stream: Stream, *, engine: Any, bookmark: Mapping[str, Any], method: str, careful: bool
    ) -> AbstractContextManager[Source]:
        """Find out what there is to read. `careful`: look at every row before saying its type."""


@dataclass(frozen=True)
class Target:
    """Where and how a stream is loaded. `method` is append, replace or merge."""

    stream: str
    table: str
    method: str
    primary_keys: Sequence[str]
    allow_text: bool
    verify: str  # auto, always, never, often: as auto, but for large tables not at each of many commits


@dataclass(frozen=True)
class Load:
    """What is written into _eltsite_loads with the rows."""

    pipeline: str
    stream: str
    table: str
    job: str
    attempt: int
    epoch: int
    sequence: int
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """What the store remembers of a stream's last load by a pipeline."""

    table: str
    epoch: int
    sequence: int
    job: str
    state: Mapping[str, Any]


@dataclass
class Counts:
    """What a load did. `verified`: whether the table was counted, besides the command tags."""

    read: int = 0
    written: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    verified: bool = False


class StreamLoad(Protocol):
    """A stream on its way into its table, inside a transaction: prepare, write each part, settle."""

    counts: Counts

    def prepare(self, columns: Sequence[Column], *, replaced_files: Sequence[str]) -> None: ...

    def write(self, part: Part) -> None: ...

    def settle(self, load: Load, *, versions: Sequence[int | None] = ()) -> Counts:
        """Bring what was written into the table, compare the counts, note the state: all but the commit.

        Where `versions` are given, rows of the table with another one in VERSION_COLUMN go, and rows without one
        unless None is among them.
        """


class Transaction(Protocol):
    """Loads that count together or not at all. Leaving it without commit undoes them."""

    def load(self, target: Target) -> StreamLoad:
        """Begin with a stream; the one before it is settled."""

    def remember(self, load: Load, *, rows: int) -> None:
        """Note a state that belongs to no table."""

    def commit(self) -> None: ...


class Writer(Protocol):
    """A loader. `engine` is the DuckDB connection parts are scanned with; `takes_copy`: PostgreSQL's binary COPY."""

    takes_copy: bool

    @property
    def engine(self) -> Any: ...

    def fraction(self) -> float:
        """How much of the part that is being written is done, from 0 to 1; asked from another thread."""

    def stored(self, pipeline: str) -> Mapping[str, Stored]: ...

    def has_table(self, table: str) -> bool: ...

    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def close(self, *, is_complete: bool) -> None:
        """Finish for good, after the last commit or a failure: then `is_complete` is false, and no step follows."""
