"""A mover that root starts for a workspace gives up root before it reads what a person wrote."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.unit.movers_sql.conftest import Ended, Place, make_folder, make_spec, run_mover

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

USER, GROUP, OTHER_GROUP = 61234, 61234, 61235


class Guest(Place):
    """A workspace's folder of group GROUP, whose movers root starts as USER."""

    def run(self, verb: str, **changes: object) -> Ended:
        """Run a mover as the worker of an installation that is root does."""
        models = [{"path": f"models/{path}", "sql": sql} for path, sql in self.models.items()]
        spec = {**self.spec, "models": models, **changes}
        return run_mover(verb, self.folder, spec, "--run-as", f"{USER}:{GROUP}")


def give(folder: Path, group: int) -> None:
    """Make a folder tree as installations do: root's, open to one group, closed to others."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, group)
        path.chmod(0o2770 if path.is_dir() else 0o660)


@pytest.fixture
def home() -> Iterator[Path]:
    """An installation's home; pytest's own folders are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="eltsite-run-as-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def guest(home: Path) -> Guest:
    """A workspace with one file, beside a neighbour's and a secret of root's."""
    (home / "key").write_text("a\nthe key\n")
    (home / "key").chmod(0o600)
    for name, group in (("mine", GROUP), ("theirs", OTHER_GROUP)):
        folder = make_folder(home / name)
        (folder / "files" / "a.csv").write_text(f"a\n{name}\n")
        give(folder, group)
    return Guest(home / "mine", make_spec("target-duckdb", {"path": "warehouse.duckdb"}))


def reading(guest: Guest, path: Path | str) -> Ended:
    """Test an extractor that reads a file, in an installation that allows the whole home."""
    files = [{"stream": "a", "path": str(path)}]
    extractor = {"plugin": "tap-files", "name": "Files", "settings": {"files": files}}
    return guest.run("test", extractor=extractor, allowed_folders=[str(guest.folder.parent)])


def test_what_it_makes_belongs_to_the_other_user_and_the_workspaces_group(guest: Guest) -> None:
    guest.models = {"m.sql": "-- materialized: table\nselect * from read_csv('a.csv')"}
    assert guest.run("init").exit_code == 0
    ended = guest.run("models")
    assert ended.exit_code == 0, (ended.events, ended.stderr)
    facts = (guest.folder / "warehouse.duckdb").stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o007) == (USER, GROUP, 0)
    assert guest.query("SELECT a FROM shop.m") == [("mine",)]


def test_its_own_file_can_be_read(guest: Guest) -> None:
    ended = reading(guest, "a.csv")
    assert ended.exit_code == 0, ended.events


@pytest.mark.parametrize("place", ["key", "theirs/files/a.csv"])
def test_neither_roots_secret_nor_a_neighbours_file_can_be_read(guest: Guest, place: str) -> None:
    ended = reading(guest, guest.folder.parent / place)
    assert ended.checks["Stream a"] is False
    assert ended.error["code"] in ("file-unreadable", "file-missing")
    assert "the key" not in str(ended.events)


def test_a_neighbours_warehouse_can_neither_be_opened_nor_made(guest: Guest) -> None:
    theirs = guest.folder.parent / "theirs"
    guest.spec["loader"]["settings"]["path"] = str(theirs / "warehouse.duckdb")
    guest.models = {"m.sql": "select 1 as one"}
    allowed = [str(guest.folder.parent)]
    assert guest.run("models", allowed_folders=allowed).exit_code == 1
    with duckdb.connect(str(theirs / "warehouse.duckdb")) as connection:
        connection.execute("CREATE TABLE secret AS SELECT 1")
    (theirs / "warehouse.duckdb").chmod(0o660)
    ended = guest.run("models", allowed_folders=allowed)
    assert ended.exit_code == 1
    assert ended.error["code"] != "unexpected", ended.error


def test_a_home_that_the_other_user_cannot_reach_works_all_the_same(guest: Guest) -> None:
    guest.folder.parent.chmod(0o700)
    guest.models = {"m.sql": "-- materialized: table\nselect * from read_csv('a.csv')"}
    for verb in ("demo", "init", "models", "check"):
        files = [{"stream": "a", "path": "*.csv"}]
        extractor = {"plugin": "tap-files", "name": "Files", "settings": {"files": files}}
        ended = guest.run(verb, extractor=extractor)
        assert ended.exit_code == 0, (verb, ended.events, ended.stderr)
    assert guest.run("test", extractor=extractor).exit_code == 0
    assert guest.query("SELECT a FROM shop.m") == [("mine",)]
