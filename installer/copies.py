"""Copies of the queue, the settings and the accounts before an update, and putting them back."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from installer.layout import Layout, RefusedError

FOLDER = Path(".studio", "before-updates")
"""Within the outputs, so that uninstalling keeps it."""
KEPT = 5
"""Copies that are kept."""
QUEUE, PEOPLE = Path("queue.db"), Path(".studio", "people.db")
LEFT_OUT = {"public", "uploads", "before-updates"}
"""Pictures and files for browsers, which no update changes."""
SETTINGS = {".json", ".toml", ""}


def copy(outputs: Path, version: str) -> Path:
    """Copy the queue, the accounts, and the settings and drafts without their pictures; returns the copy's folder."""
    place = outputs / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')} {version}"
    place.mkdir(parents=True, mode=0o700)
    for name in (QUEUE, PEOPLE):
        if (outputs / name).exists():
            (place / name).parent.mkdir(exist_ok=True)
            with closing(sqlite3.connect(outputs / name)) as now, closing(sqlite3.connect(place / name)) as kept:
                now.backup(kept)
                kept.execute("PRAGMA journal_mode = DELETE")
    for path in (outputs / ".studio").rglob("*"):
        within = path.relative_to(outputs)
        if path.is_file() and path.suffix in SETTINGS and not LEFT_OUT & set(within.parts) and path.name[0] != ".":
            (place / within).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place / within)
    for old in sorted((outputs / FOLDER).iterdir())[:-KEPT]:
        shutil.rmtree(old)
    return place


def put_back(layout: Layout, version: str, outputs: Path, place: Path) -> list[str]:
    """Put back what a newer version has changed so that `version` cannot read it; returns what was done.

    The newer files stay beside. The queue also gets the runs that were added since, which its repair finds.
    """
    done = []
    if _schema(outputs / PEOPLE) > _schema(place / PEOPLE) > 0:
        _set_aside(outputs / PEOPLE)
        shutil.copy2(place / PEOPLE, outputs / PEOPLE)
        done.append("the accounts")
    if _schema(outputs / QUEUE) > _schema(place / QUEUE) > 0:
        newer = _set_aside(outputs / QUEUE)
        (outputs / QUEUE).touch()
        shutil.copy2(place / QUEUE, outputs / "queue.backup.db")
        command = layout.program(version, "queue", "repair", "--out", outputs)
        repaired = subprocess.run(command, capture_output=True, text=True, errors="replace")
        for empty in (path for path in outputs.glob("queue.damaged-*.db") if not path.stat().st_size):
            empty.unlink()
        if repaired.returncode:
            newer.replace(outputs / QUEUE)
            raise RefusedError(f"the queue cannot be put back: {repaired.stderr.strip()}; its copy is in {place}")
        done.append("the queue, with the trainings added since")
    return done


def _schema(database: Path) -> int:
    """The version of a database's tables; 0 if there is none."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _set_aside(database: Path) -> Path:
    """Rename a database, with what its log holds, so that nothing in it is lost; returns its new name."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    moment = time.strftime("%Y%m%d-%H%M%S")
    return database.rename(database.with_name(f"{database.stem}.newer-{moment}{database.suffix}"))
