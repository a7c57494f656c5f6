"""Verb `discover`."""

from __future__ import annotations

from typing import Any


def run(verb: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Not here yet."""
    raise NotImplementedError
