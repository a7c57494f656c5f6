"""Who of a pair failed first, and whether the rows that were sent are there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.engine.interface import Failure

APPENDS = ("jsonl", "csv")  # kinds of stores whose targets only ever add rows
SHOWN_KEYS = 3


@dataclass(frozen=True)
class Ended:
    """How one side of a pair ended; `failure` is what to say of it if it failed."""

    exit_code: int
    failure: Failure | None = None
    was_ended: bool = False  # by us, because the other side had failed
    is_first: bool = False  # while the other side still had something to give


def first_failure(extractor: Ended, loader: Ended, relay: Failure | None) -> Failure | None:
    """The failure that caused the others; None where both ended well.

    1. a side that failed while the other still worked is the cause: what the other then says is only an echo, such
       as a broken pipe or the end of a half line;
    2. a message that was refused between them comes before the extractor's broken pipe, and after its own death;
    3. an extractor that failed by itself comes before a loader that ended later.
    """
    extractor_failed = extractor.exit_code != 0 and not extractor.was_ended
    loader_failed = loader.exit_code != 0 and not loader.was_ended
    if loader_failed and (not extractor_failed or loader.is_first) and relay is None:
        return loader.failure
    if extractor_failed and (relay is None or extractor.exit_code != 141) and not _is_echo(extractor, relay):
        return extractor.failure
    if relay is not None:
        return relay
    return loader.failure if loader_failed else extractor.failure if extractor_failed else None


def _is_echo(extractor: Ended, relay: Failure | None) -> bool:
    """Whether the extractor only complains that nobody reads what it writes."""
    words = extractor.failure.headline if extractor.failure else ""
    return relay is not None and ("BrokenPipe" in words or "Broken pipe" in words)


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
    if now - was == sent.records or now == sent.records:
        return True, None
    if kind in APPENDS or not sent.keys:
        return False, _fewer(stream, loader, sent.records, now - was)
    if sent.distinct is None:
        return None, None
    if was == 0 or now == sent.distinct:
        return (True, None) if now == sent.distinct else (False, _fewer(stream, loader, sent.distinct, now))
    if now < max(sent.distinct, 0) or now > was + sent.records:
        return False, _fewer(stream, loader, sent.distinct, now)
    return None, None


def _fewer(stream: str, loader: str, expected: int, found: int) -> Failure:
    what = f"{expected - found:,} of {expected:,} rows" if found < expected else f"{found - expected:,} rows too many"
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
