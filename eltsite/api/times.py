"""Instants as the API writes and reads them.

The contract's own fields carry no zone and are UTC; our extension fields end in Z. Input may have either form.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from rest_framework import serializers

# "+02:00" typed into an address without percent-encoding arrives as " 02:00".
LOST_PLUS = re.compile(r"(T\d\d:\d\d\S*) (\d\d:?\d\d)$")


def write_instant(at: datetime, *, digits: int = 6) -> str:
    """ISO 8601 in UTC without zone, at most `digits` of a fraction, trailing zeros dropped."""
    utc = at.astimezone(UTC).replace(tzinfo=None)
    fraction = f"{utc.microsecond:06d}"[:digits].rstrip("0")
    whole = utc.replace(microsecond=0).isoformat()
    return f"{whole}.{fraction}" if fraction else whole


def write_extension_instant(at: datetime) -> str:
    """As `write_instant`, with the Z that marks our own fields."""
    return f"{write_instant(at)}Z"


def read_instant(text: str, *, zone: tzinfo = UTC) -> datetime:
    """An instant or a day from text; without an offset it is of `zone`. Raises ValueError with a reason."""
    text = LOST_PLUS.sub(r"\1+\2", text.strip())
    try:
        at: datetime | date | None = parse_date(text) or parse_datetime(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a time: {error}. Write it as 2026-03-01T14:30:00Z or 2026-03-01.") from None
    if at is None:
        raise ValueError(f"'{text}' is not a time. Write it as 2026-03-01T14:30:00Z or 2026-03-01.")
    if not isinstance(at, datetime):
        at = datetime.combine(at, time.min)
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"'{text}' lies outside the years 1 to 9999.") from None


class ContractTimeField(serializers.Field):
    """A time of the contract: no zone, `digits` of a fraction."""

    def __init__(self, *, digits: int = 6, **options: Any) -> None:
        self.digits = digits
        super().__init__(read_only=True, **options)

    def to_representation(self, value: datetime) -> str:
        return write_instant(value, digits=self.digits)


class ExtensionTimeField(serializers.Field):
    """A time of our own: it ends in Z."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: datetime) -> str:
        return write_extension_instant(value)
