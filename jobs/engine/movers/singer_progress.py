"""Stream events of a load of many streams at once: where each stands, at most once a second, and how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType

from jobs.engine.movers.progress import EVERY_SECONDS
from jobs.engine.movers.protocol import emit
from jobs.engine.movers.singer_stream import SingerStream


class SingerProgress:
    """Says where the streams stand while the main thread reads and loads."""

    def __init__(self, streams: Mapping[str, SingerStream]) -> None:
        self._streams = streams
        self._said: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> SingerProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if error is None:
            for stream in self._streams.values():
                _emit(stream, done=True)

    def _tick(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            for name, stream in list(self._streams.items()):
                now = (stream.rows_read, stream.counts.written)
                if self._said.get(name) != now:
                    self._said[name] = now
                    _emit(stream, done=False)


def _emit(stream: SingerStream, *, done: bool) -> None:
    counts = stream.counts
    emit(
        "stream",
        stream=stream.name,
        table=stream.target.table,
        mode=stream.target.method,
        rows_read=stream.rows_read,
        rows_written=counts.written,
        bytes=stream.bytes + stream.buffered or None,
        seconds=round(time.monotonic() - stream.started, 3),
        inserted=counts.inserted,
        updated=counts.updated,
        deleted=counts.deleted,
        done=done,
        verified=stream.is_verified and stream.is_loaded if done else None,
    )
