"""The installer of plugins, uv: what it is given, how it is called, and what its last words mean."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from jobs.engine.interface import Failure
from jobs.engine.pythons import USUAL_PATH, Python, may_pass

OPTIONS = ("--constraint", "--no-binary", "--only-binary")  # each with a value
SHORT = {"-c": "--constraint"}
_OPERATORS = "<>=!~;@,"  # beside one of these a requirement goes on
LAST_LINES = 15  # of the installer, kept with a failure


@dataclass(frozen=True)
class Requirements:
    """A plugin's pip arguments, taken apart."""

    lines: tuple[str, ...]  # one requirement each
    options: tuple[str, ...] = ()  # one line of a requirements file each

    @property
    def to_resolve(self) -> str:
        """The requirements file for the resolver."""
        return "\n".join([*self.options, *self.lines, ""])

    def to_install(self, lock: str) -> str:
        """The requirements file that installs a lock: constraints are in it already."""
        return "\n".join([*(option for option in self.options if not option.startswith("--constraint")), lock])


def parse_requirements(text: str) -> Requirements | Failure:
    """Pip arguments as a requirements file has them, or what is wrong with them.

    A requirement with spaces in it stands in quotes, save "name @ address" and "name >= 1, < 2". Other options than
    OPTIONS are refused: where packages come from is the host owner's choice. So are editable and relative folders: what
    is installed must be the same each time.
    """
    try:
        # One line, and no blank at a word's ends: a word must not become an option line of the file it is written to.
        words = [word for part in shlex.split(" ".join(text.split())) if (word := part.strip())]
    except ValueError:
        return _refused(text, "a quotation mark is missing")
    lines: list[str] = []
    options: list[str] = []
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            name, _, value = word.partition("=")
            name = SHORT.get(name, name)
            if name not in OPTIONS or not (value or words):
                return _refused(word, "this option is not among those that are passed on")
            options.append(f"{name} {value or words.pop(0)}")
        elif lines and (word[0] in _OPERATORS or lines[-1][-1] in _OPERATORS):
            lines[-1] += f" {word}"
        elif word.startswith((".", "file:.")):
            return _refused(word, "a relative folder is another one in each place")
        else:
            lines.append(word)
    return Requirements(tuple(lines), tuple(options)) if lines else _refused(text, "it names no package")


def _refused(what: str, why: str) -> Failure:
    return Failure(
        f"The plugin's pip arguments cannot be used: {what.strip() or 'they are empty'}",
        reason=f"{why[0].upper()}{why[1:]}.",
        remedy=f"Write requirements, such as tap-x==1.2 or git+https://..., and only these options: {', '.join(OPTIONS)}.",
    )


def lacks_hashes(lock: str) -> bool:
    """Whether some requirement of a lock has no hash: a version control system's, or a folder's."""
    logical = re.sub(r"\\\n", " ", lock).splitlines()
    return any(line.strip() and not line.lstrip().startswith(("#", "-")) and "--hash=" not in line for line in logical)


def installer_path(folder: str, users: Sequence[tuple[int, int]]) -> str:
    """The installer's program. Where the building user cannot reach it, a copy in the environments' folder."""
    path = uv.find_uv_bin()
    if may_pass(path, users):
        return path
    facts = os.stat(path)
    copied = Path(folder, f".uv-{facts.st_size}-{int(facts.st_mtime)}")
    if not copied.exists():
        part = copied.with_name(f"{copied.name}.{os.getpid()}")
        shutil.copyfile(path, part)
        part.chmod(0o755)
        part.rename(copied)
    return str(copied)


def installer_environment(given: Mapping[str, str], *, home: str, cache: str) -> dict[str, str]:
    """The installer's environment: made from nothing, and what the host's owner gives (proxies, indexes, certificates)."""
    return {
        "PATH": USUAL_PATH,
        "LANG": "C.UTF-8",
        "UV_SYSTEM_CERTS": "1",  # those the host's owner trusts, a company's own too
        **given,
        "HOME": home,
        "UV_CACHE_DIR": cache,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "GIT_TERMINAL_PROMPT": "0",  # a question would wait for ever
    }


def index_flags(given: Mapping[str, str]) -> list[str]:
    """What the host's owner gives that the installer reads from its command line only."""
    return ["--no-index"] if given.get("UV_NO_INDEX", "") not in ("", "0", "false") else []


def compile_command(program: str, source: str, python: Python, flags: Sequence[str]) -> list[str]:
    """Pin the requirements in file `source`, with hashes, for every system a host may be; the lock goes to stdout."""
    shape = ["--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    return [program, "pip", "compile", *shape, "--python-version", python.version, "-p", python.path, *flags, source]


def venv_command(program: str, folder: str, python: Python) -> list[str]:
    """Make an empty environment that may be moved."""
    return [program, "venv", "--relocatable", "--no-project", "-p", python.path, folder]


def install_command(program: str, source: str, folder: str, *, with_hashes: bool, flags: Sequence[str]) -> list[str]:
    """Install the lock in file `source`. Compiled now, for its users may not write there and would compile each time."""
    hashes = ["--require-hashes"] if with_hashes else []
    python = os.path.join(folder, "bin", "python")
    how = ["--link-mode", "copy", "--compile-bytecode", "--no-deps"]
    return [program, "pip", "install", "-p", python, *how, *hashes, *flags, "-r", source]


# What the installer's words mean: the fault, with what it named, and the remedy. The first that fits is taken.
_FAULTS: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|os error 28\b|[Dd]isk quota exceeded",
        "the disk is full",
        "Free some space on the disk that holds the environments, then run it again.",
    ),
    (
        r"Hash mismatch for `([^`]+)`",
        "{0} is not what was recorded: its hash differs",
        "Do not trust it before you know why. If the package was published anew, upgrade the plugin: that records new hashes.",
    ),
    (
        r"all requirements must have a hash, but none were provided for: (\S+)",
        "{0} has no recorded hash",
        "Upgrade the plugin: that records its packages with hashes.",
    ),
    (
        r"Failed to (?:download and )?build `([^`]+)`(?!.*Git operation failed)",
        "the build of {0} failed",
        "Read the installer's last lines: often a compiler or a library is missing on this host. "
        "A version with a wheel for this Python needs neither.",
    ),
    (
        r"Git operation failed|failed to clone|Git executable not found",
        "its repository could not be read",
        "Check the address, that this host reaches it, that git is installed, and that it needs no password.",
    ),
    (
        r"invalid peer certificate: (\w+)",
        "the package index's certificate is refused ({0})",
        "Check this host's clock, and give the certificates of your network to the installer.",
    ),
    (
        r"HTTP status (?:client|server) error \((\d+)[^)]*\)",
        "the package index answered {0}",
        "Check the index's address and its credentials, then run it again.",
    ),
    (
        r"error sending request|dns error|tcp connect error|[Nn]etwork (?:connectivity )?is (?:disabled|unreachable)|"
        r"operation timed out|[Cc]onnection (?:reset|refused|closed)",
        "the package index cannot be reached",
        "Check this host's network and proxy, then run it again. Environments that are built already need no network.",
    ),
    (
        r"(\S+) was not found in the (?:package registry|provided package locations)",
        "there is no package {0}",
        "Check its name in the plugin's pip arguments.",
    ),
    (
        r"there (?:is|are) no versions? of ([^\s,]+(?:\s*[<>=!~]+\S+)?)",
        "there is no version of {0}",
        "Check the version in the plugin's pip arguments.",
    ),
    (
        r"Python version \(?([\d.]+)?.{0,60}does not satisfy (Python\S+)",
        "it needs {1}",
        "Name a Python that fits in the plugin's definition, or choose another version of the plugin.",
    ),
    (
        r"only ([\w.\-\[\]]+)\S* (?:is|are) available",
        "there is no such version of {0}",
        "Check the version in the plugin's pip arguments.",
    ),
    (
        r"(\S+) has no wheels with a matching",
        "{0} has no build for this host and this Python",
        "Choose another version, or another Python in the plugin's definition.",
    ),
    (
        r"Nothing was installed",
        "nothing was installed",
        "Check the plugin's pip arguments: their markers may leave everything out on this host.",
    ),
    (
        r"No solution found",
        "its requirements contradict each other",
        "Read the installer's last lines, and loosen one of the plugin's requirements.",
    ),
    (
        r"Couldn't parse requirement|Failed to parse|filename .* is invalid",
        "its pip arguments cannot be read",
        "Correct the plugin's pip arguments.",
    ),
    (
        r"[Pp]ermission denied|os error 13\b",
        "the installer may not read or write a file",
        "Packages given by a path must be readable for everyone, and so must the folders above them.",
    ),
    (
        r"Distribution not found at|No such file or directory|os error 2\b",
        "a file is not there",
        "Check the path in the plugin's pip arguments.",
    ),
)


def fault_of(name: str, lines: Sequence[str], exit_code: int) -> Failure:
    """Why an environment could not be built. `lines` are all the installer wrote, `exit_code` is as a shell has it."""
    headline = f"The environment of {name} could not be built"
    tail = "\n".join([line for line in lines if line.strip()][-LAST_LINES:])[-2000:]
    details = {"code": "installer-failed"}
    if exit_code > 128:
        killed = " (often: the host ran out of memory)" if exit_code == 137 else ""
        remedy = "Run it again: it starts anew. Give the host more memory if it happens again."
        return Failure(
            f"{headline}: the installer was ended by signal {exit_code - 128}{killed}", tail, remedy, details
        )
    text = "\n".join(lines)
    for pattern, fault, remedy in _FAULTS:
        if match := re.search(pattern, text, re.DOTALL):
            return Failure(f"{headline}: {fault.format(*match.groups(default=''))}", tail, remedy, details)
    remedy = "Read the installer's last lines, then run it again."
    return Failure(f"{headline}: the installer ended with exit code {exit_code}", tail, remedy, details)
