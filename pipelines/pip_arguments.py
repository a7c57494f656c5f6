"""What a definition's pip_url may hold: the requirements that the installer is given. Pure.

Several requirements stand between spaces, each as pip takes it: a name with extras and versions, an address, a local
package of the host; one with other spaces in it stands in quotes. Where packages come from is the choice of the host's
owner, for all workspaces at once, so of pip's options only OPTIONS are taken. Addresses hold no password, for a
definition is shown to everybody.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from pipelines.values import ValueFault, shown

LONGEST = 2000  # characters
OPTIONS = ("--constraint", "--no-binary", "--only-binary")  # each with a value, after a space or =
SHORT = {"-c": "--constraint"}
SCHEMES = ("https", "git+https", "git+ssh")

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRAS = rf"(?:\s*\[\s*(?:{_NAME}(?:\s*,\s*{_NAME})*)?\s*\])?"
_VERSION = r"\s*(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+\s*"
_MARKER = r"(?:\s*;(?=[^;]*[<>=])[\w\s.'\"<>=!~(),]+)?"
_NAMED = re.compile(rf"{_NAME}{_EXTRAS}(?:{_VERSION}(?:,{_VERSION})*)?{_MARKER}", re.ASCII)
_AT = re.compile(rf"{_NAME}{_EXTRAS}\s*@\s*(\S+?)(?:\s+;(?=[^;]*[<>=])[\w\s.'\"<>=!~(),]+)?", re.ASCII)
_JOINING = "<>=!~;@,"
_PACKAGES = re.compile(rf":all:|:none:|{_NAME}(?:,{_NAME})*", re.ASCII)


def check_pip_url(text: str, *, allowed_folders: Sequence[str] = ()) -> None:
    """Raise ValueFault unless the installer takes these arguments; the message says what to write instead."""
    if len(text) > LONGEST or not text.isprintable():
        raise ValueFault(f"It is one line of at most {LONGEST} characters. Shorten it, and take out line breaks.")
    if "$" in text:
        raise ValueFault("It holds a $, and variables are not filled in here. Write the value itself.")
    try:
        words = [word for word in shlex.split(text) if word]
    except ValueError:
        raise ValueFault("It has a quote without its partner. Add the missing one.") from None
    for option, value in _arguments(words):
        if option:
            _check_option(option, value)
        else:
            _check_requirement(value, allowed_folders)


def _arguments(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each argument as (option or "", value); `name @ address` written with spaces is one."""
    rest = list(words)
    requirement = ""
    while rest:
        word = rest.pop(0)
        is_joined = bool(requirement) and (requirement[-1] in _JOINING or word[0] in _JOINING)
        if is_joined:  # written with spaces, such as tap-x >= 1 or tap-x @ git+https://...
            requirement += f" {word}"
            continue
        if requirement:
            yield "", requirement
            requirement = ""
        if word.startswith("-"):
            option, has_value, value = word.partition("=")
            option = SHORT.get(option, option)
            yield option, rest.pop(0) if rest and not has_value else value
        else:
            requirement = word
    if requirement:
        yield "", requirement


def _check_option(option: str, value: str) -> None:
    if option not in OPTIONS:
        raise ValueFault(
            f"The option {shown(option)} is not taken here. Leave it out; taken are {', '.join(OPTIONS)}. Where packages "
            "come from is the administrator's choice."
        )
    if option == "--constraint":
        _check_address(value, ("https",))
    elif not _PACKAGES.fullmatch(value):
        raise ValueFault(f"{option} wants names of packages, not {shown(value)}. Write them with commas between.")


def _check_requirement(word: str, allowed_folders: Sequence[str]) -> None:
    located = _AT.fullmatch(word)
    address = located[1] if located else word
    if located or "://" in address:
        if address.lower().startswith("file://"):
            _check_folder(address[len("file://") :], allowed_folders)
        else:
            _check_address(address)
    elif word.startswith(("/", ".", "~")):
        _check_folder(word, allowed_folders)
    elif not _NAMED.fullmatch(word):
        raise ValueFault(
            f"{shown(word)} is no requirement. Write it such as tap-orchard==1.2.0 or "
            "git+https://example.com/tap-orchard.git@v1.2.0."
        )


def _check_address(address: str, schemes: Sequence[str] = SCHEMES) -> None:
    try:
        parts = urlsplit(address)
        host, password = parts.hostname, parts.password
    except ValueError:
        host, password, parts = None, None, urlsplit("")
    if parts.scheme.lower() not in schemes or not host:
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueFault(f"{shown(address)} is no address to install from. Begin it with {known}.")
    if password is not None or (parts.username and parts.scheme.lower() != "git+ssh"):
        raise ValueFault(
            "The address holds a user or a password, which everybody who sees the plugin would see. Take it out; an "
            "administrator gives the installer its access."
        )


def _check_folder(path: str, allowed_folders: Sequence[str]) -> None:
    bare = path.partition("[")[0]
    normal = os.path.normpath(bare)
    roots = {os.path.normpath(folder).rstrip("/") for folder in allowed_folders}
    if not os.path.isabs(bare) or not any(normal == root or normal.startswith(root + "/") for root in roots):
        raise ValueFault(
            f"{shown(path)} is a path outside the allowed folders. Write an absolute path inside one of them, or have an "
            "administrator add its folder to ELTSITE_ALLOWED_FOLDERS."
        )
