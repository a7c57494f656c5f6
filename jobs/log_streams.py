"""Logs as bodies: text or NDJSON, from any line, in pieces, to the end or following a job as it runs.

Lines are read by pages. No database cursor is open while a slow client reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from itertools import islice

from eltsite.api.renderers import render_ndjson_line
from eltsite.api.times import write_extension_instant
from jobs.log_lines import LogLine
from jobs.logs import Numbered, iterate_log, read_log
from jobs.models import Job, LogChunk
from jobs.status import ACTIVE

LINES_AT_ONCE = 1000
FOLLOWERS = 8  # each occupies one thread of the web server
QUIET_SECONDS = 60.0  # after which a follower is let go: nothing else shows that the client has gone
LONGEST_SECONDS = 600.0
PAUSE_SECONDS = 0.5

Encoder = Callable[[int, LogLine], bytes]
places = threading.BoundedSemaphore(FOLLOWERS)


def as_text(sequence: int, line: LogLine) -> bytes:
    """A line for readers: time, level, source and text."""
    at = f"{line.at:%Y-%m-%dT%H:%M:%S}.{line.at.microsecond // 1000:03d}Z"
    return f"{at} {line.level} {line.source}: {line.text}\n".encode("utf-8", "replace")


def as_ndjson(sequence: int, line: LogLine) -> bytes:
    """A line for programs."""
    return render_ndjson_line(
        {
            "sequence": sequence,
            "time": write_extension_instant(line.at),
            "source": line.source,
            "level": line.level,
            "message": line.text,
        }
    )


def end_of_log(job: Job) -> int:
    """The number the next line will get."""
    last = LogChunk.objects.filter(job_id=job.pk).order_by("-first_line").only("first_line", "line_count").first()
    return last.first_line + last.line_count if last else 0


def written_so_far(job: Job, encode: Encoder, *, sequence: int, end: int) -> Iterator[bytes]:
    """The lines from `sequence` up to `end`; those that come meanwhile are for the next request."""
    lines: Iterator[Numbered] = islice(iterate_log(job, sequence=sequence), max(0, end - sequence))
    while piece := list(islice(lines, LINES_AT_ONCE)):
        yield b"".join(encode(number, line) for number, line in piece)


class FollowedLog:
    """The lines from `sequence` on, as they come, until the job ends, nothing came for a minute, or ten minutes.

    Holds one of the process's places from `acquire` until it is closed, read or not.
    """

    def __init__(
        self, job: Job, encode: Encoder, *, sequence: int, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._lines = self._follow(job, encode, sequence, pause)
        self._is_open = True

    @classmethod
    def acquire(cls, job: Job, encode: Encoder, *, sequence: int) -> FollowedLog | None:
        """A followed log, or None when all places are taken."""
        return cls(job, encode, sequence=sequence) if places.acquire(blocking=False) else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._lines)

    def close(self) -> None:
        """Give the place back."""
        self._lines.close()
        if self._is_open:
            self._is_open = False
            places.release()

    def _follow(self, job: Job, encode: Encoder, sequence: int, pause: Callable[[float], object]) -> Generator[bytes]:
        begun = heard = time.monotonic()
        while True:
            # Asked before reading: what was written before the end is then among the lines read after it.
            has_ended = not Job.objects.visible().filter(pk=job.pk, status__in=ACTIVE).exists()
            lines = read_log(job, sequence=sequence, limit=LINES_AT_ONCE)
            now = time.monotonic()
            if lines:
                heard, sequence = now, lines[-1][0] + 1
                yield b"".join(encode(number, line) for number, line in lines)
            elif has_ended or now - heard > QUIET_SECONDS:
                return
            else:
                pause(PAUSE_SECONDS)
            if now - begun > LONGEST_SECONDS:
                return
