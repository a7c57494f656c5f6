"""Secrets out of text."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from jobs.engine.redact import Redactor, clean

SECRET = 'p@ss "w/ord\\ é+1'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps({"password": SECRET}, ensure_ascii=False),
        f"postgresql://me:{quote(SECRET, safe='')}@host/db",
        f"?password={quote_plus(SECRET)}",
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode() + b"!").decode(),
        base64.b64encode(b"me:" + SECRET.encode()).decode(),
        base64.urlsafe_b64encode(b"m:" + SECRET.encode() + b"tail").decode(),
    ],
)
def test_a_secret_is_masked_however_it_is_written(written):
    masked = Redactor([SECRET]).mask(f"before {written} after")

    assert "***" in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    for form in (SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()):
        assert form not in masked


def test_each_line_of_a_multi_line_secret_is_masked():
    key = "-----BEGIN KEY-----\nMIIBVQIBADAN\nabcd1234\n-----END KEY-----\n"
    redactor = Redactor([key])

    assert redactor.mask("found MIIBVQIBADAN in the file") == "found *** in the file"
    assert redactor.mask("abcd1234") == "***"


def test_the_longer_of_two_overlapping_secrets_is_masked_whole():
    assert Redactor(["hunter", "hunter22"]).mask("it is hunter22!") == "it is ***!"


def test_a_secret_too_short_to_mask_leaves_ordinary_words_alone():
    assert Redactor(["an", ""]).mask("an answer") == "an answer"


def test_without_secrets_nothing_changes():
    assert Redactor([]).mask("as it was") == "as it was"


def test_ansi_codes_and_control_characters_are_removed():
    assert clean("\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07\x00\r\u2028") == "red link"


def test_tabs_and_letters_of_all_scripts_stay():
    assert clean("a\tb 東京 é 🎉") == "a\tb 東京 é 🎉"
