"""Where a run begins: at our state, or at the store's where that is newer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.engine.movers.ports import ALL_STREAMS, Stored


@dataclass(frozen=True)
class Beginning:
    """A Singer state value, its place in the order of all states, and which streams the store knew better."""

    state: dict[str, Any]
    epoch: int
    sequence: int
    newer: Mapping[str, Stored]


def beginning(spec: Mapping[str, Any], stored: Mapping[str, Stored]) -> Beginning:
    """The specification's state with all that the store remembers of later loads, in their order.

    A state of all streams takes the place of what was before it and came with it, a stream's own bookmark that of this
    stream alone.
    """
    state: dict[str, Any] = dict(spec.get("state") or {})
    position = (int(spec.get("epoch") or 0), int(spec.get("sequence") or 0))
    newer = {name: load for name, load in stored.items() if (load.epoch, load.sequence) > position}
    for name, load in sorted(newer.items(), key=lambda item: (item[1].epoch, item[1].sequence, item[0] == ALL_STREAMS)):
        if name == ALL_STREAMS:
            state = dict(load.state)
        else:
            state = {**state, "bookmarks": {**bookmarks(state), name: dict(load.state)}}
    epoch, sequence = max([position, *((load.epoch, load.sequence) for load in newer.values())])
    return Beginning(state, epoch, sequence, newer)


def bookmarks(state: Mapping[str, Any]) -> dict[str, Any]:
    """The bookmarks of a state; none where it has them in another form."""
    found = state.get("bookmarks")
    return dict(found) if isinstance(found, dict) else {}
