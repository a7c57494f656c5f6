import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.folders import ensure_run_as_user
from jobs.proofs import POSTGRES, SAMPLES, Proof, connectors, key_of, prove

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "connectors.md"
BEGIN, END = "<!-- proofs -->", "<!-- end of proofs -->"
HEAD = ["Connector", "Variant", "Version", "What it does", "Installed", "Started", "Tried here", "Python", "Date"]


class Command(BaseCommand):
    help = "Install and start the shipped connectors, and write docs/connectors.md's table of what worked."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", help="such as tap-postgres or tap-postgres--meltanolabs; none: all")
        parser.add_argument("--postgres", default="", help="postgresql://user:password@host:port/database to try with")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = connectors(options["names"])
        if not chosen:
            raise CommandError(f"No shipped connector is called {' or '.join(options['names'])}.")
        ensure_run_as_user()
        rows, failed = {}, []
        for plugin in chosen:
            proof = prove(plugin, postgres=options["postgres"])
            rows[plugin.name, plugin.variant] = row_of(proof, timezone.localdate())
            self.stdout.write(" | ".join(rows[plugin.name, plugin.variant]))
            if proof.failure is not None:
                failed.append(key_of(plugin))
                self.stderr.write(f"{key_of(plugin)}: {proof.failure.headline}")
                self.stderr.write("\n".join(proof.failure.details.get("lines", [])))
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(with_rows(text, rows), encoding="utf-8")
        self.stdout.write(f"{len(chosen) - len(failed)} of {len(chosen)} worked; the table is in {DOCUMENT}")
        if failed:
            raise CommandError(f"These did not work: {', '.join(failed)}")


def row_of(proof: Proof, day: date) -> list[str]:
    """A row of the table."""
    plugin = proof.plugin
    needs = "a server" if key_of(plugin) in POSTGRES else "an account"
    tried = proof.tried or ("no" if key_of(plugin) in SAMPLES else f"needs {needs}")
    return [
        plugin.name,
        plugin.variant,
        proof.version,
        plugin.description,
        "yes" if proof.packages else "no",
        "yes" if proof.is_started else "no",
        tried,
        proof.python,
        day.isoformat(),
    ]


def with_rows(text: str, rows: dict[tuple[str, str], list[str]]) -> str:
    """The document with these rows in its table; those of other connectors stay, if they are shipped still."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    old = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    known = {(cells[0], cells[1]): cells for cells in old[2:] if len(cells) == len(HEAD)}
    shipped = [(plugin.name, plugin.variant) for plugin in connectors()]
    merged = [(known | rows)[key] for key in sorted(shipped) if key in known | rows]
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *map(_line, merged)]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"[|\n]", " ", cell) for cell in cells) + " |"
