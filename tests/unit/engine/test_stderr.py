"""Lines as real taps and targets write them."""

import json

import pytest

from jobs.engine.stderr import Story, hint_of, level_of, metric_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("INFO Starting sync", ("info", "Starting sync")),
        ("WARNING Removed 1 paths during transforms:", ("warning", "Removed 1 paths during transforms:")),
        ("CRITICAL 401 Client Error", ("error", "401 Client Error")),
        ("DEBUG x", ("debug", "x")),
        ("FATAL gone", ("error", "gone")),
        ("INFO:root:Read 3 rows", ("info", "Read 3 rows")),
        ("ERROR:tap_x.client:No such user", ("error", "tap_x.client: No such user")),
        ("ERROR: it broke", ("error", "it broke")),
        ("[WARN] slow", ("warning", "slow")),
        (
            "2026-01-01 10:00:00,123 | WARNING  | tap-x                | Stream 'a' has no records",
            ("warning", "tap-x: Stream 'a' has no records"),
        ),
        ("2026-01-01 10:00:00,123 | ERROR    | target-y.users       | a | b", ("error", "target-y.users: a | b")),
        (
            "time=2021-05-10 16:54:22 name=sample-tap level=WARNING message=Catalog entry missing",
            ("warning", "sample-tap: Catalog entry missing"),
        ),
        (
            "time=2026-01-01 10:00:00 name=tap_mysql level=CRITICAL message=(1045, \"Access denied for user 'a'\")",
            ("error", "tap_mysql: (1045, \"Access denied for user 'a'\")"),
        ),
        ("time=2026-01-01T10:00:00Z level=error msg=gone", ("error", "gone")),
        ("2026-01-01 10:00:00,123 - tap - ERROR - gone", ("error", "tap: gone")),
        ("2026-01-01 10:00:00,123 INFO Loading into 'a'", ("info", "Loading into 'a'")),
        ("2026-01-01T10:00:00.12Z [warning  ] slow", ("warning", "slow")),
        ("2026-01-01 10:00:00 [ERROR] gone", ("error", "gone")),
        ('{"event": "No rows", "level": "warning", "timestamp": "2026"}', ("warning", "No rows")),
        ('{"levelname": "CRITICAL", "message": "gone", "name": "tap"}', ("error", "tap: gone")),
        ('{"severity": "DEBUG", "msg": "x"}', ("debug", "x")),
        ('{"type": "STATE", "value": {}}', ("info", '{"type": "STATE", "value": {}}')),
        ("{not json}", ("info", "{not json}")),
        ("[]", ("info", "[]")),
        ("Traceback (most recent call last):", ("error", "Traceback (most recent call last):")),
        ('  File "a.py", line 3, in main', ("error", '  File "a.py", line 3, in main')),
        ("sqlalchemy.exc.OperationalError: gone", ("error", "sqlalchemy.exc.OperationalError: gone")),
        ("Error: Missing option '--config'.", ("error", "Error: Missing option '--config'.")),
        ("warning: no rows", ("warning", "warning: no rows")),
        ("/a/b.py:12: DeprecationWarning: pkg_resources", ("warning", "/a/b.py:12: DeprecationWarning: pkg_resources")),
        ("INFORMATION about something", ("info", "INFORMATION about something")),
        ("Errors: none", ("info", "Errors: none")),
        ("  indented", ("info", "  indented")),
        ("", ("info", "")),
        ("2026-01-01 was a Thursday", ("info", "2026-01-01 was a Thursday")),
    ],
)
def test_levels_of_the_usual_formats(line, expected):
    assert level_of(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        'INFO METRIC: {"type": "counter", "metric": "record_count", "value": 3, "tags": {"endpoint": "users"}}',
        'INFO METRIC: {"type": "timer", "metric": "http_request_duration", "value": 0.4, "tags": {"endpoint": "users"}}',
        '2026-01-01 10:00:00,123 | INFO     | singer_sdk.metrics   | METRIC: {"type": "counter", "metric": "record_count", '
        '"value": 3, "tags": {"stream": "users"}}',
        "time=2021-05-10 16:54:22 name=tap level=INFO message=METRIC: {'type': 'counter', 'metric': 'record_count', "
        "'value': 3, 'tags': {'stream': None}}",
        json.dumps({"level": "info", "message": 'METRIC: {"type": "counter", "metric": "record_count", "value": 3}'}),
    ],
)
def test_metric_lines_are_read(line):
    metric = metric_of(line)
    assert metric["type"] in ("counter", "timer")
    assert metric["metric"] in ("record_count", "http_request_duration")
    assert metric["value"] in (3, 0.4)


@pytest.mark.parametrize("line", ["INFO no METRIC", "INFO METRIC: {broken", "INFO METRIC: {1, 2}", "METRIC: [1]", ""])
def test_other_lines_are_no_metrics(line):
    assert metric_of(line) is None


def told(text):
    story = Story()
    for line in text.strip("\n").split("\n"):
        story.add(line)
    return story.line


TRACEBACK = """
INFO Starting
CRITICAL connection to server at "localhost" failed
Traceback (most recent call last):
  File "/venv/bin/tap-postgres", line 8, in <module>
    sys.exit(Tap.cli())
  File "/venv/lib/sqlalchemy/engine.py", line 10, in connect
    return self.dialect.connect()
           ^^^^^^^^^^^^^^^^^^^^^^
psycopg2.OperationalError: FATAL:  password authentication failed for user "a"

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/venv/lib/sqlalchemy/engine.py", line 12, in connect
    raise exc
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) FATAL:  password authentication failed for user "a"

(Background on this error at: https://sqlalche.me/e/20/e3q8)
"""


def test_the_last_exception_of_a_traceback_names_the_failure():
    assert told(TRACEBACK) == (
        'sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) FATAL: password authentication failed for user "a"'
    )


def test_every_line_of_a_traceback_is_an_error():
    story = Story()
    levels = [story.add(line)[0] for line in TRACEBACK.strip("\n").split("\n")]
    assert levels[:9] == ["info"] + ["error"] * 8
    assert story.add("INFO done")[0] == "info"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INFO a\nCRITICAL first\nERROR second\nINFO b", "second"),
        ("INFO a\nsomething odd\n\n", "something odd"),
        ("", ""),
        ("INFO a\nerror: no such option: --catalogue", "error: no such option: --catalogue"),
        ('Traceback (most recent call last):\n  File "a", line 1\ntap_x.BadThing\nINFO bye', "tap_x.BadThing"),
        (
            "Traceback (most recent call last):\n  File \"a\", line 1\nKeyError: 'a'\n"
            'Traceback (most recent call last):\n  File "a", line 1\nSystemExit: 1',
            "KeyError: 'a'",
        ),
        (
            "ERROR no rows for me\nException ignored in: <_io.TextIOWrapper name='<stdout>'>\n"
            "BrokenPipeError: [Errno 32] Broken pipe",
            "no rows for me",
        ),
        (
            'Traceback (most recent call last):\n  File "a", line 1\nBrokenPipeError: [Errno 32] Broken pipe',
            "BrokenPipeError: [Errno 32] Broken pipe",
        ),
        (
            'Traceback (most recent call last):\n  File "a", line 1\n'
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for Config\nhost\n  Field required [type=missing]\n"
            "\nFor further information",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for Config host Field required [type=missing]",
        ),
        (
            'Traceback (most recent call last):\n  File "a", line 1\npsycopg2.OperationalError: Connection refused\n'
            "\tIs the server running?\nINFO bye",
            "psycopg2.OperationalError: Connection refused Is the server running?",
        ),
        (
            "╭───────── Traceback (most recent call last) ─────────╮\n│ /a/b.py:3 in main │\n╰──────────╯\nValueError: no",
            "ValueError: no",
        ),
        (
            '{"level": "error", "event": "failed", "exception": "Traceback (most recent call last):\\n  File \\"a\\"\\nValueError: no"}',
            "ValueError: no",
        ),
        (
            '{"level": "error", "message": "failed", "exception": {"type": "ValueError", "message": "no"}}',
            "ValueError: no",
        ),
        (
            "2026-01-01 10:00:00,123 | ERROR    | tap-x | Unhandled\nTraceback (most recent call last):\n"
            '  File "a", line 1\n    x\nsinger_sdk.exceptions.ConfigValidationError: Config validation failed: '
            "'host' is a required property",
            "singer_sdk.exceptions.ConfigValidationError: Config validation failed: 'host' is a required property",
        ),
    ],
)
def test_the_line_that_names_a_failure(text, expected):
    assert told(text) == expected


def test_the_line_is_cut():
    assert len(told(f"ERROR {'x' * 5000}")) == 300


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('FATAL:  password authentication failed for user "a"', "password"),
        ("(1045, \"Access denied for user 'a'@'localhost' (using password: YES)\")", "password"),
        ("401 Client Error: Unauthorized for url: https://api.example.com/users", "401"),
        ("403 Client Error: Forbidden for url", "may not"),
        ("psycopg2.errors.InsufficientPrivilege: permission denied for table orders", "Grant"),
        ("404 Client Error: Not Found for url", "404"),
        ("429 Client Error: Too Many Requests", "limits requests"),
        ('connection to server at "localhost" (127.0.0.1), port 1 failed: Connection refused', "Nothing answers"),
        ('could not translate host name "nowhere" to address: Name or service not known', "name"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid (_ssl.c:1006)",
            "clock",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "clock"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate", "not trusted"),
        ("An error occurred (RequestTimeTooSkewed) when calling", "clock"),
        ("PermissionError: [Errno 13] Permission denied: '/root/x.csv'", "rights"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'x.csv'", "path"),
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("sqlite3.OperationalError: database or disk is full", "disk"),
        ("MemoryError", "memory"),
        ("Killed", "memory"),
        ("Exception: Config is missing required keys: ['host']", "required setting"),
        ("Config validation failed: 'host' is a required property", "required setting"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "lacks a package"),
        ("sqlite3.OperationalError: attempt to write a readonly database", "only be read"),
        ("sqlite3.OperationalError: no such table: orders", "table"),
        ('psycopg2.errors.UndefinedTable: relation "orders" does not exist', "table"),
        ('FATAL:  database "shop" does not exist', "database"),
        ("requests.exceptions.ReadTimeout: HTTPSConnectionPool: Read timed out.", "network"),
    ],
)
def test_common_causes_come_with_a_remedy(text, word):
    hint = hint_of(text)
    assert word in hint
    assert hint.endswith(".")


@pytest.mark.parametrize("text", ["", "ValueError: no", "KeyError: 'a'", "read 4010 rows"])
def test_other_words_get_no_remedy(text):
    assert hint_of(text) == ""
