"""A pipe between a producing thread and the consumer that calls: how COPY text passes between DuckDB and PostgreSQL.

The pipe has names under /dev/fd, which DuckDB reads and writes as files. Memory stays flat: the pipe holds one mebibyte.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

CAPACITY = 1 << 20  # bytes
BLOCK = 1 << 18  # bytes
F_SETPIPE_SZ = 1031


def gathered(chunks: Iterable[bytes | memoryview | bytearray]) -> Iterator[bytearray]:
    """Small chunks as large ones: a COPY gives a chunk for each row."""
    block = bytearray()
    for chunk in chunks:
        block += chunk
        if len(block) >= BLOCK:
            yield block
            block = bytearray()
    if block:
        yield block


def widen(descriptor: int) -> None:
    """Let a pipe hold a mebibyte, where the system can. Anything else is left as it is."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, F_SETPIPE_SZ, CAPACITY)


class Pipe:
    """Both ends of a pipe. Each end is closed exactly once, by whoever is done with it first."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self._open = {self.reading, self.writing}
        self._lock = threading.Lock()
        widen(self.writing)

    @property
    def read_path(self) -> str:
        return f"/dev/fd/{self.reading}"

    @property
    def write_path(self) -> str:
        return f"/dev/fd/{self.writing}"

    def close(self, end: int) -> None:
        with self._lock:
            if end not in self._open:
                return
            self._open.discard(end)
        os.close(end)

    def write(self, chunk: bytes | memoryview | bytearray) -> None:
        """Write all of a chunk. Raises BrokenPipeError when the consumer is gone."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self.writing, view) :]

    def write_all(self, chunks: Iterable[bytes | memoryview | bytearray]) -> None:
        """Write many small chunks as few large ones."""
        for block in gathered(chunks):
            self.write(block)

    def chunks(self) -> Iterator[bytes]:
        """What arrives, until the producer has closed its end."""
        while chunk := os.read(self.reading, CAPACITY):
            yield chunk


@contextlib.contextmanager
def produced(produce: Callable[[Pipe], None]) -> Iterator[Pipe]:
    """Run `produce` in a thread while the block consumes; its failure is raised when the block ends.

    A producer that fails closes its end, so the consumer sees an early end and may believe all is well: therefore
    nothing read from the pipe may be committed before the block has ended. When the block itself fails, the producer's
    failure comes first if it has one of its own, for it is the cause more often.
    """
    pipe = Pipe()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            produce(pipe)
        except BaseException as error:  # noqa: BLE001 - carried over to the consumer's thread
            failure.append(error)
        finally:
            pipe.close(pipe.writing)

    thread = threading.Thread(target=run, name="producer", daemon=True)
    thread.start()
    try:
        yield pipe
    except BaseException as error:
        pipe.close(pipe.reading)
        thread.join()
        if failure and not isinstance(failure[0], BrokenPipeError) and isinstance(error, Exception):
            raise failure[0] from error
        raise
    finally:
        pipe.close(pipe.reading)
        thread.join()
    if failure:
        raise failure[0]
