"""Tiny source packages, made on the fly: nothing is fetched."""

import io
import tarfile
from pathlib import Path

from tests.fixtures import packages

BACKEND = """
from pathlib import Path
from tiny_wheels import make_program
def build_wheel(folder, *rest):
{body}
    return make_program(Path(folder), {name!r}, {version!r}).name
"""


def source_files(name, version, body):
    """The files of a source package whose build runs `body` first."""
    project = f'[project]\nname="{name}"\nversion="{version}"\n'
    system = '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n'
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return {
        "pyproject.toml": system + project,
        "backend.py": BACKEND.format(name=name, version=version, body=lines),
        # For the installer's user, who may not reach this folder.
        "tiny_wheels.py": Path(packages.__file__).read_text(),
    }


def make_source(folder, name, version, body):
    """A source package as an archive; the path."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = Path(folder) / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, text in source_files(name, version, body).items():
            entry = tarfile.TarInfo(f"{stem}/{inner}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path
