"""Records of a tap in the three native loaders."""

from __future__ import annotations

from tests.unit.movers_singer.conftest import Store, loaded, record, schema, state


def test_records_and_state_arrive(store: Store):
    lines = [schema(), record(id=1, amount=1.5, note="a"), record(id=2, amount=None, note="b"), state(orders={"id": 2})]
    ended = loaded(store.place, store.loader(), lines)
    assert store.rows("orders") == [(1, 1.5, "a"), (2, None, "b")]
    assert ended.of("ready")[0]["state"] == {}
    assert ended.state == {"state": {"bookmarks": {"orders": {"id": 2}}}, "epoch": 0, "sequence": 1}
    assert ended.of("result")[0] == {"event": "result", "streams": 1, "rows": 2}
    done = ended.stream("orders")
    assert (done["rows_read"], done["rows_written"], done["inserted"], done["verified"]) == (2, 2, 2, True)


def test_a_second_run_begins_at_the_stores_state(store: Store):
    loaded(store.place, store.loader(), [schema(), record(id=1), state(orders={"id": 1})])
    second = loaded(store.place, store.loader(), [schema(), record(id=2), state(orders={"id": 2})])
    assert second.of("ready")[0]["state"] == {"bookmarks": {"orders": {"id": 1}}}
    assert second.of("ready")[0]["sequence"] == 1
    assert store.count("orders") == 2
