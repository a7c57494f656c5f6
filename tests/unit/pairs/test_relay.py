"""The relay between tap and target, as a real process with real pipes."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Relay:
    """A running relay. What is written to it is read from it by `finish`."""

    def __init__(self, folder, **spec):
        self.messages, self._telling = os.pipe()
        self._events, writing = os.pipe()
        argv = [sys.executable, "-m", "jobs.engine.movers", "relay", "--folder", str(folder)]
        argv += ["--spec-fd", str(self.messages), "--events-fd", str(writing)]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            pass_fds=(self.messages, writing),
        )
        os.close(self.messages)
        os.close(writing)
        self.events = os.fdopen(self._events, encoding="utf-8")
        self.tell(spec)

    def tell(self, message):
        os.write(self._telling, json.dumps(message).encode() + b"\n")

    def event(self, kind):
        """The next event of a kind."""
        for line in self.events:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        return None

    def finish(self, data=b""):
        """(what was passed on, its events, exit code) after this input and its end."""
        events: list = []
        reader = threading.Thread(target=lambda: events.extend(json.loads(line) for line in self.events))
        reader.start()
        passed, _ = self.process.communicate(data, timeout=60)
        reader.join()
        self.close()
        return passed, events, self.process.returncode

    def close(self):
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr, self.events):
            with contextlib.suppress(BrokenPipeError):  # of what it no longer read
                pipe.close()
        self.process.wait()
        os.close(self._telling)


def record(stream, values, *, spaced=True):
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps({"type": "RECORD", "stream": stream, "record": values}, separators=separators).encode() + b"\n"


def schema(stream, keys=()):
    message = {"type": "SCHEMA", "stream": stream, "schema": {"properties": {}}, "key_properties": list(keys)}
    return json.dumps(message).encode() + b"\n"


def facts(events):
    """What the relay says at its end."""
    return next(event for event in events if event["event"] == "result")["streams"]


@pytest.mark.parametrize("spaced", [True, False])
def test_everything_passes_unchanged_and_is_counted_per_stream(tmp_path, spaced):
    lines = [schema("a"), schema("b")]
    for number in range(5000):
        lines.append(record("a", {"id": number, "text": "é" * 50}, spaced=spaced))
        if number % 7 == 0:
            lines.append(record("b", {"id": number}, spaced=spaced))
    lines.append(b'{"type": "STATE", "value": {"bookmarks": {}}}\n')
    data = b"".join(lines)
    passed, events, code = Relay(tmp_path).finish(data)

    assert code == 0
    assert passed == data
    found = facts(events)
    assert (found["a"]["records"], found["b"]["records"]) == (5000, 715)
    assert found["a"]["bytes"] == sum(
        len(line)
        for line in lines
        if line.startswith((b'{"type": "RECORD", "stream": "a"', b'{"type":"RECORD","stream":"a"'))
    )


def test_records_are_counted_whatever_the_order_of_their_keys(tmp_path):
    lines = [
        schema("a"),
        b'{"stream": "a", "type": "RECORD", "record": {"id": 1}}\n',
        b'{"record": {"id": 2, "type": "RECORD", "stream": "b"}, "stream": "a", "type": "RECORD"}\n',
        b' {"type": "RECORD", "stream": "a", "record": {"id": 3}}\n',
        b'{"type": "RECORD", "stream": "caf\\u00e9 \\"x\\"", "record": {"id": 3}}',  # and no line end
    ]
    passed, events, code = Relay(tmp_path).finish(b"".join(lines))

    assert code == 0
    assert passed == b"".join(lines) + b"\n"
    assert {name: stream["records"] for name, stream in facts(events).items()} == {"a": 3, 'café "x"': 1}


def test_a_name_that_another_begins_with_is_not_taken_for_it(tmp_path):
    data = schema("a") + record("a", {"id": 1}) + record("ab", {"id": 1}) + record("a", {"id": 2})
    _, events, _ = Relay(tmp_path).finish(data)

    assert {name: stream["records"] for name, stream in facts(events).items()} == {"a": 2, "ab": 1}


def test_keys_are_told_apart_and_the_first_and_last_are_kept(tmp_path):
    rows = [record("a", {"nested": {"id": 7}, "id": number % 400, "x": str(number)}) for number in range(1000)]
    _, events, code = Relay(tmp_path, keys=True).finish(schema("a", ["id", "x"]) + b"".join(rows))

    found = facts(events)["a"]
    assert code == 0
    assert (found["records"], found["distinct"], found["keys"]) == (1000, 1000, ["id", "x"])
    assert found["samples"][0] == [0, "0"]
    assert found["samples"][-1] == [199, "999"]
    assert len(found["samples"]) == 40

    _, events, _ = Relay(tmp_path, keys=True).finish(schema("a", ["id"]) + b"".join(rows))
    assert facts(events)["a"]["distinct"] == 400


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Fetching page 2 ...", "malformed"),
        (b'{"type": "STATE", "value": {', "truncated"),
        (b'{"no": "type"}', "type"),
        (b'["a"]', "object"),
        (b'{"type": "\xff\xfe", "stream": "a"}', ""),
    ],
)
def test_a_line_that_is_no_message_ends_it_with_the_lines_number_and_text(tmp_path, line, says):
    before = schema("a") + record("a", {"id": 1})
    passed, events, code = Relay(tmp_path).finish(before + line + b"\n" + record("a", {"id": 2}))

    error = next(event for event in events if event["event"] == "error")
    assert code == 1
    assert passed == before
    assert (error["line"], error["code"]) == (3, "singer-line")
    assert says in error["reason"].lower()
    assert error["remedy"]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_record_at_the_end_is_not_passed_on(tmp_path, cut):
    whole = schema("a") + record("a", {"id": 1}) * 3
    passed, events, code = Relay(tmp_path).finish(whole + record("a", {"id": 2})[: -1 - cut])

    assert code == 1
    assert passed == whole
    assert "Line 5 of the tap's output is not a Singer message" in [event.get("headline") for event in events]


def test_a_target_that_no_longer_reads_is_told_from_other_ends(tmp_path):
    relay = Relay(tmp_path)
    relay.process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        relay.process.stdin.write(schema("a"))
        relay.process.stdin.flush()
    assert relay.event("cut") == {"event": "cut"}
    assert relay.process.wait(30) == 1
    relay.close()


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path):
    relay = Relay(tmp_path)
    got: list = []
    reader = threading.Thread(target=lambda: got.append(relay.event("error")))
    reader.start()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(80):
            relay.process.stdin.write(b"x" * (1 << 20))
    reader.join()
    relay.close()

    assert "longer than 64 MiB" in got[0]["headline"]


def test_the_gate_holds_a_stream_until_its_table_was_counted(tmp_path):
    relay = Relay(tmp_path, gate=True)
    relay.process.stdin.write(schema("a", ["id"]) + record("a", {"id": 1}) + schema("b") + record("b", {"id": 1}))
    relay.process.stdin.flush()

    assert relay.event("schema")["stream"] == "a"
    os.set_blocking(relay.process.stdout.fileno(), False)
    assert relay.process.stdout.read() is None  # nothing has passed
    os.set_blocking(relay.process.stdout.fileno(), True)
    relay.tell({"go": True})
    assert relay.event("schema")["stream"] == "b"
    assert os.read(relay.process.stdout.fileno(), 1 << 16) == schema("a", ["id"]) + record("a", {"id": 1})
    relay.tell({"go": True})
    passed, events, code = relay.finish()

    assert (passed, code) == (schema("b") + record("b", {"id": 1}), 0)
    assert facts(events)["b"]["records"] == 1


def test_a_target_that_is_gone_ends_the_relay_without_a_word(tmp_path):
    relay = Relay(tmp_path)
    relay.process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(100):
            relay.process.stdin.write(record("a", {"text": "x" * 100_000}))
    code = relay.process.wait(30)
    said = relay.process.stderr.read()
    relay.close()

    assert (code, said) == (1, b"")


def test_counts_of_a_tap_that_rests_are_said_all_the_same(tmp_path):
    relay = Relay(tmp_path)
    relay.process.stdin.write(schema("a") + record("a", {"id": 1}) + record("a", {"id": 2}))
    relay.process.stdin.flush()
    event = relay.event("stream")
    relay.close()

    assert (event["stream"], event["rows_read"]) == ("a", 2)


def test_what_was_read_is_said_where_the_target_is_gone(tmp_path):
    relay = Relay(tmp_path)
    relay.process.stdout.close()
    relay.process.stdin.write(schema("a") + record("a", {"id": 1}) * 3)
    relay.process.stdin.flush()
    event = relay.event("stream")
    relay.close()

    assert (event["stream"], event["rows_read"]) == ("a", 3)
