"""Stream events: how far a load is, at most once a second, and once more when it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from jobs.engine.movers.ports import Counts, Part, Writer
from jobs.engine.movers.protocol import emit

EVERY_SECONDS = 1.0


class Progress:
    """Says where a stream stands while its statements run in the main thread."""

    def __init__(self, stream: str, table: str, mode: str, writer: Writer) -> None:
        self._facts = {"stream": stream, "table": table, "mode": mode}
        self._writer = writer
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._bytes = 0  # of the parts that are done
        self._current = 0  # of the part that is being read
        self._said = (0, 0, 0)
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self.counts = Counts()

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is None:
            self._emit(done=True)

    def watch(self, counts: Counts, parts: Sequence[Part]) -> None:
        """From here on the counts are those of a load."""
        self.counts = counts

    def part_begun(self, part: Part) -> None:
        self._current = part.size or 0

    def part_done(self, part: Part) -> None:
        self._current = 0
        self._bytes += part.size or 0

    def restart(self) -> None:
        self.counts, self._bytes, self._current = Counts(), 0, 0

    def _tick(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            now = (self.counts.read, self.counts.written, self._bytes_read())
            if now != self._said:
                self._said = now
                self._emit(done=False)

    def _bytes_read(self) -> int:
        return self._bytes + int(self._current * self._writer.fraction()) if self._current else self._bytes

    def _emit(self, *, done: bool) -> None:
        counts = self.counts
        emit(
            "stream",
            **self._facts,
            rows_read=counts.read,
            rows_written=counts.written,
            bytes=self._bytes_read() or None,
            seconds=round(time.monotonic() - self._started, 3),
            inserted=counts.inserted,
            updated=counts.updated,
            deleted=counts.deleted,
            done=done,
            verified=counts.verified if done else None,
        )
