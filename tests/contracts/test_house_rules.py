"""Rules of the house that no type and no database can hold."""

import re
from pathlib import Path
from pydoc import locate

import pytest
from django.conf import settings
from django.core.management import call_command

from jobs import checks, queue
from jobs.engine import installer
from pipelines import pip_arguments
from pipelines.plugins import shipped_plugins

ROOT = Path(settings.BASE_DIR)
APPS = ("eltsite", "workspaces", "pipelines", "jobs")


def sources():
    """The project's own Python files."""
    return [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]


def test_every_setting_is_explained_in_the_readme():
    text = (ROOT / "eltsite" / "settings.py").read_text()
    names = set(re.findall(r'(?:env\.\w+|text_or_file)\(\s*"([A-Z_]+)"', text)) - {"NAME"}
    readme = (ROOT / "README.md").read_text()

    assert len(names) > 15
    assert [name for name in sorted(names) if f"`ELTSITE_{name}`" not in readme] == []


def test_the_task_that_wakes_workers_exists():
    assert callable(locate(queue.TASK))


def test_status_is_written_by_the_transition_alone():
    """Elsewhere no `.status = ` on a job and no update of it: both would overtake the compare and set."""
    faults = []
    for path in sources():
        text = path.read_text()
        for match in re.finditer(r"\bjob\.status\s*=[^=]|Job\.objects[^\n]*\.update\([^)]*\bstatus=", text):
            faults.append(f"{path.relative_to(ROOT)}: {match[0]}")

    assert faults == []


def test_no_file_of_the_project_is_too_long():
    too_long = {
        str(path.relative_to(ROOT)): count for path in sources() if (count := len(path.read_text().splitlines())) > 400
    }

    assert too_long == {}


def test_packages_re_export_nothing():
    assert [str(path) for path in sources() if path.name == "__init__.py" and path.read_text().strip()] == []


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_queue_settings_that_could_lose_a_job_are_refused(settings):
    assert checks.check_queue_settings(None) == []
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "ack_failures": False, "timeout": 60}

    assert {error.id for error in checks.check_queue_settings(None)} == {"jobs.E004", "jobs.E005"}


def test_every_setting_of_a_native_plugin_is_explained():
    text = (ROOT / "docs" / "data.md").read_text()
    missing = [
        f"{plugin.name}.{setting.name}"
        for plugin in shipped_plugins()
        if plugin.is_native
        for setting in plugin.settings
        if f"`{setting.name}`" not in text.split(f"## {plugin.name}")[1].split("\n## ")[0]
    ]

    assert missing == []


def test_definitions_may_hold_the_options_that_the_installer_takes():
    assert pip_arguments.OPTIONS == installer.OPTIONS
    assert pip_arguments.SHORT == installer.SHORT
