"""A status is told by shape, word and colour at once, and numbers that are not known say so."""

import pytest
from django.template import Context, Template

from jobs.templatetags.words import badge, named, status_class


@pytest.mark.parametrize(
    ("status", "tone", "shape", "word"),
    [
        ("COMPLETE", "complete", "g-ok", "Complete"),
        ("ERROR", "error", "g-bad", "Error"),
        ("RUNNING", "running", "g-live", "Running"),
        ("QUEUED", "queued", "g-wait", "Queued"),
        ("STOPPED", "stopped", "g-halt", "Stopped"),
        ("skipped", "skipped", "g-skip", "Skipped"),
        ("late", "late", "g-late", "Late"),
        ("PROVISIONING", "provisioning", "g-live", "Provisioning"),
        ("FAILED", "failed", "g-bad", "Failed"),
        ("timed_out", "stopped", "g-halt", "Timed out"),
    ],
)
def test_each_status_has_its_shape_word_and_colour(status, tone, shape, word):
    markup = badge(status)
    assert f"badge is-{tone}" in markup and f'href="#{shape}"' in markup and markup.endswith(f"{word}</span>")


def test_an_unknown_status_is_shown_as_it_is():
    assert status_class("PONDERING") == "pondering"
    assert "Pondering" in badge("PONDERING")


def test_names_are_escaped():
    assert "&lt;b&gt;" in named("ERROR", "<b>")


def test_what_a_row_does_not_hold_is_not_known():
    text = Template("{% load words %}{{ row.rows|grouped }} {{ row.seconds|duration }} {{ row.bytes|size }}")
    assert text.render(Context({"row": {}})) == "n/a n/a n/a"
    assert text.render(Context({"row": {"rows": 0, "seconds": 0, "bytes": 0}})) == "0 0 s 0 B"
