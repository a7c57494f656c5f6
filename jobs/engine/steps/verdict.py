"""Who of a pair failed first, and whether the rows that were sent are there. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.engine.interface import Failure

APPENDS = ("jsonl", "csv")  # kinds of stores whose targets only ever add rows
SHOWN_KEYS = 3
EXIT_PIPE = 141  # of a program that does not ignore SIGPIPE
BROKEN_PIPE = re.compile(r"broken ?pipe|\bEPIPE\b|Errno 32\b", re.IGNORECASE)
SAME_MOMENT = 0.5  # seconds that lie between an end and our seeing it, at most


@dataclass(frozen=True)
class Ended:
    """How one process of a pair ended. `at` is on a clock all share; `failure` is what to say of it if it failed."""

    exit_code: int
    at: float
    failure: Failure | None = None
    was_ended: bool = False  # by us, because the other side was gone
    is_cut: bool = False  # of the relay: the target no longer took what it passed on


def first_failure(extractor: Ended, loader: Ended, relay: Ended | None, *, stopped_reading: Failure) -> Failure | None:
    """The failure that caused the others; None where all ended well.

    Of those that failed by themselves it is the one that ended first; of two seen at the same moment the extractor
    before the relay and the relay before the loader, for an end travels that way. Not by itself fails
    - a side that was ended because another was gone, such as an extractor in the middle of a line;
    - a relay whose target no longer reads;
    - an extractor that complains of a broken pipe when whoever reads from it is gone.
    Where only these are left the target stopped reading, though it says that all is well: `stopped_reading`.
    """
    failed = [side for side in (extractor, relay, loader) if side and side.exit_code and not side.was_ended]
    readers = [side for side in (relay, loader) if side]
    own = [
        side for side in failed if not side.is_cut and not (side is extractor and _is_broken_pipe(extractor, readers))
    ]
    if own:
        return min(own, key=lambda side: side.at).failure
    if relay is not None and relay.is_cut:
        return stopped_reading
    return failed[0].failure if failed else None


def _is_broken_pipe(extractor: Ended, readers: Sequence[Ended]) -> bool:
    """Whether the extractor only complains that nobody reads what it writes. A database's pipe may break as well."""
    words = extractor.failure.headline if extractor.failure else ""
    is_said = extractor.exit_code == EXIT_PIPE or BROKEN_PIPE.search(words) is not None
    return is_said and min(reader.at for reader in readers) <= extractor.at + SAME_MOMENT


@dataclass(frozen=True)
class Sent:
    """What was passed on to a target of one stream. `distinct` is how many keys it had; None where that is not known."""

    records: int
    keys: Sequence[str] = ()
    distinct: int | None = None
    samples: Sequence[Sequence[Any]] = field(
        default_factory=tuple
    )  # keys of some records, the first and last among them


def missing_rows(
    stream: str, sent: Sent, before: Mapping[str, Any], after: Mapping[str, Any], *, kind: str, loader: str
) -> tuple[bool | None, Failure | None]:
    """Compare what was sent with what a target's table holds: (verified, failure).

    `verified` is None where the count proves nothing: the table could not be counted, or rows were merged into a
    table that held some already and only samples could be looked for.
    """
    was, now = before.get("rows"), after.get("rows")
    if not sent.records:
        return None, None
    if after.get("missing"):
        return False, _missing_keys(stream, sent, after["missing"], loader)
    if after.get("exists") is False:
        return False, _fewer(stream, loader, sent.records, 0)
    if was is None or now is None:
        return None, None
    if now - was == sent.records:
        return True, None
    # A table that holds as many rows as before was written anew, or not at all: only keys that are there tell.
    proved = True if was != now or after.get("missing") == [] else None
    if now == sent.records:
        return proved, None
    if kind in APPENDS or not sent.keys:
        return False, _fewer(stream, loader, sent.records, now - was)
    if sent.distinct is None:
        return None, None
    if was == 0 or now == sent.distinct:
        return (proved, None) if now == sent.distinct else (False, _fewer(stream, loader, sent.distinct, now))
    if now < max(sent.distinct, 0) or now > was + sent.records:
        return False, _fewer(stream, loader, sent.distinct, now)
    return None, None


def _fewer(stream: str, loader: str, expected: int, found: int) -> Failure:
    lost = expected - max(found, 0)
    what = f"{lost:,} of {expected:,} rows" if found < expected else f"{found - expected:,} rows too many"
    is_less = found < expected
    return Failure(
        f"{what} of stream {stream} are {'missing in' if is_less else 'in'} {loader}",
        reason=f"{loader} ended with exit code 0, but its table grew by {found:,} rows where {expected:,} were sent.",
        remedy="The state stays as it was, so that the next run sends these rows again. Use another version of this"
        " loader, or a built-in one.",
        details={"stream": stream, "code": "rows-missing"},
    )


def _missing_keys(stream: str, sent: Sent, missing: Sequence[Sequence[Any]], loader: str) -> Failure:
    shown = "; ".join(
        ", ".join(f"{name} {value}" for name, value in zip(sent.keys, key, strict=False))
        for key in missing[:SHOWN_KEYS]
    )
    return Failure(
        f"Rows of stream {stream} are missing in {loader}",
        reason=f"{loader} ended with exit code 0, but of {len(sent.samples)} rows that were looked for"
        f" {len(missing)} are not in its table, among them {shown}.",
        remedy="The state stays as it was, so that the next run sends these rows again. Use another version of this"
        " loader, or a built-in one.",
        details={"stream": stream, "code": "rows-missing"},
    )
