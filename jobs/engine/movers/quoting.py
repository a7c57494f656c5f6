"""Names and texts inside SQL, quoted the way DuckDB, PostgreSQL and SQLite all read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def ident(*names: str) -> str:
    """A quoted identifier, with its schema where two names are given."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def idents(names: Iterable[str], *, prefix: str = "") -> str:
    """A list of quoted columns."""
    return ", ".join(f"{prefix}{ident(name)}" for name in names)


def text(value: str) -> str:
    """A quoted text. DuckDB, SQLite and PostgreSQL with standard_conforming_strings read backslashes as they are."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """A list of quoted texts."""
    return ", ".join(text(value) for value in values)
