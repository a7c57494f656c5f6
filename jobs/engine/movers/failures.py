"""DuckDB's errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from jobs.engine.movers import quoting
from jobs.engine.movers.protocol import MoverError

CSV_LINE = re.compile(r"CSV Error on Line: (\d+)")
CSV_TEXT = re.compile(r"Original Line: (.*)")
CSV_WIDTH = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
CSV_VALUE = re.compile(
    r"Error when converting column \"(.*?)\"\. Could not convert string \"(.*?)\" to '(.*?)'", re.DOTALL
)
SHOWN_CHARACTERS = 120
REFUSAL = re.compile(r"eltsite-refused:(.*?):eltsite-why:([^\n]*)", re.DOTALL)


def first_line(error: Exception) -> str:
    """The sentence of an error, without its class and without the statement DuckDB appends."""
    text = str(error).split("\n\nLINE ")[0].strip()
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^[A-Z][A-Za-z ]*? ?Error: ", "", line)


def clip(text: str) -> str:
    """A value, short enough for a headline."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def refusal(column: str, why: str) -> str:
    """An SQL expression that ends its statement for a value the store cannot keep; `why` says which."""
    return f"error({quoting.text(f'eltsite-refused:{column}:eltsite-why:{why}')})"


def refused_value(error: Exception, *, stream: str | None) -> MoverError | None:
    """The named failure of a `refusal`; None for other errors."""
    found = REFUSAL.search(str(error))
    if not found:
        return None
    return MoverError(
        f"Column {found[1]} of stream {stream} holds {found[2]}",
        reason="Storing the value would change it. Nothing of this stream was committed.",
        remedy="Correct the value, leave the column out, or load it as text.",
        code="value-refused",
        stream=stream,
        column=found[1],
    )


def explain(error: Exception, *, doing: str, stream: str | None = None, file: str = "") -> MoverError:
    """Any DuckDB error as a named failure. `doing` is what was tried, such as "load stream orders"."""
    refused = refused_value(error, stream=stream)
    if refused:
        return refused
    text = str(error)
    if "No space left on device" in text or "max_temp_directory_size" in text:
        return disk_full(f"to {doing}", stream=stream)
    if isinstance(error, duckdb.OutOfMemoryException):
        return MoverError(
            f"Out of memory: DuckDB could not {doing}",
            reason=f"{first_line(error)}.",
            remedy="Raise the loader's setting memory_limit, or load fewer columns or smaller files at a time.",
            code="out-of-memory",
            stream=stream,
        )
    return MoverError(
        f"DuckDB could not {doing}",
        reason=f"{first_line(error)}.",
        remedy="See the reason; correct the settings or the data, then run again.",
        code="statement-failed",
        stream=stream,
        file=file or None,
    )


def disk_full(doing: str, *, stream: str | None = None) -> MoverError:
    """No space left."""
    return MoverError(
        "The disk is full",
        reason=f"No space was left on the disk {doing}. Nothing of this stream was committed.",
        remedy="Free some space on that disk, then run again.",
        code="disk-full",
        stream=stream,
    )


@contextmanager
def explained(doing: str, *, stream: str | None = None, file: str = "") -> Iterator[None]:
    """Turn DuckDB's errors inside the block into named failures."""
    try:
        yield
    except duckdb.Error as error:
        raise explain(error, doing=doing, stream=stream, file=file) from error


def bad_line(error: Exception, *, stream: str, file: str) -> MoverError | None:
    """A CSV line that cannot be split into its columns, as a named failure; None for other errors."""
    text = str(error)
    line = CSV_LINE.search(text)
    if not line:
        return None
    number = int(line[1])
    original = CSV_TEXT.search(text)
    width = CSV_WIDTH.search(text)
    if width:
        reason = f"The line has {width[2]} columns where the file has {width[1]}."
    elif "unterminated quote" in text:
        reason = "A quoted value that begins here never ends."
    elif "not utf-8 encoded" in text or "unicode" in text:
        reason = "It holds bytes that are not UTF-8."
    else:
        reason = next((part for part in text.splitlines()[2:] if part.strip()), "It cannot be split into columns.")
    remedy = "set the stream's encoding." if "UTF-8" in reason else "check the stream's settings delimiter and header."
    return MoverError(
        f"{file}, line {number}: the line cannot be read",
        reason=f"{reason} The line is: {clip(original[1]) if original else 'not shown'}",
        remedy=f"Correct the line, or {remedy}",
        code="csv-line",
        stream=stream,
        file=file,
        line=number,
    )


def bad_value(error: Exception, *, stream: str) -> MoverError | None:
    """A value of a database column that DuckDB's type for it does not hold, as a named failure."""
    found = CSV_VALUE.search(str(error))
    if not found:
        return None
    return MoverError(
        f'Column {found[1]} of stream {stream} holds "{clip(found[2])}", which is not a {found[3]}',
        reason="The store's type for this column has no such value. Nothing of this stream was committed.",
        remedy="Leave the column out, or read it with a query that casts it, to text for example.",
        code="value-refused",
        stream=stream,
        column=found[1],
    )
