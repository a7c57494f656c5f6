"""Tiny packages, made on the fly: nothing is fetched."""

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

BACKEND = """
from tiny_wheels import make_wheel
def build_wheel(folder, *rest):
{body}
    return make_wheel(folder, {name!r}, {version!r}).name
"""


def _digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def make_wheel(folder, name, version, *, scripts=None, tag="py3-none-any"):
    """A wheel with one module that prints its version, and its console scripts; the path."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"def main():\n    print({name!r}, {version!r})\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[console_scripts]\n"
        + "".join(f"{script} = {module}:main\n" for script in scripts or [name]),
    }
    record = "".join(f"{path},sha256={_digest(text.encode())},{len(text)}\n" for path, text in files.items())
    path = Path(folder) / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(zipfile.ZipInfo(inner, (2020, 1, 1, 0, 0, 0)), text)
    return path


def source_files(name, version, body):
    """The files of a source package whose build runs `body` first."""
    project = f'[project]\nname="{name}"\nversion="{version}"\n'
    system = '[build-system]\nrequires=[]\nbuild-backend="backend"\nbackend-path=["."]\n'
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return {
        "pyproject.toml": system + project,
        "backend.py": BACKEND.format(name=name, version=version, body=lines),
        "tiny_wheels.py": Path(__file__).read_text(),  # for the installer's user, who may not reach this folder
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
