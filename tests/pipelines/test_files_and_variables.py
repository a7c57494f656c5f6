"""Files and variables of a workspace."""

from __future__ import annotations

import hashlib

import pytest

from eltsite.errors import Conflict, Invalid
from pipelines.plugins import MASK
from pipelines.services import delete_file, delete_variable, save_component, save_file, save_variable
from workspaces.services import create_workspace


@pytest.fixture
def room(owner):
    return create_workspace(name="Shop", owner=owner)


def test_file_is_made_and_replaced(room):
    file = save_file(room, path="models/orders.sql", content=b"SELECT 1")
    again = save_file(room, path="models/orders.sql", content=b"SELECT 22")
    file.refresh_from_db()
    assert again.pk == file.pk
    assert (bytes(file.content), file.size) == (b"SELECT 22", 9)
    assert file.digest == hashlib.sha256(b"SELECT 22").hexdigest()
    delete_file(file)
    assert not room.files.exists()


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\\b", "a\nb", "a\0b", "x" * 401, "a/" + "ä" * 128],
)
def test_path_must_stay_inside_and_be_plain(room, path):
    with pytest.raises(Invalid) as caught:
        save_file(room, path=path, content=b"")
    assert caught.value.errors[0].field == "path"


def test_file_and_folder_of_one_name_are_refused(room):
    save_file(room, path="models/orders.sql", content=b"")
    for path in ("models", "models/orders.sql/more.sql"):
        with pytest.raises(Invalid, match=r"cannot stand beside the file models/orders\.sql"):
            save_file(room, path=path, content=b"")
    save_file(room, path="models2", content=b"")


def test_large_file_is_refused_with_its_size(room, settings):
    settings.UPLOAD_MAX_BYTES = 1024 * 1024
    with pytest.raises(Invalid, match=r"1\.5 MiB.* at most 1\. Put it into an allowed folder"):
        save_file(room, path="big.csv", content=b"x" * (3 * 512 * 1024))


def test_variable_is_made_changed_and_kept_by_the_mask(room, owner):
    save_variable(room, name="SHOP_PASSWORD", value="hunter22", user=owner)
    save_variable(room, name="SHOP_PASSWORD", value=MASK)
    variable = room.variables.get()
    assert (variable.value, variable.is_sensitive, variable.modified_by) == ("hunter22", True, None)
    with pytest.raises(Invalid, match="NEW is new"):
        save_variable(room, name="NEW", value=MASK)


def test_stored_secret_is_not_laid_open_by_calling_it_harmless(room):
    save_variable(room, name="SHOP_PASSWORD", value="hunter22")
    with pytest.raises(Invalid, match="Write its value again"):
        save_variable(room, name="SHOP_PASSWORD", value=MASK, is_sensitive=False)
    assert room.variables.get().is_sensitive
    assert not save_variable(room, name="SHOP_PASSWORD", value="other", is_sensitive=False).is_sensitive


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä", "A" * 121])
def test_variable_names_are_words(room, name):
    with pytest.raises(Invalid, match="not a name of a variable"):
        save_variable(room, name=name, value="x")


@pytest.mark.parametrize(
    ("setting", "text"),
    [("path", "$WHERE"), ("path", "data/${WHERE}.db"), ("tables", '[{"table": "$WHERE"}]')],
)
def test_variable_in_use_cannot_be_deleted(room, setting, text):
    variable = save_variable(room, name="WHERE", value="shop")
    save_component(room, name="Shop", plugin="tap-sql", properties={"dialect": "sqlite", setting: text})
    with pytest.raises(Conflict, match=r"Shop refers to \$WHERE"):
        delete_variable(variable)


def test_unused_variable_is_deleted(room):
    variable = save_variable(room, name="WHERE", value="shop")
    save_variable(room, name="WHERE2", value="shop")
    save_component(room, name="Shop", plugin="tap-sql", properties={"dialect": "sqlite", "path": "$WHERE2"})
    delete_variable(variable)
    assert [each.name for each in room.variables.all()] == ["WHERE2"]
