"""The SQLite file with accounts, logins, tokens and invitations: its tables and connections."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.jobs.database.backups import back_up
from app.transactions import transaction
from trainers.errors import VelaturaError

PATIENCE = 10.0
"""Seconds to wait for another process's transaction."""
FIRST = """
CREATE TABLE people (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'member',
    added REAL NOT NULL
) STRICT;
CREATE TABLE sessions (
    token BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    credential BLOB NOT NULL,
    opened REAL NOT NULL,
    ends REAL NOT NULL
) STRICT;
CREATE INDEX sessions_by_name ON sessions (name);
CREATE TABLE received (
    sender TEXT NOT NULL,
    hour INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (sender, hour)
) STRICT
"""
ROLES_AND_TOKENS = """
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    token BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    scope TEXT NOT NULL,
    made REAL NOT NULL,
    ends REAL NOT NULL,
    used REAL NOT NULL
) STRICT;
UPDATE people SET role = 'admin' WHERE name = (SELECT name FROM people ORDER BY added, name LIMIT 1)
"""
"""Version 1 had no admins; the first account becomes one."""
INVITATIONS = """
CREATE TABLE invitations (
    name TEXT PRIMARY KEY,
    token BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    ends REAL NOT NULL
) STRICT
"""
INVITERS = "ALTER TABLE invitations ADD COLUMN inviter TEXT NOT NULL DEFAULT ''"
MIGRATIONS = (FIRST, ROLES_AND_TOKENS, INVITATIONS, INVITERS)
"""Steps from an empty file to the current version; a released one never changes."""
VERSION = len(MIGRATIONS)


class PeopleDatabase:
    """One connection to the file, used by one thread at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.RLock()
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # unreadable to others from the start
        self._connection = sqlite3.connect(file, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        with self.change() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise VelaturaError("{file} was made by a newer Velatura; update Velatura", file=file)
            if 0 < version < VERSION:
                _keep_copy(file, version)
            for step in MIGRATIONS[version:]:
                for statement in step.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction. VelaturaError if the file cannot be used."""
        with self._plain_errors(), self._lock, transaction(self._connection):
            yield self._connection

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """The connection, for reading."""
        with self._plain_errors(), self._lock:
            yield self._connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise VelaturaError(
                "the accounts in {file} cannot be used: {error}; restore a backup, or move the file away and "
                "add the accounts again with `velatura people add`",
                file=self.file,
                error=error,
            ) from error


def _keep_copy(file: Path, version: int) -> None:
    """Copy the file before its migration, unreadable to others."""
    copy = file.with_name(f"{file.stem}.version-{version}.backup{file.suffix}")
    os.close(os.open(copy, os.O_CREAT | os.O_RDWR, 0o600))
    back_up(file, copy)
    copy.chmod(0o600)
