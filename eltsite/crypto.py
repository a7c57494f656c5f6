"""Encryption of sensitive values, with key rotation. The only user of the cipher library."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class KeyFault(Exception):
    """The encryption key is missing or is not the one that encrypted the data."""


def generate_key() -> str:
    """A new random key: 32 bytes, URL-safe base64."""
    return Fernet.generate_key().decode()


def read_or_create_key_file(path: Path) -> str:
    """The keys in `path`, one per line, newest first. A missing file is made with a new key, mode 0600.

    The file is written whole under another name and linked into place, so of two processes that
    start at once, one wins and both read the same key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(generate_key() + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


def fingerprint(key: str) -> str:
    """A short name of a key that does not give it away."""
    return hashlib.sha256(b"eltsite-key:" + key.strip().encode()).hexdigest()[:16]


def split_keys(text: str) -> list[str]:
    """Keys from a setting: separated by commas or lines, newest first."""
    return [key.strip() for key in text.replace(",", "\n").splitlines() if key.strip()]


@functools.lru_cache(maxsize=8)
def cipher(keys: tuple[str, ...]) -> MultiFernet:
    """The cipher that encrypts with the first key and decrypts with any."""
    if not keys:
        raise KeyFault(
            "ELTSITE_KEY is not set. Put the key that encrypts secrets there (or its file in ELTSITE_KEY_FILE)."
        )
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise KeyFault(
            "ELTSITE_KEY is not a key: it must be 32 bytes in URL-safe base64. `manage.py new_key` prints one."
        ) from error


def encrypt(text: str, *, keys: tuple[str, ...]) -> str:
    """Encrypt text with the newest key."""
    return cipher(keys).encrypt(text.encode()).decode()


def decrypt(token: str, *, keys: tuple[str, ...]) -> str:
    """The text behind `token`. Raises KeyFault where no key fits."""
    try:
        return cipher(keys).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise KeyFault(
            "A stored secret was encrypted with another key. Add the old key to ELTSITE_KEY after the new one."
        ) from error
