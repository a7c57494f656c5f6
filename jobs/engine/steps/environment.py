"""Has plugin environments ready: there already, built by another job, or built here. Never waits: each tick looks once."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.engine.installer import (
    Requirements,
    compile_command,
    fault_of,
    index_flags,
    install_command,
    installer_environment,
    installer_path,
    lacks_hashes,
    parse_requirements,
    venv_command,
)
from jobs.engine.interface import Environment, EnvironmentStep, Failure, StopRequest
from jobs.engine.process import Child, exit_code_of, launched
from jobs.engine.pythons import Python, choose_python
from jobs.engine.steps.context import RunContext
from jobs.engine.steps.mover import sentence_of
from jobs.engine.venvs import (
    Lock,
    build_user,
    digest_of,
    forget_resolution,
    mark_used,
    packages_in,
    prepare_folder,
    put_in_place,
    remember_resolution,
    resolution_of,
    scripts_in,
    seal,
    sweep,
    try_lock,
    whole,
    work_folder,
    write_facts,
)

DISK_FULL = 28  # errno ENOSPC


class EnvironmentRunner:
    """Makes every environment of the step ready, side by side. One that fails does not end the others' builds."""

    def __init__(self, step: EnvironmentStep, context: RunContext) -> None:
        needed = {environment.fingerprint: environment for environment in step.environments}
        self._builds = [Build(environment, context) for environment in needed.values()]

    @property
    def children(self) -> Sequence[Child]:
        """The installers, in the order they were started."""
        return [child for build in self._builds for child in build.children]

    @property
    def is_said(self) -> bool:
        """Each failure is said as it comes, after the installer's own words."""
        return True

    def start(self) -> None:
        """Look which are there; start building the others as far as nobody else does."""
        self.tick()

    def tick(self) -> bool:
        """True when each is ready or has failed."""
        over = [build.tick() for build in self._builds]  # each of them, whatever the others say
        return all(over)

    def judge(self) -> Failure | None:
        """The first failure."""
        return next((build.failure for build in self._builds if build.failure), None)

    def stop(self, why: StopRequest | None) -> None:
        """No stage follows: the executor no longer asks."""

    def close(self) -> None:
        """Let go of what is still held: the run ends, whether they are ready or not."""
        for build in self._builds:
            build.close()


class Build:
    """One environment on its way: resolved if need be, then looked for, then built.

    Its stages are methods; `_stage` is the next one. A stage returns True when it could do its part, and has set the
    next stage then; False when it must wait.
    """

    def __init__(self, environment: Environment, context: RunContext) -> None:
        self._environment = environment
        self._context = context
        self._spec = context.spec
        self._folder = context.spec.environments_folder
        self._started = time.monotonic()
        self._stage = self._look
        self._lock: Lock | None = None
        self._lock_text = environment.lock
        self._work: Path | None = None
        self._output: list[str] = []  # of the resolver
        self._words: list[str] = []  # of the installer, all of them
        self._is_waiting = False
        self._digest = ""
        self._python = Python("", "")
        self._requirements = Requirements(())
        self._flags = index_flags(context.spec.installer)
        self.children: list[Child] = []
        self.failure: Failure | None = None
        self.is_over = False

    def tick(self) -> bool:
        """Go on as far as possible without waiting; True when it is ready or has failed."""
        try:
            while not self.is_over and self._stage():
                pass
        except OSError as error:
            self._fail(self._trouble(error))
        return self.is_over

    def _look(self) -> bool:
        """The common case: all is known and there."""
        users = [user for user in (build_user(), self._spec.run_as) if user]
        python = choose_python(self._environment.python, users)
        if isinstance(python, Failure):
            return self._fail(python, about=True)
        self._python = python
        self._lock_text = self._lock_text or self._remembered()
        if self._lock_text and self._is_there():
            return True
        requirements = parse_requirements(self._environment.requirements)
        if isinstance(requirements, Failure):
            return self._fail(requirements, about=True)
        self._requirements = requirements
        prepare_folder(self._folder)
        self._stage = self._lock_build if self._lock_text else self._lock_resolution
        return True

    def _remembered(self) -> str:
        """What was resolved a moment ago, unless an upgrade is to leave just that."""
        found = resolution_of(self._folder, self._environment.fingerprint, self._python)
        return found if found.strip() != self._environment.replaces.strip() else ""

    def _is_there(self) -> bool:
        self._digest = digest_of(self._lock_text, self._python)
        facts = whole(self._folder, self._digest, self._python)
        if facts is None:
            return False
        mark_used(self._folder, self._digest)
        self._ready(facts, built=False)
        return True

    def _take(self, name: str) -> bool:
        """Have the lock of a name, and its dead builders' leavings removed."""
        self._lock = try_lock(self._folder, name)
        if self._lock is None:
            if not self._is_waiting:
                self._say(f"Another job builds the environment of {self._environment.name}; this one waits for it.")
                self._is_waiting = True
            return False
        sweep(self._folder, name)
        return True

    def close(self) -> None:
        """Give up: an installer that still works is ended and its folder goes. The lock is free for the next one."""
        if not self.is_over:
            self.is_over = True
            for child in self.children:
                child.signal(signal.SIGKILL)
            self._let_go()

    def _let_go(self) -> None:
        if self._work:
            shutil.rmtree(self._work, ignore_errors=True)
        if self._lock:
            self._lock.release()
        self._work = self._lock = None

    def _lock_resolution(self) -> bool:
        name = hashlib.sha256(f"{self._environment.fingerprint} {self._python.version}".encode()).hexdigest()
        if not self._take(name):
            return False
        self._lock_text = self._remembered()
        if self._lock_text:  # another job has resolved it meanwhile
            self._let_go()
            self._stage = self._lock_build
            return True
        self._say(f"Resolving the packages of {self._environment.name} for Python {self._python.version}.")
        self._work = work_folder(self._folder, name, {"requirements.in": self._requirements.to_resolve})
        source = str(self._work / "requirements.in")
        self._run(compile_command(self._program(), source, self._python, self._flags), what="versions")
        self._stage = self._resolve
        return True

    def _resolve(self) -> bool:
        if not self._has_ended():
            return False
        if self.is_over:
            return True
        self._lock_text = "\n".join(self._output).strip() + "\n"
        remember_resolution(self._folder, self._environment.fingerprint, self._python, self._lock_text)
        self._let_go()
        self._stage = self._lock_build
        return True

    def _lock_build(self) -> bool:
        self._digest = digest_of(self._lock_text, self._python)
        if not self._take(self._digest):
            return False
        if self._is_there():  # another job has built it meanwhile
            return True
        self._say(f"Building the environment of {self._environment.name} with {self._python.path}.")
        self._work = work_folder(
            self._folder, self._digest, {"requirements.txt": self._requirements.to_install(self._lock_text)}
        )
        self._run(
            venv_command(self._program(), str(self._work / "environment"), self._python), what="empty environment"
        )
        self._stage = self._install
        return True

    def _install(self) -> bool:
        if not self._has_ended():
            return False
        if self.is_over:
            return True
        assert self._work
        is_unhashed = lacks_hashes(self._lock_text)
        if is_unhashed:
            self._say(
                f"{self._environment.name} has packages from a repository or a folder: they have no hashes, so that "
                "what is installed cannot be held against what was resolved.",
                level="warning",
            )
        self._run(
            install_command(
                self._program(),
                str(self._work / "requirements.txt"),
                str(self._work / "environment"),
                with_hashes=not is_unhashed,
                flags=self._flags,
            ),
            what="packages",
        )
        self._stage = self._finish
        return True

    def _finish(self) -> bool:
        """1. something is there; 2. it is root's; 3. its facts are written; 4. it is moved to its place in one step."""
        if not self._has_ended():
            return False
        if self.is_over:
            return True
        assert self._work
        built = self._work / "environment"
        packages = packages_in(built)
        if not packages:
            return self._fail(fault_of(self._environment.name, [*self._words, "Nothing was installed."], 0))
        size = seal(built)
        facts = {
            "requirements": self._environment.requirements,
            "python": {"version": self._python.version, "path": self._python.path},
            "packages": packages,
            "scripts": scripts_in(built),
            "built_at": datetime.now(UTC).isoformat(),
            "lock": hashlib.sha256(self._lock_text.encode()).hexdigest(),
            "size_bytes": size,
        }
        write_facts(built, facts)
        put_in_place(built, Path(self._folder, self._digest))
        self._ready(facts, built=True)
        return True

    def _program(self) -> str:
        user = build_user()
        return installer_path(self._folder, [user] if user else [])

    def _run(self, argv: Sequence[str], *, what: str) -> None:
        """Start the installer, as a user that is neither root nor the runs'. `what` comes of it, as pages name it."""
        assert self._work
        child = self._context.processes.start(
            launched(argv, run_as=build_user()),
            name=f"{what} of {self._environment.name}",
            on_stdout=self._output.append,
            on_stderr=self._hear,
            environment=installer_environment(
                self._spec.installer, home=str(self._work), cache=os.path.join(self._folder, ".cache")
            ),
            folder=str(self._work),
        )
        self.children.append(child)

    def _hear(self, line: str) -> None:
        self._words.append(line)
        level = "error" if line.startswith("error") else "warning" if line.startswith("warning") else "info"
        if line.strip():
            self._context.write("installer", level, line)

    def _has_ended(self) -> bool:
        """Whether the installer has ended; a failed one is judged here."""
        child = self.children[-1]
        if not self._context.processes.is_done([child]):
            return False
        if child.returncode:
            self._fail(fault_of(self._environment.name, self._words, exit_code_of(child.returncode)))
        return True

    def _ready(self, facts: dict[str, Any], *, built: bool) -> None:
        self._let_go()
        self._context.environments[self._environment.fingerprint] = os.path.join(self._folder, self._digest)
        # A lock that was given is known to whoever hears this, and it may be a hundred thousand characters.
        found = {} if self._environment.lock else {"lock": self._lock_text}
        self._tell(
            **found,
            packages=facts["packages"],
            python=facts["python"]["version"],
            size_bytes=facts["size_bytes"],
            built=built,
        )
        if built:
            seconds, count = time.monotonic() - self._started, len(facts["packages"])
            packages = f"{count} package{'' if count == 1 else 's'}"
            self._say(f"The environment of {self._environment.name} is ready: {packages} in {seconds:.1f} s.")
        self.is_over = True

    def _fail(self, failure: Failure, *, about: bool = False) -> bool:
        """Note the failure; always True, for this stage is over. `about`: the headline does not name the plugin yet."""
        if about:
            headline = f"{failure.headline[0].lower()}{failure.headline[1:]}"
            failure.headline = f"The environment of {self._environment.name} cannot be built: {headline}"
        self.failure = failure
        self._let_go()
        if not self._environment.lock:  # what was resolved is no good: the next run resolves anew
            forget_resolution(self._folder, self._environment.fingerprint)
        self._tell(error=failure.headline)
        # The reason is what the installer wrote, and that is in the log already.
        said = failure if not self._words else Failure(failure.headline, remedy=failure.remedy)
        self._say(sentence_of(said), level="error")
        self.is_over = True
        return True

    def _trouble(self, error: OSError) -> Failure:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        if error.errno == DISK_FULL:
            return fault_of(self._environment.name, ["No space left on device", what], 0)
        return Failure(
            f"The environment of {self._environment.name} could not be built: {what}",
            reason=f"The environments' folder {self._folder} must be writable for eltsite.",
            remedy="Correct its rights or its owner, then run it again.",
            details={"code": "environment-folder"},
        )

    def _tell(self, **facts: Any) -> None:
        self._context.control.progress(
            {
                "event": "environment",
                "name": self._environment.name,
                "fingerprint": self._environment.fingerprint,
                "requirements": self._environment.requirements,
                "digest": self._digest,
                "seconds": round(time.monotonic() - self._started, 3),
                **facts,
            }
        )

    def _say(self, text: str, *, level: str = "info") -> None:
        self._context.write("eltsite", level, text)
