"""The schema of `queue.db`, as numbered steps from an empty file to the current version.

Add a new step at the end of `MIGRATIONS`; never change a released step. A file from an older version is first copied to
`queue.version-N.backup.db`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.jobs.database.backups import back_up
from app.jobs.processes.process import Identity, identity_of
from trainers.errors import VelaturaError

APPLICATION = 0x56454C41
"""Marks the file as ours; `VELA` in ASCII."""

FIRST_LAYOUT = """
CREATE TABLE jobs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,              -- train, or what a small job is for: estimate, caption, generate …
    folder    TEXT NOT NULL UNIQUE,       -- relative to the folder of runs, so that this can be moved as a whole
    command   TEXT NOT NULL,              -- JSON: the words after `velatura` of a small job; [] for train
    cwd       TEXT NOT NULL,              -- where it was asked for: relative names of bases and styles are from there
    owner     TEXT NOT NULL,
    wants     TEXT NOT NULL,              -- auto, cpu, cuda, cuda:1, mps
    priority  INTEGER NOT NULL,           -- higher goes first
    position  INTEGER NOT NULL,           -- then lower goes first
    phase     TEXT NOT NULL,              -- waiting, claimed, running, held, ended
    requested TEXT NOT NULL DEFAULT '',   -- of a running job: save, pause, cancel, yield
    device    TEXT NOT NULL DEFAULT '',   -- of a claimed or running job
    token     TEXT NOT NULL DEFAULT '',   -- of a claim: whoever starts with another one is too late
    host      TEXT NOT NULL DEFAULT '',   -- the process that has the job: who claimed it, trains it or changes it
    pid       INTEGER NOT NULL DEFAULT 0,
    started   REAL NOT NULL DEFAULT 0,    -- when that process began: with the pid it names one process for good
    attempts  INTEGER NOT NULL DEFAULT 0,
    added     REAL NOT NULL,              -- Unix seconds, as all times
    begun     REAL NOT NULL DEFAULT 0,
    ended     REAL NOT NULL DEFAULT 0
);
CREATE INDEX by_turn ON jobs (phase, priority DESC, position);
CREATE TABLE workers (
    host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL, devices TEXT NOT NULL,
    PRIMARY KEY (host, pid)
);
"""


def _know_processes_by_boot(connection: sqlite3.Connection) -> None:
    """Store start times relative to the boot, so that clock changes do not affect them.

    Living processes are identified by their start time on the wall clock.
    """
    for table in ("jobs", "workers"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN boot TEXT NOT NULL DEFAULT ''")
        for row in connection.execute(f"SELECT host, pid, started FROM {table} WHERE pid != 0").fetchall():
            process = Identity(*row)
            if process.is_alive():
                identity = identity_of(process.pid)
                connection.execute(
                    f"UPDATE {table} SET started = ?, boot = ? WHERE host = ? AND pid = ? AND started = ?",
                    (identity.started, identity.boot, *row),
                )


@dataclass(frozen=True)
class Migration:
    """A migration: SQL statements, each ending with a semicolon and a line feed, or a function of the connection."""

    change: str
    apply: str | Callable[[sqlite3.Connection], None]

    def __call__(self, connection: sqlite3.Connection) -> None:
        if callable(self.apply):
            self.apply(connection)
            return
        for statement in self.apply.split(";\n"):  # executescript would commit the transaction first
            connection.execute(statement)


AUTOMATIC_RESTARTS = """
ALTER TABLE jobs ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN restart_step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN low_memory INTEGER NOT NULL DEFAULT 0;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""
"""Automatic restarts since the last progress, their checkpoint, whether with less memory; and settings of the queue."""

HOLDS = """
ALTER TABLE jobs ADD COLUMN held_from TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN held_since REAL NOT NULL DEFAULT 0
"""
"""The phase to which a held job returns, and the time since which it is held."""

MIGRATIONS = (
    Migration("jobs and workers", FIRST_LAYOUT),
    Migration("processes known by their boot", _know_processes_by_boot),
    Migration("runs that go on by themselves", AUTOMATIC_RESTARTS),
    Migration("held jobs that return to where they were", HOLDS),
)
VERSION = len(MIGRATIONS)
"""The current schema version: the number of steps."""


class DamagedQueueError(VelaturaError):
    """`queue.db` cannot be read as a queue; `velatura queue repair` rebuilds it."""


def migrate(connection: sqlite3.Connection, path: Path, keep: bool = True) -> None:
    """Migrate a queue to the current version, in the caller's transaction.

    An empty file gets the whole schema. With `keep`, a file of an older version is copied first. Raises VelaturaError
    for another program's file or a newer version.
    """
    application, version = (_pragma(connection, name) for name in ("application_id", "user_version"))
    is_new = application == version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    if not is_new:
        _check_origin(path, application, version)
    if version == VERSION:
        return
    if not is_new and keep:
        back_up(path, backup_of_version(path, version))
    for step in MIGRATIONS[version:]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def backup_of_version(path: Path, version: int) -> Path:
    """The backup path of a queue before its migration from a version."""
    return path.with_name(f"{path.stem}.version-{version}.backup{path.suffix}")


def _check_origin(path: Path, application: int, version: int) -> None:
    if application != APPLICATION or version < 1:
        raise DamagedQueueError("{path} is not a Velatura queue; {advice}", path=path, advice=ADVICE)
    if version > VERSION:
        raise VelaturaError(
            "{path} is a queue of version {version}, and this Velatura reads up to version {newest}; "
            "update Velatura, or move the file away to start a new queue (the runs stay unchanged)",
            path=path,
            version=version,
            newest=VERSION,
        )


ADVICE = "`velatura queue repair` keeps this file and rebuilds the queue from its backup and the run folders"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
