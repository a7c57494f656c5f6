"""How a mover speaks to its supervisor: one JSON object per line, on standard output unless told otherwise.

The specification is the first line of standard input, or of the descriptor --spec-fd; what follows there are the
supervisor's messages while the mover works, one JSON object per line (`hear`).

Events (all others are ignored by the supervisor):
  log     {level, source, text}
  stream  {stream, table, rows_read, rows_written, bytes, seconds, inserted, updated, deleted, done, verified, mode}
  state   {state, epoch, sequence}            only after the commit it describes
  model   {name, kind, status, rows, seconds, error}   status: complete, error, skipped
  check   {name, ok, text, seconds}           one fact of a connection test; ok is true, false or null (warning)
  error   {headline, reason, remedy, stream, file, line, column, code}   at most one, then exit 1
  ready   {state, epoch, sequence}            singer_load: where the tap is to begin, told before it starts
  catalog {streams}                           discover: what the source holds, as a Singer catalog
  sample  {stream, columns, rows}             sample: a few rows, as lists of texts
  cut     {}                                  relay: whoever it passes messages on to no longer reads
  counted {when, tables}                      count: rows per stream; `when` is before or after
  result  {...}                               what a verb answers, at its end
Standard error is for what we do not control: native libraries and tracebacks.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import IO, Any

_lock = threading.Lock()
_out: IO[str] = sys.stdout
_in: IO[str] = sys.stdin


def speak_on(events_fd: int | None, spec_fd: int | None) -> None:
    """Use other descriptors than the standard ones: where those carry Singer messages."""
    global _out, _in
    _out = open(events_fd, "w", encoding="utf-8") if events_fd is not None else sys.stdout  # noqa: SIM115 - to the end
    _in = open(spec_fd, encoding="utf-8") if spec_fd is not None else sys.stdin  # noqa: SIM115


def hear() -> dict[str, Any] | None:
    """The supervisor's next message, the specification first; None when it is gone or has nothing more to say."""
    line = _in.readline()
    if not line.strip():
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def fall_silent() -> None:
    """Nobody listens any more: what is still buffered must not fail once more at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _out.fileno())


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
        _out.write(text + "\n")
        _out.flush()


def log(text: str, *, source: str = "mover", level: str = "info") -> None:
    """Write log lines; each line of `text` becomes one."""
    for line in str(text).splitlines() or [""]:
        emit("log", level=level, source=source, text=line)
