"""Makes the pictures of the README from the running product: `.venv/bin/python docs/make_pictures.py`.

It starts a demo of its own, runs the shop's pipeline a few times with new, changed and broken files in between, and
photographs the pages.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
PORT = 8978
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Api:
    """The demo's API."""

    def __init__(self, token: str) -> None:
        self._token = token

    def call(self, path: str, method: str = "GET") -> dict:
        request = urllib.request.Request(
            f"http://localhost:{PORT}/api{path}", method=method, headers={"Authorization": f"Bearer {self._token}"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "{}")

    def run(self, pipeline: str) -> dict:
        """Run to the end."""
        job = self.call(f"/pipelines/{pipeline}/jobs", "POST")
        while job["status"] in ("QUEUED", "RUNNING"):
            time.sleep(0.2)
            job = self.call(f"/jobs/{job['id']}")
        return job


def make_history(api: Api, home: Path) -> None:
    """Runs with something to load, with nothing, and one that fails."""
    workspace = api.call("/workspaces")["_embedded"]["workspaces"][0]["id"]
    pipelines = api.call(f"/workspaces/{workspace}/pipelines")["_embedded"]["pipelines"]
    nightly = next(one["id"] for one in pipelines if one["label"] == "Shop nightly")
    orders = home / "workspaces" / workspace / "files" / "shop" / "orders"
    lines = gzip.decompress((orders / "2025-12.jsonl.gz").read_bytes()).splitlines()
    for number in range(1, 12):
        part = lines[: 400 * number] if number != 8 else [*lines[:400], b'{"order_id": "broken", "unit_price": 1']
        (orders / "2026-01.jsonl.gz").write_bytes(gzip.compress(b"\n".join(part) + b"\n"))
        while True:
            try:
                api.run(nightly)
                break
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                time.sleep(0.5)
    time.sleep(3)


def photograph(access: dict) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.goto(f"http://localhost:{PORT}/login/")
        page.fill("input[name=username]", access["user"])
        page.fill("input[name=password]", access["password"])
        page.click("button[type=submit]")
        page.wait_for_load_state("networkidle")
        home = page.url
        page.screenshot(path=PICTURES / "home.png", full_page=True)
        page.goto(f"{home}jobs/?status=ERROR")
        page.click("tbody a >> nth=0")
        page.wait_for_load_state()
        page.wait_for_timeout(1500)
        page.screenshot(path=PICTURES / "job.png", full_page=True)
        browser.close()


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="eltsite-pictures-"))
    home.chmod(0o755)
    environment = {**os.environ, "ELTSITE_HOME": str(home)}
    command = [sys.executable, str(ROOT / "manage.py"), "demo", "--port", str(PORT)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("It is at"):
                break
        access = json.loads((home / "demo.json").read_text())
        PICTURES.mkdir(exist_ok=True)
        make_history(Api(access["token"]), home)
        photograph(access)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
