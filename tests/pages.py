"""Help for tests of pages: signing in, reading markup, counting queries."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs.log_lines import LogLine, pack
from jobs.models import Job, LogChunk

SIGNING_IN = 2  # queries for session and user, which every page has


def signed_in(user: Any) -> Client:
    """A browser of a person who has signed in."""
    client = Client()
    client.force_login(user)
    return client


class Markup(HTMLParser):
    """What a test asks of a page: its tags, links, form addresses and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """The attributes of all such tags."""
        return [
            attrs for name, attrs in self.tags if name == tag and all(attrs.get(key) == wanted[key] for key in wanted)
        ]

    @property
    def links(self) -> list[str]:
        return [attrs["href"] for attrs in self.all("a") if "href" in attrs]

    @property
    def actions(self) -> list[str]:
        return [attrs["formaction"] for attrs in self.all("button") if "formaction" in attrs]


def page(client: Client, address: str, *, status: int = 200, **headers: str) -> Markup:
    """A page, read."""
    response = client.get(address, headers=headers)
    assert response.status_code == status, f"{address}: {response.status_code}"
    return Markup(response.content.decode())


def queries_of(client: Client, address: str, **headers: str) -> int:
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get(address, headers=headers)
    assert response.status_code == 200, response.status_code
    return len(captured)


def write_log(job: Job, lines: list[tuple[str, str]], *, chunk: int = 100) -> None:
    """A job's log of (level, text) lines, in chunks as the worker makes them."""
    packed = [LogLine(job.created_at, "extractor", level, text) for level, text in lines]
    for first in range(0, len(packed), chunk):
        part = packed[first : first + chunk]
        errors = sum(line.level == "error" for line in part)
        LogChunk.objects.create(job=job, first_line=first, line_count=len(part), error_count=errors, text=pack(part))
    errors = [number for number, line in enumerate(packed) if line.level == "error"]
    values = {"log_lines": len(lines), "log_errors": len(errors), "first_error_line": errors[0] if errors else None}
    Job.objects.filter(pk=job.pk).update(**values)
    job.refresh_from_db()
