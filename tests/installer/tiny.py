"""A tiny Velatura to install without a network: the real installer around a program of fifty lines and one package."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["app"]
[project]
name = "velatura"
version = "{version}"
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
BACKEND = '''
"""Builds the wheel, since setuptools would have to be downloaded."""
import pathlib, sys
sys.path.insert(0, "installer")
def build_wheel(directory, config_settings=None, metadata_directory=None):
    import zipfile
    version = "{version}"
    wheel = f"velatura-{{version}}-py3-none-any.whl"
    info = f"velatura-{{version}}.dist-info"
    with zipfile.ZipFile(pathlib.Path(directory, wheel), "w") as archive:
        for path in pathlib.Path("app").rglob("*.py"):
            archive.write(path, path.as_posix())
        archive.writestr(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: velatura\\nVersion: {{version}}\\n")
        archive.writestr(f"{{info}}/WHEEL", "{wheel}")
        archive.writestr(f"{{info}}/RECORD", "")
    return wheel
'''
COMMANDS = '''
"""What the installer asks of a Velatura: its version, a studio, a queue whose schema has a version."""
import json, os, pathlib, shutil, sqlite3, sys
import tinypackage
SCHEMA = {schema}
words = sys.argv[1:]
runs = pathlib.Path(words[words.index("--out") + 1] if "--out" in words else os.environ.get("VELATURA_HOME", ""))
if words == ["--version"]:
    print("velatura {version}")
elif words[0] == "ui":
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "studio.log").open("a").write(" ".join(words[1:2]) + "\\n")
elif words[:2] == ["queue", "repair"]:
    shutil.copy(runs / "queue.backup.db", runs / "queue.db")
elif words[:2] == ["queue", "list"]:
    queue = sqlite3.connect(runs / "queue.db")
    (now,) = queue.execute("PRAGMA user_version").fetchone()
    if now > SCHEMA:
        sys.exit(f"a queue of version {{now}}")
    queue.execute(f"PRAGMA user_version = {{SCHEMA}}")
    queue.row_factory = sqlite3.Row
    print(json.dumps([dict(row) for row in queue.execute("SELECT name, state FROM jobs")]))
'''


def make_source(folder: Path, version: str, schema: int, packages: Path) -> Path:
    """A folder to install from; its one package is a wheel in `packages`."""
    app = folder / "app"
    (app / "cli").mkdir(parents=True)
    (app / "backend.py").write_text(BACKEND.format(version=version, wheel=WHEEL.replace("\n", "\\n")), encoding="utf-8")
    (app / "cli" / "__main__.py").write_text(COMMANDS.format(version=version, schema=schema), encoding="utf-8")
    for name in ("trainers", "presets"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "installer", folder / "installer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "install.sh", folder)
    (folder / "README.md").write_text("tiny\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text(PROJECT.format(version=version), encoding="utf-8")
    wheel = make_wheel(packages)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(f"tinypackage==1.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    return folder


def make_wheel(packages: Path) -> Path:
    """A wheel of one empty module."""
    packages.mkdir(exist_ok=True)
    wheel = packages / "tinypackage-1.0-py3-none-any.whl"
    files = {
        "tinypackage.py": "",
        "tinypackage-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n",
        "tinypackage-1.0.dist-info/WHEEL": WHEEL,
    }
    record = "".join(f"{name},sha256={_hash(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | {"tinypackage-1.0.dist-info/RECORD": record}).items():
            archive.writestr(zipfile.ZipInfo(name), text)  # of no date, so that each is the same
    return wheel


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Home:
    """A person's home folder, and the commands that they run there."""

    folder: Path
    packages: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The folder of the program."""
        return self.folder / ".local" / "share" / "velatura"

    @property
    def outputs(self) -> Path:
        """The folder of trainings."""
        return self.folder / "Velatura"

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal, with no package index but the folder of packages."""
        named = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VELATURA", "PIP", "PYTHON", "XDG", "UV"))
        }
        named |= {"HOME": str(self.folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.packages)}
        named["PATH"] = f"{Path(getattr(sys, '_base_executable', sys.executable)).parent}{os.pathsep}{named['PATH']}"
        return subprocess.run(
            [*map(str, words)],
            cwd="/",
            env=named | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
