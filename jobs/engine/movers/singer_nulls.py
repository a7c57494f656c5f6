"""The NUL character, which JSON and DuckDB hold and PostgreSQL does not."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from jobs.engine.movers.protocol import MoverError
from jobs.engine.movers.singer_schema import Property

ESCAPED = r"((?:^|[^\\])(?:\\\\)*)((?:\\u0000)+)"  # in JSON text: a backslash before it may itself be escaped


def without_nulls(array: pa.Array, found: Property, lines: Sequence[int], *, stream: str, treatment: str) -> pa.Array:
    """A column as the store can hold it. `treatment`: keep, refuse or drop. Raises MoverError: value-refused."""
    if treatment == "keep" or array.type != pa.string() or found.kind not in ("VARCHAR", "JSON"):
        return array
    if found.kind == "JSON":
        with_null = pc.match_substring(array, r"\u0000")
        if pc.any(with_null).as_py():
            with_null = pc.match_substring_regex(array, ESCAPED)
    else:
        with_null = pc.match_substring(array, "\0")
    if not pc.any(with_null).as_py():
        return array
    if treatment == "drop":
        if found.kind == "JSON":
            return pc.replace_substring_regex(array, ESCAPED, r"\1")
        return pc.replace_substring(array, "\0", "")
    line = lines[with_null.index(True).as_py()]
    raise MoverError(
        f"Line {line} of the tap's output: column {found.name} of stream {stream} holds a NUL character",
        reason="PostgreSQL's texts cannot hold it. Nothing after the last stored state was committed.",
        remedy="Switch on the loader's setting sanitize_null_text_characters to leave such characters out, or correct"
        " the source.",
        code="value-refused",
        stream=stream,
        line=line,
        column=found.name,
    )
