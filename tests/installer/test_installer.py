"""A tiny Velatura is installed, updated, gone back from and uninstalled by the real scripts, in a home of its own."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.installer.tiny import Home, make_source

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="install.sh and where Linux looks for launchers")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("it's a $HOME")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")  # pip separates such folders by spaces


@pytest.fixture(scope="module")
def sources(place: Path, wheels: Path) -> dict[str, Path]:
    """Two versions; the second has a newer queue."""
    versions = {"1.0": 1, "2.0": 2}
    return {each: make_source(place / f"velatura {each}", each, its, wheels) for each, its in versions.items()}


@pytest.fixture(scope="module")
def home(place: Path, sources: dict[str, Path], wheels: Path) -> Home:
    """A home with the first version, of which a kill had left a part; the first test has it as it was installed."""
    (place / "home").mkdir()
    home = Home(place / "home", wheels)
    half = home.root / "versions" / name_of(sources["1.0"]) / "half"
    half.mkdir(parents=True)
    (home.root / "installer.lock").touch()
    done = home.run("sh", sources["1.0"] / "install.sh", "--yes")
    assert done.returncode == 0 and not half.exists(), done.stdout
    return home


def name_of(source: Path) -> str:
    from installer.source import open_source

    return open_source(str(source), source).name("")


def current(home: Home) -> str:
    return (home.root / "current").read_text(encoding="utf-8").strip()


def queue_of(home: Home, **jobs: str) -> None:
    """A queue of the first version with these states by name."""
    (home.outputs / "queue.db").unlink(missing_ok=True)
    with closing(sqlite3.connect(home.outputs / "queue.db")) as queue, queue:
        queue.execute("PRAGMA user_version = 1")
        queue.execute("CREATE TABLE jobs (name TEXT, state TEXT)")
        queue.executemany("INSERT INTO jobs VALUES (?, ?)", jobs.items())


def schema(queue: Path) -> int:
    with closing(sqlite3.connect(queue)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_it_says_what_it_will_do_and_changes_nothing_without_consent(
    tmp_path: Path, sources: dict[str, Path], wheels: Path
) -> None:
    home = Home(tmp_path, wheels)
    done = home.run("sh", sources["1.0"] / "install.sh")
    assert done.returncode == 1 and "say --yes if you agree" in done.stdout
    for named in (sources["1.0"], home.root, home.outputs, "SHA-256 in requirements.lock", "GB to download", "no root"):
        assert str(named) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_installed_runs_and_is_launched_from_the_menu(home: Home, sources: dict[str, Path]) -> None:
    assert home.run(home.folder / ".local" / "bin" / "velatura", "--version").stdout == "velatura 1.0\n"
    entries = {path.stem: path.read_text() for path in (home.folder / ".local/share/applications").iterdir()}
    assert set(entries) == {"velatura", "stop-velatura", "update-velatura", "uninstall-velatura"}
    assert "ui --background --open" in entries["velatura"] and "Terminal=true" in entries["update-velatura"]
    assert sorted(path.name for path in home.root.iterdir()) == [
        *("current", "installation.json", "installer", "installer.lock", "logs", "velatura", "versions")
    ]
    assert not list(sources["1.0"].rglob("build")) and not list(sources["1.0"].rglob("*.egg-info"))


def test_a_launcher_opens_the_studio_of_the_outputs(home: Home) -> None:
    assert home.run(home.root / "velatura", "ui", "--background").returncode == 0
    assert (home.outputs / "studio.log").read_text() == "--background\n"
    (home.outputs / "studio.log").unlink()


def test_a_launcher_says_that_the_python_is_gone(home: Home, tmp_path: Path) -> None:
    """As after an upgrade of the system; a launcher has no terminal, so that a window shows it."""
    (tmp_path / "xdg-open").write_text('#!/bin/sh\necho "opened $1"\n')
    (tmp_path / "xdg-open").chmod(0o755)
    (python := home.root / "versions" / current(home) / "bin" / "python").rename(away := python.with_name("away"))
    named = Home(home.folder, home.packages, {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    done = named.run(home.root / "velatura", "ui", "--background", "--open")
    away.rename(python)
    assert done.returncode == 1 and "run install.sh again" in done.stdout
    assert f"opened {home.root}/problem.txt" in done.stdout
    (home.root / "problem.txt").unlink()


def test_repeating_it_writes_the_launchers_again(home: Home, sources: dict[str, Path]) -> None:
    entry = home.folder / ".local/share/applications/velatura.desktop"
    entry.unlink()
    done = home.run("sh", sources["1.0"] / "install.sh", "--yes")
    assert done.returncode == 0 and entry.exists() and "This version is installed" in done.stdout


def test_a_package_with_another_hash_is_refused(home: Home, sources: dict[str, Path], tmp_path: Path) -> None:
    changed = shutil.copytree(sources["2.0"], tmp_path / "changed")
    lock = changed / "requirements.lock"
    lock.write_text(lock.read_text()[:-9] + "00000000\n", encoding="utf-8")
    done = home.run("sh", changed / "install.sh", "--yes")
    assert done.returncode == 1 and "DO NOT MATCH THE HASHES" in done.stdout
    assert current(home) == name_of(sources["1.0"])


def test_two_at_once_are_refused(home: Home, sources: dict[str, Path]) -> None:
    with (home.root / "installer.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = home.run("sh", sources["1.0"] / "install.sh", "--yes")
    assert done.returncode == 1 and "another installation is at work" in done.stdout


def test_an_update_waits_for_trainings(home: Home, sources: dict[str, Path]) -> None:
    queue_of(home, dusk="training", dawn="queued")
    done = home.run("sh", sources["2.0"] / "install.sh", "--yes")
    assert done.returncode == 1 and "dusk is at work" in done.stdout and "dawn is" not in done.stdout
    assert current(home) == name_of(sources["1.0"])


def test_an_update_copies_the_queue_and_back_puts_it_back(home: Home, sources: dict[str, Path]) -> None:
    queue_of(home, dusk="finished", dawn="queued")
    settings = home.outputs / ".studio" / "measured.json"
    settings.parent.mkdir()
    settings.write_text("{}")
    archive = shutil.make_archive(str(home.folder / "velatura"), "zip", sources["2.0"].parent, sources["2.0"].name)
    done = update(home, archive)
    assert done.returncode == 0, done.stdout
    assert f"Velatura {name_of(sources['1.0'])} → {name_of(sources['2.0'])}" in done.stdout and archive in done.stdout
    assert current(home) == name_of(sources["2.0"])
    (copied,) = (home.outputs / ".studio" / "before-updates").iterdir()
    assert schema(copied / "queue.db") == 1 and (copied / ".studio" / "measured.json").read_text() == "{}"
    assert schema(home.outputs / "queue.db") == 1  # the new version tried its own on a copy
    assert home.run(home.root / "velatura", "queue", "list").returncode == 0 and schema(home.outputs / "queue.db") == 2

    done = update(home, "--back")
    assert done.returncode == 0 and "Put back: the queue" in done.stdout, done.stdout
    assert current(home) == name_of(sources["1.0"]) and schema(home.outputs / "queue.db") == 1
    (newer,) = home.outputs.glob("queue.newer-*.db")
    assert schema(newer) == 2
    assert '"dawn"' in home.run(home.root / "velatura", "queue", "list").stdout


def update(home: Home, *words: str):
    """`velatura update`, as its command line runs it."""
    python = next((home.root / "versions").glob("*/bin/python")).resolve()
    variables = {"PYTHONPATH": str(home.root / "installer")}
    return Home(home.folder, home.packages, variables).run(python, "-P", "-m", "installer", "update", "--yes", *words)


@pytest.mark.thorough
def test_a_version_that_does_not_work_is_not_used(home: Home, sources: dict[str, Path], tmp_path: Path) -> None:
    broken = shutil.copytree(sources["2.0"], tmp_path / "broken")
    command = broken / "app" / "cli" / "__main__.py"
    command.write_text(command.read_text().replace('words[0] == "ui"', 'words[0] == "ui" and sys.exit("no port")'))
    done = home.run("sh", broken / "install.sh", "--yes")
    assert done.returncode == 1 and "no port" in done.stdout and "The one before stays in use" in done.stdout
    assert current(home) == name_of(sources["1.0"])


def test_uninstalling_keeps_the_outputs_and_what_is_not_the_installer_s(home: Home) -> None:
    (home.root / "notes.txt").write_text("a person's")
    kept = sorted(path.relative_to(home.outputs) for path in home.outputs.rglob("*"))
    python = Path(getattr(sys, "_base_executable", sys.executable))
    named = Home(home.folder, home.packages, {"PYTHONPATH": str(home.root / "installer")})
    done = named.run(python, "-P", "-m", "installer", "uninstall", "--yes")
    assert done.returncode == 0 and f"Your trainings and styles are in {home.outputs}" in done.stdout, done.stdout
    assert [path.name for path in home.root.iterdir()] == ["notes.txt"]
    assert not any((home.folder / ".local/share/applications").iterdir())
    assert not any((home.folder / ".local/bin").iterdir())
    now = sorted(path.relative_to(home.outputs) for path in home.outputs.rglob("*"))
    assert set(kept) <= set(now) and Path("queue.db") in kept
