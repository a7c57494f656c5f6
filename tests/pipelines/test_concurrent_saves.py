"""Several people at once: numbers stay unique, circles stay out, one of two saves wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from eltsite.errors import DomainError
from pipelines.models import Pipeline
from pipelines.services import ChangedMeanwhile, save_pipeline
from tests.factories import make_user
from workspaces.models import Workspace
from workspaces.services import create_workspace

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = '[{"stream": "orders", "path": "orders.csv"}]'


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned or raised, all begun together."""
    start, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(position: int) -> None:
        start.wait()
        try:
            results[position] = calls[position]()
        except Exception as error:  # noqa: BLE001
            results[position] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[position]) for position in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def save(room, label, **values) -> Pipeline:
    components = ["extractors/tap-files", "Warehouse"]
    return save_pipeline(room, label=label, components=components, properties={"tap-files.files": ORDERS}, **values)


def test_workspaces_made_at_once_get_different_numbers():
    owner = make_user("olga")
    made = at_once([lambda: create_workspace(name="Shop", owner=owner)] * 6)
    assert not [each for each in made if isinstance(each, Exception)]
    assert len({each.number for each in made}) == 6
    assert Workspace.objects.count() == 6


def test_pipelines_made_at_once_get_different_numbers_and_names():
    room = create_workspace(name="Shop", owner=make_user("olga"))
    made = at_once([lambda: save(room, "Orders")] * 6)
    assert not [each for each in made if isinstance(each, Exception)]
    assert sorted(each.number for each in made) == [1, 2, 3, 4, 5, 6]
    assert len({each.name for each in made}) == 6
    assert room.components.count() == 2


def test_two_saves_that_would_close_a_circle_leave_one():
    room = create_workspace(name="Shop", owner=make_user("olga"))
    a, b = save(room, "A"), save(room, "B")
    results = at_once(
        [
            lambda: save(room, "A", pipeline=a, triggered_by=["b"]),
            lambda: save(room, "B", pipeline=b, triggered_by=["a"]),
        ]
    )
    assert sorted(isinstance(each, DomainError) for each in results) == [False, True]


def test_of_two_saves_of_one_revision_one_is_told():
    room = create_workspace(name="Shop", owner=make_user("olga"))
    made = save(room, "A")
    results = at_once([lambda: save(room, "B", pipeline=made, expected_revision=1)] * 2)
    assert sorted(isinstance(each, ChangedMeanwhile) for each in results) == [False, True]
