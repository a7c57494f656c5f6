"""Reading logs: any range of lines, at the cost of one index look-up however long the log is."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.log_lines import LogLine, unpack
from jobs.models import Job, LogChunk

CHUNKS_AT_ONCE = 16

Numbered = tuple[int, LogLine]


def iterate_log(job: Job, *, sequence: int = 0) -> Iterator[Numbered]:
    """Lines from `sequence` on with their numbers, read by pages: no cursor stays open between them."""
    while chunks := _chunks_from(job, sequence):
        for chunk in chunks:
            skip = max(0, sequence - chunk.first_line)
            for line in unpack(chunk.text, skip=skip):
                yield sequence, line
                sequence += 1


def read_log(
    job: Job, *, sequence: int = 0, limit: int = 1000, level: str = "", source: str = "", query: str = ""
) -> list[Numbered]:
    """At most `limit` lines from number `sequence` on; with a level, source or text only those that match."""
    wanted = query.casefold()
    found: list[Numbered] = []
    if limit < 1:
        return found
    for number, line in iterate_log(job, sequence=sequence):
        if (level and line.level != level) or (source and line.source != source):
            continue
        if wanted and wanted not in line.text.casefold():
            continue
        found.append((number, line))
        if len(found) == limit:
            break
    return found


def _chunks_from(job: Job, sequence: int) -> list[LogChunk]:
    """The chunk that holds a line, and the ones after it. Chunks follow each other without a gap."""
    chunks = LogChunk.objects.filter(job_id=job.pk)
    first = chunks.filter(first_line__lte=sequence).order_by("-first_line").first()
    if first is None or first.first_line + first.line_count <= sequence:
        start = sequence
    else:
        start = first.first_line
    return list(chunks.filter(first_line__gte=start).order_by("first_line")[:CHUNKS_AT_ONCE])


def error_lines(job: Job, *, limit: int = 5) -> list[Numbered]:
    """The last lines of level error, oldest first."""
    found: list[Numbered] = []
    chunks = LogChunk.objects.filter(job_id=job.pk, error_count__gt=0).order_by("-first_line")
    for chunk in chunks[:limit]:
        numbered = [(chunk.first_line + index, line) for index, line in enumerate(unpack(chunk.text))]
        found = [pair for pair in numbered if pair[1].level == "error"] + found
        if len(found) >= limit:
            break
    return found[-limit:]
