"""How a mover speaks to its supervisor: one JSON object per line on standard output.

Events (all others are ignored by the supervisor):
  log     {level, source, text}
  stream  {stream, table, rows_read, rows_written, bytes, seconds, inserted, updated, deleted, done, verified, mode}
  state   {state, epoch, sequence}            only after the commit it describes
  model   {name, kind, status, rows, seconds, error}   status: complete, error, skipped
  check   {name, ok, text, seconds}           one fact of a connection test; ok is true, false or null (warning)
  error   {headline, reason, remedy, stream, file, line, column, code}   at most one, then exit 1
  result  {...}                               what a verb answers, at its end
Standard error is for what we do not control: native libraries and tracebacks.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

_lock = threading.Lock()


class MoverError(Exception):
    """A failure a person can understand: what happened, why, and what to do. Ends the mover with exit code 1.

    `headline` is one line without a full stop; `reason` and `remedy` are sentences. `code` is a stable word for
    programs, such as "file-missing".
    """

    def __init__(
        self,
        headline: str,
        *,
        reason: str = "",
        remedy: str = "",
        code: str = "failed",
        stream: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(headline)
        self.event = {
            "headline": headline,
            "reason": reason,
            "remedy": remedy,
            "code": code,
            "stream": stream,
            "file": file,
            "line": line,
            "column": column,
        }


def emit(event: str, **values: Any) -> None:
    """Write one event. Raises BrokenPipeError when the supervisor is gone."""
    text = json.dumps(
        {"event": event, **{key: value for key, value in values.items() if value is not None}}, default=str
    )
    with _lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def log(text: str, *, source: str = "mover", level: str = "info") -> None:
    """Write log lines; each line of `text` becomes one."""
    for line in str(text).splitlines() or [""]:
        emit("log", level=level, source=source, text=line)
