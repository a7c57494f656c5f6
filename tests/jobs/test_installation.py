"""Set-up before the first process: keys, schemas, backups, the first administrator."""

import sqlite3
import stat

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection

from eltsite import crypto
from jobs import demo, installation
from tests.factories import make_component, make_user
from workspaces.models import InstallationFact

pytestmark = pytest.mark.django_db


def test_the_key_is_remembered_by_its_fingerprint_and_a_wrong_one_is_refused(settings):
    installation.check_key()
    installation.check_key()
    settings.ELTSITE_KEYS = (crypto.generate_key(),)

    with pytest.raises(installation.WrongKey, match="ELTSITE_KEY"):
        installation.check_key()


def test_a_key_is_rotated_by_putting_the_new_one_first(settings, workspace):
    old = settings.ELTSITE_KEYS[0]
    installation.check_key()
    component = make_component(workspace, "tap-sql", properties={"password": "hunter22"})
    new = crypto.generate_key()
    settings.ELTSITE_KEYS = (new, old)

    installation.check_key()
    assert InstallationFact.objects.get(name=installation.KEY_FACT).value == crypto.fingerprint(new)
    component.refresh_from_db()
    assert component.properties == {"password": "hunter22"}
    component.save()
    settings.ELTSITE_KEYS = (new,)
    component.refresh_from_db()
    assert component.properties == {"password": "hunter22"}


def test_a_missing_or_malformed_key_says_what_to_do(settings):
    settings.ELTSITE_KEYS = ()
    with pytest.raises(crypto.KeyFault, match="ELTSITE_KEY is not set"):
        installation.check_key()
    settings.ELTSITE_KEYS = ("not a key",)
    with pytest.raises(crypto.KeyFault, match="new_key"):
        installation.check_key()


def test_secrets_lie_encrypted_in_the_database(workspace):
    component = make_component(workspace, "tap-sql", properties={"password": "hunter22"})
    with connection.cursor() as cursor:
        cursor.execute("select properties from pipelines_datacomponent where name = %s", [component.name])
        stored = cursor.fetchone()[0]

    assert "hunter22" not in stored
    assert "password" not in stored


def test_a_database_of_a_newer_version_is_refused():
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into django_migrations (app, name, applied) values ('jobs', '9999_future', '2030-01-01')"
        )

    with pytest.raises(installation.NewerSchema, match=r"jobs\.9999_future"):
        installation.prepare()


def test_a_backup_is_whole_private_and_only_five_are_kept(settings, tmp_path, monkeypatch):
    settings.USES_SQLITE = True
    settings.ELTSITE_HOME = tmp_path
    source = tmp_path / "eltsite.sqlite3"
    with sqlite3.connect(source) as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (42)")
    monkeypatch.setitem(settings.DATABASES["default"], "NAME", source)
    (tmp_path / "backups").mkdir()
    for day in range(6):
        (tmp_path / "backups" / f"eltsite-2020010{day}-000000.sqlite3").write_text("old")

    installation._back_up()
    kept = sorted((tmp_path / "backups").iterdir())
    assert len(kept) == 5
    assert stat.S_IMODE(kept[-1].stat().st_mode) == 0o600
    with sqlite3.connect(kept[-1]) as copy:
        assert copy.execute("select x from t").fetchone() == (42,)


def test_the_first_administrator_gets_a_link_that_works_and_later_ones_do_not(client):
    link = installation.first_administrator_link("http://testserver")
    assert link.startswith("http://testserver/")
    assert client.get(link, follow=True).status_code == 200

    make_user("root", is_superuser=True)
    assert installation.first_administrator_link("http://testserver") == ""


def test_the_demo_leaves_a_foreign_installation_alone(workspace):
    with pytest.raises(demo.NotTheDemosHome, match=r"manage\.py up"):
        demo.refuse_foreign_home()

    InstallationFact.objects.create(name=demo.FACT, value=str(workspace.pk))
    demo.refuse_foreign_home()


def test_new_key_prints_a_usable_key(capsys):
    call_command("new_key")

    Fernet(capsys.readouterr().out.strip())


def test_a_key_file_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    first = crypto.read_or_create_key_file(tmp_path / "deep" / "key")

    assert crypto.read_or_create_key_file(tmp_path / "deep" / "key") == first
    assert stat.S_IMODE((tmp_path / "deep" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["key"]
