"""The ends of pipes that a supervisor holds: lines come out of one, messages go into another. Neither ever waits."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from typing import IO, Any

CHUNK = 256 * 1024  # bytes read at once from a pipe
LONGEST_LINE = 1 << 20  # bytes; a longer line of a log is cut into several
LONGEST_MESSAGE = 64 << 20  # bytes; a state or a catalog is one line, and worth nothing in parts

LineHandler = Callable[[str], None]


class End:
    """One end of a pipe, of one child. It is closed exactly once, by whoever is done with it first."""

    def __init__(self, pipe: IO[bytes], selector: selectors.BaseSelector, child: Any) -> None:
        os.set_blocking(pipe.fileno(), False)
        self.child = child
        self._pipe = pipe
        self._selector = selector
        self._is_watched = False

    def _watch(self, events: int) -> None:
        if not self._is_watched:
            self._selector.register(self._pipe, events, self)
            self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched:
            self._selector.unregister(self._pipe)
            self._is_watched = False

    @property
    def is_closed(self) -> bool:
        """Whether it is."""
        return self._pipe.closed

    def on_ready(self) -> None:
        """The system takes or gives something."""

    def finish(self) -> None:
        """Nothing more is to pass."""

    def close(self) -> None:
        """Let go of it, now."""
        self._unwatch()
        self._pipe.close()


class Reader(End):
    """Hands on what comes out of a pipe, line by line."""

    def __init__(
        self, pipe: IO[bytes], selector: selectors.BaseSelector, child: Any, handler: LineHandler, *, longest: int
    ) -> None:
        super().__init__(pipe, selector, child)
        self._handler = handler
        self._longest = longest
        self._rest = bytearray()  # of a line whose end has not come yet
        self._watch(selectors.EVENT_READ)

    def on_ready(self) -> None:
        """Hand on what is there; at the end of it all, close."""
        if self.is_closed:  # by the handler of another end that was ready at the same time
            return
        try:
            data = os.read(self._pipe.fileno(), CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.finish()
            return
        lines: list[bytes] = []
        if (end := data.rfind(b"\n")) >= 0:
            lines = bytes(self._rest + data[:end]).split(b"\n")
            self._rest = bytearray(data[end + 1 :])
        else:
            self._rest += data
        if len(self._rest) > self._longest:
            lines.append(bytes(self._rest))
            self._rest = bytearray()
        self._hand_on(lines)

    def _hand_on(self, lines: list[bytes]) -> None:
        for line in lines:
            self._handler(line.decode("utf-8", "replace").rstrip("\r"))

    def finish(self) -> None:
        """Nothing more will come: a last line without an end is handed on."""
        rest, self._rest = bytes(self._rest), bytearray()
        self.close()
        if rest:
            self._hand_on([rest])


class Writer(End):
    """Sends messages into a pipe. What the pipe does not take at once is kept, and written as it does.

    A child that does not read, or is gone, holds nobody up.
    """

    def __init__(self, pipe: IO[bytes], selector: selectors.BaseSelector, child: Any) -> None:
        super().__init__(pipe, selector, child)
        self._kept = bytearray()
        self._is_finished = False

    def send(self, data: bytes) -> None:
        """Write, now or later; nothing where nobody can read it any more."""
        if not self.is_closed and not self._is_finished:
            self._kept += data
            self.on_ready()

    def finish(self) -> None:
        """Nothing more will be sent: it is closed as soon as nothing is kept."""
        self._is_finished = True
        if not self._kept:
            self.close()

    def on_ready(self) -> None:
        """Write what the pipe takes."""
        if self.is_closed:
            return
        try:
            while self._kept:
                del self._kept[: os.write(self._pipe.fileno(), self._kept)]
        except BlockingIOError:
            self._watch(selectors.EVENT_WRITE)
            return
        except BrokenPipeError:  # its reader has ended: its exit code tells
            self.close()
            return
        self._unwatch()
        if self._is_finished:
            self.close()

    def close(self) -> None:
        """Now, whatever is kept: it is dropped."""
        self._kept = bytearray()
        super().close()
