"""Which versions of connectors a job used, or the next one will. Asks no database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class UsedEnvironment:
    """An environment of a job, as its page shows it."""

    name: str  # of the connectors that use it
    requirements: str
    version: str  # of what is required first; empty where it cannot be told
    python: str
    digest: str
    packages: Sequence[tuple[str, str]]


def version_of(requirements: str, packages: Mapping[str, str]) -> str:
    """The version of the package that pip arguments name first; empty where they begin with an address or an option."""
    found = _NAME.match(requirements.strip())
    if found is None or requirements.strip()[found.end() :].startswith((":", "+")):
        return ""
    by_name = {_plain(name): version for name, version in packages.items()}
    return by_name.get(_plain(found[0]), "")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def environments_used(environments: Sequence[Mapping[str, Any]]) -> list[UsedEnvironment]:
    """What a job's row says of its environments."""
    found = []
    for each in environments:
        packages = dict(each.get("packages") or {})
        requirements = str(each.get("requirements") or "")
        found.append(
            UsedEnvironment(
                name=str(each.get("name") or ""),
                requirements=requirements,
                version=version_of(requirements, packages),
                python=str(each.get("python") or ""),
                digest=str(each.get("digest") or ""),
                packages=sorted(packages.items()),
            )
        )
    return found
