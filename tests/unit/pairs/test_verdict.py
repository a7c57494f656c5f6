"""Who failed first, and when rows are missing: rules without processes."""

import pytest

from jobs.engine.interface import Failure
from jobs.engine.steps.verdict import Ended, Sent, first_failure, missing_rows

TAP, TARGET = Failure("tap failed"), Failure("target failed")
LINE, CUT, STOPPED = Failure("line refused"), Failure("relay was cut"), Failure("stopped reading")
PIPE = Failure("tap ended with exit code 1: BrokenPipeError: [Errno 32] Broken pipe")
DATABASE = Failure("tap ended with exit code 1: OperationalError: server closed the connection: Broken pipe")
KILLED = Failure("relay ended with signal KILL")


def well(at):
    return Ended(0, at)


def refused(at):
    return Ended(1, at, LINE)


def cut(at):
    return Ended(1, at, CUT, is_cut=True)


@pytest.mark.parametrize(
    ("extractor", "loader", "relay", "expected"),
    [
        (well(1), well(2), None, None),
        (well(1), well(2), well(1.5), None),
        (Ended(1, 1, TAP), well(2), None, TAP),
        (Ended(1, 1, TAP), Ended(1, 2, TARGET), None, TAP),  # the target only saw half a stream
        (Ended(1, 2, TAP), Ended(1, 1, TARGET), None, TARGET),
        (Ended(1, 2, PIPE), Ended(1, 1, TARGET), cut(1.5), TARGET),
        (Ended(1, 1.0, PIPE), Ended(1, 1.1, TARGET), cut(1.1), TARGET),  # both seen at the same moment
        (Ended(141, 1.0, TAP), Ended(1, 1.1, TARGET), None, TARGET),
        (Ended(1, 1, DATABASE), Ended(1, 9, TARGET), well(8), DATABASE),  # a pipe of its own broke
        (Ended(1, 1, DATABASE), well(1.2), well(1.1), DATABASE),
        (well(1), Ended(1, 2, TARGET), None, TARGET),
        (Ended(143, 2, TAP, was_ended=True), Ended(1, 1, TARGET), None, TARGET),
        # The target died, and its extractor was ended in the middle of a line, which was refused.
        (Ended(143, 2, TAP, was_ended=True), Ended(1, 1, TARGET), refused(2.1), TARGET),
        (Ended(143, 2, TAP, was_ended=True), Ended(1, 3, TARGET), refused(1), LINE),
        (Ended(1, 2, PIPE), Ended(1, 3, TARGET), refused(2), LINE),
        (Ended(141, 2, TAP), well(3), refused(2), LINE),
        (Ended(1, 5, TAP), well(3), refused(2), LINE),  # whatever it says of its end: that came later
        (Ended(137, 1, TAP), Ended(1, 3, TARGET), refused(2), TAP),  # killed in the middle of a line
        (Ended(137, 1, TAP), Ended(1, 1, TARGET), refused(1), TAP),
        (well(1), Ended(1, 3, TARGET), refused(2), LINE),
        (Ended(1, 1.0, PIPE), well(1.1), cut(1.1), STOPPED),  # says that all is well, and read no more
        (Ended(143, 2, TAP, was_ended=True), well(1), cut(1), STOPPED),
        (Ended(143, 2, TAP, was_ended=True), well(2), Ended(137, 1, KILLED), KILLED),
        (Ended(1, 1.1, PIPE), Ended(1, 1.3, TARGET), Ended(137, 1, KILLED), KILLED),
    ],
)
def test_the_cause_is_named_and_not_its_echo(extractor, loader, relay, expected):
    assert first_failure(extractor, loader, relay, stopped_reading=STOPPED) is expected


def table(rows, **more):
    return {"rows": rows, "exists": rows is not None, **more}


@pytest.mark.parametrize(
    ("sent", "before", "after", "kind", "verified"),
    [
        (Sent(10), table(5), table(15), "jsonl", True),
        (Sent(10), table(0), table(10), "postgresql", True),
        (Sent(10), table(30), table(10), "postgresql", True),  # overwritten
        (Sent(10), table(10), table(10), "postgresql", None),  # overwritten, or nothing was written
        (Sent(10), table(10), table(10), "jsonl", None),
        (Sent(10, ["id"], 7), table(7), table(7), "postgresql", None),
        (Sent(10, ["id"], 10), table(10), table(10, missing=[]), "postgresql", True),  # merged
        (Sent(10, ["id"], 7), table(0), table(7), "postgresql", True),  # three were sent twice
        (Sent(10, ["id"], 10), table(100), table(104), "postgresql", None),  # merged: not to be told by counting
        (Sent(10, ["id"], 10), table(100), table(110), "postgresql", True),
        (Sent(10, ["id"], None), table(0), table(9), "postgresql", None),  # too many keys to tell apart
        (Sent(10), table(None), table(None, why="no such setting"), "postgresql", None),
        (Sent(0), table(0), table(0), "jsonl", None),
    ],
)
def test_what_counting_proves(sent, before, after, kind, verified):
    after = {**after, "exists": True}
    assert missing_rows("orders", sent, before, after, kind=kind, loader="target-x") == (verified, None)


@pytest.mark.parametrize(
    ("sent", "before", "after", "kind", "says"),
    [
        (Sent(10), table(5), table(14), "jsonl", "1 of 10 rows of stream orders are missing in target-x"),
        (Sent(10), table(30), table(5), "jsonl", "10 of 10 rows of stream orders are missing in target-x"),
        (Sent(10, ["id"], 10), table(0), table(9), "duckdb", "1 of 10 rows of stream orders are missing"),
        (Sent(10, ["id"], 10), table(4), table(3), "duckdb", "missing"),
        (Sent(10), table(5), table(16), "csv", "1 rows too many of stream orders are in target-x"),
        (Sent(10, ["id"], 10), table(50), table(52, missing=[[1]]), "duckdb", "Rows of stream orders are missing"),
        (Sent(10), table(0), {"rows": None, "exists": False}, "duckdb", "10 of 10 rows of stream orders are missing"),
    ],
)
def test_missing_rows_are_an_error_whatever_the_exit_code(sent, before, after, kind, says):
    verified, failure = missing_rows("orders", sent, before, after, kind=kind, loader="target-x")

    assert verified is False
    assert says in failure.headline
    assert failure.reason and failure.remedy
    assert failure.details["stream"] == "orders"


def test_a_missing_key_is_shown():
    sent = Sent(3, ["region", "id"], 3, samples=[["EU", 1], ["EU", 2], ["EU", 3]])
    _, failure = missing_rows("orders", sent, table(9), table(11, missing=[["EU", 1]]), kind="duckdb", loader="t")

    assert "region EU, id 1" in failure.reason
