"""A real browser that notices what a person would not: console errors, refused content, requests to other hosts."""

from __future__ import annotations

import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page

from tests.e2e.installation import Installation, until
from tests.factories import PASSWORD

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
ARTEFACTS = Path(settings.BASE_DIR) / "artefacts"
SIZES = {1440: 900, 390: 844}
HOW_TO_INSTALL = "Chromium is missing. On Debian: apt-get install chromium. Elsewhere put `chromium` on the PATH."
REPORT_REFUSALS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`refused by the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def find_chromium() -> str:
    """The system's Chromium. Without it the test is skipped; where CI is set that is a failure."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(HOW_TO_INSTALL)
    pytest.skip(HOW_TO_INSTALL)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_site(installation: Installation) -> str:
    """The address of a running web server."""
    port = free_port()
    server = installation.start("web", "--port", str(port), "--processes", "1")
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, f"the server ended: {installation.log[-2000:]}"
        try:
            return urllib.request.urlopen(f"{address}/login/", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    until(answers, seconds=60, what="the site to answer")
    return address


class Visitor:
    """One person at one browser window."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        self.site = site
        self.faults: list[str] = []
        self.expected: list[str] = []
        page.add_init_script(REPORT_REFUSALS)
        page.on("console", lambda said: said.type == "error" and self.faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.site, "data:", "blob:")):
            self.faults.append(f"request to another host: {request.url}")

    def open(self, path: str) -> None:
        """Go to a page; nothing of it may be wider than the window."""
        response = self.page.goto(self.site + path)
        assert response is not None and response.status == 200, f"{path}: {response and response.status}"

    def sign_in(self, name: str) -> None:
        """As a person does it."""
        self.open("/login/")
        self.page.fill("#login", name)
        self.page.fill("#pw", PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_url("**/w/**")

    def picture(self, name: str) -> None:
        """Keep a screenshot of the whole page among the artefacts."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    @property
    def is_too_wide(self) -> bool:
        """Whether one would have to scroll sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@contextmanager
def visitor(
    browser: Browser, site: str, *, width: int = 1440, theme: str = "light", scripts: bool = True
) -> Iterator[Visitor]:
    """A window of its own; at its end nothing may have gone wrong in it."""
    context = browser.new_context(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme="dark" if theme == "dark" else "light",
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    try:
        someone = Visitor(context.new_page(), site)
        yield someone
        assert not someone.faults, someone.faults
    finally:
        context.close()
