"""Connectors as processes: their files, their command line, their environment, and what they say on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.engine.hints import hint_of
from jobs.engine.interface import Connector, Failure
from jobs.engine.pipe_ends import LONGEST_MESSAGE, LineHandler
from jobs.engine.process import Child, exit_code_of, launched
from jobs.engine.singer import apply_selection, replication_faults, streams_of, unmatched
from jobs.engine.stderr import Story, metric_of
from jobs.engine.steps.context import CannotStart, RunContext, not_started
from jobs.engine.steps.mover import SIGNAL_NAMES
from jobs.engine.venvs import executable_of

PATH = "/usr/local/bin:/usr/bin:/bin"
LINKER = re.compile(r"LD_|GLIBC_|GCONV_PATH$|MALLOC_|DYLD_")


@dataclass
class Program:
    """A running program of a step, and the story its standard error tells."""

    connector: Connector
    child: Child
    story: Story
    requests: dict[str, list[float]] = field(default_factory=dict)  # endpoint to count and seconds, of Singer's metrics

    @property
    def exit_code(self) -> int | None:
        """As a shell has it; None while it runs."""
        return None if self.child.returncode is None else exit_code_of(self.child.returncode)

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.child.poll()


def start_connector(
    context: RunContext,
    connector: Connector,
    arguments: Sequence[str],
    *,
    stdin: int | bytes | None = None,
    stdout: int | None = None,
    on_stdout: LineHandler | None = None,
) -> Program:
    """Start a tap or target in its environment. Raises CannotStart.

    It works in the workspace's files, where the paths of its settings begin.
    """
    spec = context.spec
    folder, path = program_path(context, connector)
    story = Story()
    requests: dict[str, list[float]] = {}

    def on_stderr(line: str) -> None:
        metric = metric_of(line)
        if metric is not None:
            _note(requests, metric)
        level, text = story.add(line)
        context.write(connector.plugin, "debug" if metric is not None else level, text)

    require_passable(context, connector, [path, spec.run_folder])
    argv = launched([path, "--config", config_file(context, connector), *arguments], run_as=spec.run_as)
    try:
        child = context.processes.start(
            argv,
            name=connector.plugin,
            stdin=stdin,
            stdout=stdout,
            on_stdout=on_stdout,
            longest=LONGEST_MESSAGE,
            on_stderr=on_stderr,
            environment=environment_of(context, connector, folder),
            folder=os.path.join(spec.folder, "files"),
        )
    except OSError as error:
        raise not_started(connector.plugin, error) from error
    return Program(connector, child, story, requests)


def program_path(context: RunContext, connector: Connector) -> tuple[str, str]:
    """The folder of a connector's environment, and its program in it. Raises CannotStart."""
    folder = context.environments.get(connector.fingerprint)
    if folder is None:
        raise CannotStart(_no_environment(connector))
    path = executable_of(folder, connector.executable)
    if isinstance(path, Failure):
        raise CannotStart(path)
    return folder, path


def require_passable(context: RunContext, connector: Connector, paths: Sequence[str]) -> None:
    """Raises CannotStart where the user that runs work as cannot come to a file or folder of its run.

    A mover is in its folder before it becomes that user; a connector has to find its own way.
    """
    if not context.spec.run_as:
        return
    for path in paths:
        for folder in reversed(Path(path).parents):
            if not _may_pass(folder, *context.spec.run_as):
                raise CannotStart(_closed(connector, str(folder), path))


def _may_pass(folder: Path, user_id: int, group_id: int) -> bool:
    facts = folder.stat()
    if facts.st_uid == user_id:
        return bool(facts.st_mode & stat.S_IXUSR)
    return bool(facts.st_mode & (stat.S_IXGRP if facts.st_gid == group_id else stat.S_IXOTH))


def selection_arguments(
    context: RunContext, tap: Connector, catalog: Mapping[str, Any] | None
) -> tuple[list[str], list[str]]:
    """How a tap is told what to read, and the names of the streams selected; nothing for one that is not told.

    Raises CannotStart where no stream is left.
    """
    raw = catalog or context.catalogs.get(tap.name)
    if raw is None or not tap.capabilities & {"catalog", "properties"}:
        return [], []
    for rule in unmatched(tap.select, raw):
        context.write("eltsite", "warning", f"{tap.name}: the selection {rule} matches nothing of the catalog.")
    chosen = apply_selection(raw, tap.select, tap.metadata)
    for fault in replication_faults(chosen):
        context.write("eltsite", "warning", f"{tap.name}: {fault}")
    selected = selected_in(streams_of(chosen))
    if not selected:
        raise CannotStart(_nothing_selected(tap))
    option = "--catalog" if "catalog" in tap.capabilities else "--properties"
    return [option, private_file(context, "catalog.json", chosen)], selected


def selected_in(streams: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the streams that are read."""
    return [str(stream["name"]) for stream in streams if stream["selected"]]


def environment_of(context: RunContext, connector: Connector, folder: str) -> dict[str, str]:
    """What a connector's process finds in its environment: the run's own names, and its settings as variables."""
    kept = {name: value for name, value in context.spec.environment.items() if name != "PYTHONPATH"}
    # The dynamic linker obeys such names while the launcher is still root.
    own = {name: value for name, value in connector.variables.items() if not LINKER.match(name.upper())}
    return {
        **kept,
        **own,
        "PATH": f"{os.path.join(folder, 'bin')}:{PATH}",
        "VIRTUAL_ENV": folder,
        "PYTHONUNBUFFERED": "1",
    }


def config_file(context: RunContext, connector: Connector) -> str:
    """The connector's settings as a file of the run, for its own eyes; gone when the run ends."""
    return private_file(context, f"{connector.fingerprint[:12]}-{connector.plugin}.json", connector.config)


def private_file(context: RunContext, name: str, value: Mapping[str, Any]) -> str:
    """Write JSON into the run's folder, readable by the run's user alone (0600); the path. Raises CannotStart.

    Programs of the run may write there too: what lies there under this name goes, and is neither followed nor opened.
    """
    path = os.path.join(context.spec.run_folder, name)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, 0o600)
            if context.spec.run_as:
                os.fchown(handle, *context.spec.run_as)
            json.dump(value, file)
    except OSError as error:
        raise not_started("A program of the run", error) from error
    return path


def failure_of(program: Program, *, doing: str) -> Failure:
    """Why a program that ended with an exit code other than 0 did so, in its own words. `doing` is what it was to do."""
    name, code = program.connector.plugin, program.exit_code or 0
    words = program.story.line
    if code in (126, 127) and "cannot be started" in words:
        return _no_start(program.connector, words)
    ended = (
        f"was ended by signal {SIGNAL_NAMES.get(code, code - 128)}" if code > 128 else f"ended with exit code {code}"
    )
    if "MemoryError" in words:
        ended = "ran out of memory"
    return Failure(
        f"{name} {ended}{f': {words}' if words else ''}"[:400],
        reason=f"It failed to {doing}. Rows that were not committed by then are not in the store.",
        remedy=hint_of(words) or "Read the last lines of the log. Run it again when the cause is mended.",
        details={"code": "connector-failed"},
    )


def _note(requests: dict[str, list[float]], metric: Mapping[str, Any]) -> None:
    """Keep what a timer of Singer's metrics says: how many requests, and how long they took."""
    if metric.get("type") == "timer" and metric.get("metric") == "http_request_duration":
        tags = metric.get("tags")
        endpoint = str(tags.get("endpoint") or "") if isinstance(tags, Mapping) else ""
        count = requests.setdefault(endpoint, [0, 0.0])
        value = metric.get("value")
        count[0] += 1
        count[1] += float(value) if isinstance(value, int | float) else 0.0


def _nothing_selected(tap: Connector) -> Failure:
    rules = ", ".join(tap.select) or "the catalog's own"
    return Failure(
        f"No stream of {tap.name} is selected",
        reason=f"The selection ({rules}) leaves nothing of what the source holds.",
        remedy='Select at least one stream, for example with _select ["*.*"].',
        details={"code": "nothing-selected"},
    )


def _closed(connector: Connector, folder: str, path: str) -> Failure:
    return Failure(
        f"{connector.plugin} cannot be started: the folder {folder} is closed to the user that runs work as",
        reason=f"Its program or its settings are at {path}, and on the way there is {folder}.",
        remedy=f"Let others pass (chmod o+x {folder}), or set ELTSITE_HOME and ELTSITE_ENVIRONMENTS to folders"
        " outside of it.",
        details={"code": "folder-closed", "file": folder},
    )


def _no_environment(connector: Connector) -> Failure:
    return Failure(
        f"The environment of {connector.plugin} is missing",
        reason="No step of this run made it ready.",
        remedy="Save the pipeline again: its check builds the environment.",
        details={"code": "environment-missing"},
    )


def _no_start(connector: Connector, words: str) -> Failure:
    return Failure(
        f"{connector.plugin} could not be started",
        reason=f"{words}.",
        remedy="Look at the executable of its definition, and at the rights of its environment's folder.",
        details={"code": "executable-missing"},
    )
