"""Starts, watches and ends processes. The only user of `subprocess`.

A child gets a session of its own, so that signals reach all it starts, and carries ELTSITE_JOB in its environment,
so that one which left the session is found too. On Linux in full; elsewhere as far as the system allows.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from jobs.engine.pipe_ends import CHUNK, LONGEST_LINE, LONGEST_MESSAGE, End, LineHandler, Reader, Writer

MARK = "ELTSITE_JOB"
PART = "ELTSITE_PART"  # which child of the run a process is, or descends from
LARGEST_PIPE = 1 << 20  # bytes that a pipe holds at most, for those who are not root
PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Adopt descendants whose own parent ends, so that they stay in our tree."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


LAUNCHER = Path(__file__).with_name("launch.py")


def launched(argv: Sequence[str], *, run_as: tuple[int, int] | None) -> list[str]:
    """The command line that starts a program which is not ours: without root, and never outliving us."""
    user = ["--run-as", f"{run_as[0]}:{run_as[1]}"] if run_as else []
    # -I and -S: nothing of the environment or of site-packages is read while it is still root.
    return [sys.executable, "-I", "-S", str(LAUNCHER), "--parent", str(os.getpid()), *user, "--", *argv]


def exit_code_of(returncode: int) -> int:
    """A shell's exit code: 128 + n for a process ended by signal n."""
    return 128 - returncode if returncode < 0 else returncode


@dataclass
class Child:
    """One running process of a run, its pipes and what is known of its end."""

    name: str
    popen: subprocess.Popen[bytes]
    started: float
    part: str = ""  # told to it and its descendants in their environment
    returncode: int | None = None
    ended: float | None = None
    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0  # of it and of those it waited for
    was_ended: bool = False  # by us, because of another's failure or because it had done enough
    is_echo: bool = False  # another's failure was the cause of its own

    def poll(self) -> bool:
        """Whether it has ended; notes its exit code and its peak memory when it has."""
        if self.returncode is None:
            pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
            if pid:
                self.returncode = self.popen.returncode = os.waitstatus_to_exitcode(status)
                self.ended = time.monotonic()
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
                self.peak_memory_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return self.returncode is not None

    def signal(self, number: int) -> bool:
        """Send a signal to its whole session; False when it has ended: its number may be another's by now."""
        if self.returncode is not None:
            return False
        try:
            os.killpg(self.popen.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class ProcessGroup:
    """The processes of one run. Call it from one thread that lives as long as the run: children die with it."""

    def __init__(self, *, mark: str, environment: Mapping[str, str], folder: str) -> None:
        self._environment = environment
        self._mark = mark
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._ends: list[End] = []
        self.children: list[Child] = []
        become_subreaper()

    def start(
        self,
        argv: Sequence[str],
        *,
        name: str,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        on_stdout: LineHandler | None = None,
        on_stderr: LineHandler,
        longest: int = LONGEST_LINE,
        environment: Mapping[str, str] | None = None,
        folder: str = "",
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a process; its lines go to the handlers while `pump` runs. Raises OSError when it cannot start.

        `stdin` is what it reads, or a descriptor, or nothing. `stdout` is a descriptor in place of `on_stdout`.
        Descriptors stay the caller's to close, at once: kept open here, their other end would never see an end.
        A line for `on_stdout` that is longer than `longest` bytes is cut into several.
        `environment` takes the place of the run's own; the run's mark is in it either way.
        """
        part = str(len(self.children))
        popen = subprocess.Popen(
            list(argv),
            bufsize=0,
            stdin=subprocess.PIPE if isinstance(stdin, bytes) else subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            cwd=folder or self._folder,
            env={**(self._environment if environment is None else environment), MARK: self._mark, PART: part},
            start_new_session=True,
            close_fds=True,
            pass_fds=pass_fds,
        )
        child = Child(name=name, popen=popen, started=time.monotonic(), part=part)
        self.children.append(child)
        assert popen.stderr
        if popen.stdout:
            self._read_from(popen.stdout, child, on_stdout or (lambda _line: None), longest=longest)
        self._read_from(popen.stderr, child, on_stderr, longest=LONGEST_LINE)
        if popen.stdin and isinstance(stdin, bytes):
            writer = self._write_to(popen.stdin, child)
            writer.send(stdin)
            writer.finish()
        return child

    def watch(self, child: Child, reading: int, handler: LineHandler) -> None:
        """Read messages of a child from another pipe, line by line; the descriptor is ours to close."""
        self._read_from(os.fdopen(reading, "rb", buffering=0), child, handler, longest=LONGEST_MESSAGE)

    def writer(self, child: Child, writing: int) -> Writer:
        """What writes to a child on another pipe; the descriptor is ours to close."""
        return self._write_to(os.fdopen(writing, "wb", buffering=0), child)

    def _read_from(self, pipe: IO[bytes], child: Child, handler: LineHandler, *, longest: int) -> None:
        self._ends.append(Reader(pipe, self._selector, child, handler, longest=longest))

    def _write_to(self, pipe: IO[bytes], child: Child) -> Writer:
        writer = Writer(pipe, self._selector, child)
        self._ends.append(writer)
        return writer

    def pump(self, *, seconds: float) -> bool:
        """Hand on lines for at most `seconds`; True when every child has ended and its pipes are read to the end."""
        until = time.monotonic() + seconds
        while self._selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self.pump_once(seconds=min(left, 0.1))
        return all(child.poll() for child in self.children) or self._wait(until)

    def pump_once(self, *, seconds: float) -> bool:
        """Wait for something to read, at most `seconds`, and hand it on; False where there is no pipe left to read.

        What children did not read yet is written on the way.
        """
        if not self._selector.get_map():
            return False
        for key, _ in self._selector.select(seconds):
            key.data.on_ready()
        # A descendant that outlives the child may hold its pipe open for ever.
        if all(child.poll() for child in self.children) and not self._selector.select(0):
            for end in self._ends:
                end.finish()
            self._close_ends()
        return True

    def _wait(self, until: float) -> bool:
        while time.monotonic() < until:
            if all(child.poll() for child in self.children):
                return True
            time.sleep(0.01)
        return False

    def is_done(self, children: Sequence[Child]) -> bool:
        """Whether these have ended and all they wrote was handed on.

        What a descendant of an ended one may still write is not waited for: of that, no more is read here than what
        the ended one itself can have left in its pipes.
        """
        if not all(child.poll() for child in children):
            return False
        for _ in range(LARGEST_PIPE // CHUNK + 1):
            ready = [key.data for key, _ in self._selector.select(0) if key.data.child in children]
            if not ready:
                break
            for end in ready:
                end.on_ready()
        return True

    def _close_ends(self) -> None:
        for end in self._ends:
            end.close()
        self._ends.clear()

    def kill_left_behind(self, child: Child) -> int:
        """Kill what an ended child had started and left, wherever it went; returns how many were killed."""
        found = [process for process in marked_processes().get(self._mark, ()) if _part_of(process) == child.part]
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(found)

    def signal(self, number: int) -> None:
        """Send a signal to the sessions of all children that still live."""
        for child in self.children:
            if not child.poll():
                child.signal(number)

    def close(self) -> int:
        """End everything of this run that still lives, escaped descendants too; returns how many had to be killed."""
        self.signal(signal.SIGKILL)
        killed = kill_marked(self._mark)
        for child in self.children:
            with contextlib.suppress(ChildProcessError):
                while not child.poll():
                    time.sleep(0.005)
        self._close_ends()
        self._selector.close()
        reap_strays()
        return killed


def reap_strays() -> None:
    """Take the exit status of adopted descendants that have ended: nobody else will."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def marked_processes() -> dict[str, list[psutil.Process]]:
    """All processes of this host that carry a job's mark, by mark. Those of other users are seen by root alone."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK)
            if mark and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault(mark, []).append(process)
    return found


def _part_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get(PART) or "")
    except (psutil.Error, OSError):
        return ""


def kill_marked(*marks: str) -> int:
    """Kill every process that carries one of the marks, until none is left; returns how many were killed.

    It looks again after each round, for a process may start another while it is being looked at.
    """
    killed = 0
    for _ in range(20):
        found = [process for mark, processes in marked_processes().items() if mark in marks for process in processes]
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed += 1
        psutil.wait_procs(found, timeout=0.25)
        reap_strays()
    return killed


def is_alive(pid: int, started: float) -> bool:
    """Whether the process with this number is still the one that started then (a number may be given anew)."""
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def own_start_time() -> float:
    """When this process started, in seconds since the epoch."""
    return float(psutil.Process().create_time())


class Service:
    """A long-lived process beside ours: the web server, the worker, the scheduler, a cluster. It dies with us."""

    def __init__(self, argv: Sequence[str], *, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.started = time.monotonic()
        # In a session of its own the terminal's Ctrl-C does not reach it: its parent says when to stop.
        self._popen = subprocess.Popen(
            list(argv),
            env={**os.environ, **(environment or {}), "ELTSITE_PARENT": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Its return code, or None while it lives."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within `seconds`."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def pids(self) -> set[int]:
        """It and all its descendants."""
        try:
            process = psutil.Process(self.pid)
            return {self.pid, *(child.pid for child in process.children(recursive=True))}
        except psutil.Error:
            return {self.pid}

    def kill_tree(self) -> None:
        """Kill it and all its descendants, now."""
        try:
            process = psutil.Process(self.pid)
            everyone = [process, *process.children(recursive=True)]
        except psutil.Error:
            everyone = []
        for one in everyone:
            with contextlib.suppress(psutil.Error):
                one.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(5)
        psutil.wait_procs(everyone, timeout=5)


def run_quietly(argv: Sequence[str]) -> tuple[int, str]:
    """Run a short administrative command; its exit code and what it printed."""
    done = subprocess.run(list(argv), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()
