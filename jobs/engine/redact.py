"""Secrets out of text, before any sink sees it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 4  # characters; a shorter value would mask ordinary words
# CSI and OSC sequences, and other escapes: colours and cursor moves of programs that think they are on a terminal.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # PostgreSQL takes neither NUL nor half a surrogate pair


def clean(text: str) -> str:
    """Text without ANSI codes and control characters: one line stays one line wherever it is shown."""
    return _CONTROL.sub("", _ANSI.sub("", text))


def storable(text: str) -> str:
    """Text that every database stores: a character that cannot be stored becomes the one for unknown ones."""
    return _UNSTORABLE.sub("\ufffd", text)


def _base64_forms(secret: str) -> set[str]:
    """The secret as it looks inside base64 of a longer text: its three alignments, without the shared edge letters."""
    raw = secret.encode()
    forms = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * offset + raw).decode().rstrip("=")
            start = -(-offset * 8 // 6)  # letters that hold bits of what stands before
            end = (offset + len(raw)) * 8 // 6  # and none that hold bits of what comes after
            forms.add(text[start:end])
    return forms


def _forms(secret: str) -> set[str]:
    """All ways a secret may be written into a line."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {quote(secret, safe=""), quote(secret), quote_plus(secret), repr(secret)[1:-1]}
    return {form for form in forms | _base64_forms(secret) if len(form) >= SHORTEST}


class Redactor:
    """Masks each secret of four characters or more, and each line of a multi-line one, in every usual encoding."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for part in {secret, *secret.splitlines()}:
                if len(part.strip()) >= SHORTEST:
                    forms |= _forms(part.strip())
        # The longest first, or a part of a longer secret would be masked and leave the rest readable.
        ordered = sorted(forms, key=len, reverse=True)
        self.longest = max((len(form) for form in ordered), default=0)
        self._pattern = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None

    def mask(self, text: str) -> str:
        """The text with every secret replaced by `***`."""
        return self._pattern.sub(MASK, text) if self._pattern else text
