"""The queue's SQLite file: its layout and version, one connection a process, transactions that wait for each other."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import VelaturaError

APPLICATION = 0x56454C41
"""Marks the file as ours; `VELA` in ASCII."""
VERSION = 1
"""Version of the layout below."""
PATIENCE = 20.0
"""Seconds to wait for a transaction of another process."""

LAYOUT = """
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


class Database:
    """A connection to the queue's file, opened at its first use and shared by the threads of this process.

    Every error is one sentence: VelaturaError.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one query; VelaturaError where there is no queue yet."""
        if self._connection is None and not self.path.exists():
            raise VelaturaError(f"there is no queue in {self.path.parent} yet; `velatura queue add` begins one")
        with self._lock, self._plain_errors():
            yield self._opened()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction that no other process is in; undone where the block ends with an error."""
        with self._lock, self._plain_errors():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def close(self) -> None:
        """Let the file go; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are begun and ended here, not by the module's own guesses.
            connection = sqlite3.connect(self.path, PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                self._check_layout(connection)
                _use_write_ahead_log(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _check_layout(self, connection: sqlite3.Connection) -> None:
        """Create the tables in a new file; VelaturaError where the file is another program's or version's."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if application == version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in LAYOUT.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION:
                raise VelaturaError(f"{self.path} is no queue of Velatura; {self._advice}")
            elif version != VERSION:
                found = f"{self.path} is a queue of version {version}, and this Velatura reads version {VERSION}"
                raise VelaturaError(f"{found}; use the Velatura that wrote it, or {self._advice}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @property
    def _advice(self) -> str:
        return "move it away to begin a new queue (the runs beside it stay as they are)"

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "disk is full" in str(error):
                raise VelaturaError(f"the disk is full: no room to write {self.path}") from error
            if "locked" in str(error) or "busy" in str(error):
                raise VelaturaError(f"{self.path} is in use for too long by another process; try again") from error
            raise VelaturaError(f"the queue {self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise VelaturaError(f"{self.path} is damaged or no queue of Velatura ({error}); {self._advice}") from error


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer go on side by side; SQLite does not itself wait for another process in this one case."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
