"""The errors a person can act on. No framework: services raise them, pages and API render them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldError:
    """One fault of one input field: which field, which value, and a sentence with fault and remedy."""

    field: str
    message: str
    code: str = "invalid"
    value: Any = None


class DomainError(Exception):
    """Something the caller asked for cannot be done."""

    code = "error"

    def __init__(self, message: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.errors = list(errors)
        super().__init__(self.message)


class NotFound(DomainError):
    """There is nothing here, or it belongs to a workspace you are not a member of."""

    code = "not-found"


class Refused(DomainError):
    """Your role in this workspace does not allow this."""

    code = "refused"


class Conflict(DomainError):
    """The current state does not allow this."""

    code = "conflict"


class Invalid(DomainError):
    """The input has faults."""

    code = "invalid"

    @classmethod
    def field(cls, field: str, message: str, *, value: Any = None, code: str = "invalid") -> Invalid:
        """An error with a single faulty field; the message doubles as the summary."""
        return cls(message, errors=[FieldError(field=field, message=message, code=code, value=value)])
