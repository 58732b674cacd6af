"""The SQLite file with accounts and logins: its tables and connections."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.transactions import transaction
from trainers.errors import VelaturaError

VERSION = 1
PATIENCE = 10.0
"""Seconds that a change waits for another process's."""
TABLES = """
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
) STRICT;
"""


class PeopleDatabase:
    """One connection to the file, used by one thread at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.RLock()
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # nobody else's to read from the first moment
        self._connection = sqlite3.connect(file, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        with self.change() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise VelaturaError("{file} was made by a newer Velatura; update Velatura", file=file)
            if version == 0:
                for statement in TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction. VelaturaError if the file cannot be used."""
        with self._telling(), self._lock, transaction(self._connection):
            yield self._connection

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read from."""
        with self._telling(), self._lock:
            yield self._connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise VelaturaError(
                "the accounts in {file} cannot be used: {error}; restore a backup, or move the file away and "
                "add the accounts again with `velatura ui --add-person`",
                file=self.file,
                error=error,
            ) from error
