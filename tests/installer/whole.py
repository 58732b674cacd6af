"""Installs this checkout for real, into a home folder of its own, and does with it what a person would.

    python -m tests.installer.whole [--torch BUILD] [--without-python]

Each step is a real script, launcher or command. It downloads what an installation downloads: up to 3 GB, or with
`--torch cpu` 0.5 GB. `--without-python` hides every Python from the scripts, so that they fetch one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from installer.launchers import STOP, STUDIO
from installer.layout import MAC, WINDOWS

ROOT = Path(__file__).parents[2]
NEWER = '    Migration("a check of updates", "CREATE TABLE checked (name TEXT)"),\n)'
"""A step that makes the queue of the update newer."""


class Person:
    """A home folder with the environment that its commands get."""

    def __init__(self, home: Path, torch: str, without_python: bool) -> None:
        self.home, self.torch = home, torch
        dropped = ("VELATURA", "PYTHON", "XDG", "VIRTUAL_ENV")
        self.variables = {name: value for name, value in os.environ.items() if not name.upper().startswith(dropped)}
        self.variables |= {"HOME": str(home), "BROWSER": "true"}
        if WINDOWS:
            local, roaming = home / "AppData" / "Local", home / "AppData" / "Roaming"
            self.variables |= {"USERPROFILE": str(home), "LOCALAPPDATA": str(local), "APPDATA": str(roaming)}
            local.mkdir(parents=True)
            roaming.mkdir(parents=True)
        if without_python:
            self.variables["PATH"] = _path_without_python(home / "programs")

    @property
    def root(self) -> Path:
        """The folder of the program."""
        places = {"win32": "AppData/Local/Velatura", "darwin": "Library/Application Support/Velatura"}
        return self.home / places.get(sys.platform, ".local/share/velatura")

    @property
    def launchers(self) -> dict[str, Path]:
        """What this person double-clicks, by name."""
        if WINDOWS:
            return {STUDIO: self.root / "Velatura studio.cmd", STOP: self.root / f"{STOP}.cmd"}
        if MAC:
            return {name: self.home / "Applications" / "Velatura" / f"{name}.command" for name in (STUDIO, STOP)}
        entries = self.home / ".local" / "share" / "applications"
        return {STUDIO: entries / "velatura.desktop", STOP: entries / "stop-velatura.desktop"}

    def install(self, source: Path) -> None:
        """Run the script of a folder."""
        words = ["--yes", *(("--torch", self.torch) if self.torch else ())]
        if WINDOWS:
            shell = ("powershell", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File")
            self.run(*shell, source / "install.ps1", *words)
        else:
            self.run("/bin/sh", source / "install.sh", *words)

    def velatura(self, *words: object, fails: bool = False) -> str:
        """Run the installed command; returns what it said."""
        command = self.root / ("velatura.cmd" if WINDOWS else "velatura")
        return self.run(command, *words, fails=fails)

    def click(self, name: str) -> None:
        """Do what a double click does."""
        launcher = self.launchers[name]
        if launcher.suffix == ".desktop":
            line = re.search(r"^Exec=(.*)$", launcher.read_text(encoding="utf-8"), re.MULTILINE)
            assert line is not None, launcher
            self.run("/bin/sh", "-c", line[1].replace("\\\\", "\\"))
        else:
            self.run(launcher)

    def run(self, *words: object, fails: bool = False) -> str:
        """Run a command to its end and print what it said."""
        print("$", *words, flush=True)
        shown = subprocess.run(
            [*map(str, words)],
            cwd=self.home,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        said = "\n".join(line for line in shown.stdout.splitlines() if not re.match(r"Collecting|  Downl| +━", line))
        print(said[-5000:], flush=True)
        assert (shown.returncode != 0) == fails, shown.returncode
        return shown.stdout


def main() -> None:
    """Do every step; an AssertionError says which one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch", default="")
    parser.add_argument("--without-python", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="an illustrator's ", ignore_cleanup_errors=True) as name:
        person = Person(Path(name).resolve(), options.torch, options.without_python)
        check_installed(person)
        check_updated(person)
        check_uninstalled(person)
    minutes = (time.monotonic() - began) / 60
    python = "a Python that was fetched" if options.without_python else "the system's Python"
    print(f"installed, opened, updated, gone back, uninstalled: {sys.platform}, {python}, {minutes:.1f} minutes")


def check_installed(person: Person) -> None:
    """Install, start with a double click, once more, and stop."""
    person.install(ROOT)
    person.click(STUDIO)
    address = json.loads((person.home / "Velatura" / ".studio" / "address.json").read_text(encoding="utf-8"))
    person.click(STUDIO)  # opens the one that runs
    assert json.loads((person.home / "Velatura" / ".studio" / "address.json").read_text("utf-8")) == address
    with urllib.request.urlopen(f"{address['url']}health", timeout=30) as answer:
        assert answer.status == 200
    person.click(STOP)
    person.install(ROOT)  # repeated


def check_updated(person: Person) -> None:
    """Update to a version with a newer queue while one training runs and one waits, and go back."""
    new, before = person.home / "new velatura", version_of(person)
    shutil.copytree(ROOT, new, ignore=shutil.ignore_patterns(".*", "outputs", "__pycache__", "build", "*.egg-info"))
    steps = new / "app" / "jobs" / "database" / "migrations.py"
    text = steps.read_text(encoding="utf-8")
    steps.write_text(re.sub(r"(?<=\n)\)(?=\nVERSION = )", NEWER.replace("\\", r"\\"), text), encoding="utf-8")
    pictures = ROOT / "presets" / "samples" / "blob"
    for name, count in (("dusk", 100_000), ("dawn", 10)):
        words = ("--images", pictures, "--name", name, "--steps", count, "--set", "sample.steps=1")
        person.velatura("queue", "add", *words)
    person.click(STUDIO)
    wait_for_state(person, "dusk", "sampling", "training")
    assert "dusk is at work" in person.velatura("update", new, "--yes", fails=True)
    person.click(STOP)  # so that the other one waits
    person.velatura("queue", "cancel", "dusk")
    wait_for_state(person, "dusk", "cancelled")
    names = set(states(person))
    person.velatura("update", new, "--yes")
    assert version_of(person) != before and set(states(person)) == names
    assert "the queue" in person.velatura("update", "--back", "--yes")
    assert version_of(person) == before and set(states(person)) == names


def check_uninstalled(person: Person) -> None:
    """Uninstall; the trainings stay."""
    person.velatura("uninstall", "--yes")
    assert not person.launchers[STUDIO].exists() and not (person.root / "versions").exists()
    assert (person.home / "Velatura" / "queue.db").exists() and (person.home / "Velatura" / "dusk").is_dir()


def version_of(person: Person) -> str:
    """The installed version."""
    return (person.root / "current").read_text(encoding="utf-8").strip()


def states(person: Person) -> dict[str, str]:
    """The states of the jobs by name."""
    said = person.velatura("queue", "list", "--json")
    return {job["name"]: job["state"] for job in json.loads(said[said.index("[") :])}


def wait_for_state(person: Person, name: str, *wanted: str) -> None:
    """Wait until a job has one of these states."""
    end = time.monotonic() + 300
    while (now := states(person)[name]) not in wanted:
        assert time.monotonic() < end, now
        time.sleep(1)


def _path_without_python(folder: Path) -> str:
    """A PATH without a Python: on Windows without its folders, elsewhere a folder of links to all other programs."""
    paths = [Path(each) for each in os.environ["PATH"].split(os.pathsep) if Path(each).is_dir()]
    if WINDOWS:
        names = ("python.exe", "python3.exe", "py.exe")
        return os.pathsep.join(str(each) for each in paths if not any((each / name).exists() for name in names))
    folder.mkdir()
    for path in paths:
        for program in path.iterdir():
            if not program.name.startswith("python") and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


if __name__ == "__main__":
    main()
