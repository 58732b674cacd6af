"""The queue's SQLite file: one connection a process, transactions that wait for each other, errors in one sentence."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.database.backups import back_up, check_integrity
from app.jobs.database.migrations import ADVICE, DamagedQueueError, migrate
from app.transactions import transaction
from trainers.errors import VelaturaError
from trainers.files import whole_file

if TYPE_CHECKING:
    from filelock import FileLock

PATIENCE = 20.0
"""Seconds to wait for a transaction of another process."""


class Database:
    """A connection to the queue's file, opened at its first use and shared by the threads of this process.

    Every error is one sentence: VelaturaError.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._connections = 0
        """How many there have been."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one query; VelaturaError where there is no queue yet."""
        if self._connection is None and not self.path.exists():
            raise VelaturaError(f"there is no queue in {self.path.parent} yet; `velatura queue add` begins one")
        with self._lock, self._plain_errors():
            if self.is_writable:
                yield self._opened()
            else:
                with _copied(self.path) as connection:
                    yield connection

    @property
    def is_writable(self) -> bool:
        """Whether the queue can be changed: neither its disk nor its folder is read-only."""
        folder = next(each for each in self.path.parents if each.exists())
        return os.access(folder, os.W_OK) and (not self.path.exists() or os.access(self.path, os.W_OK))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction that no other process is in; undone where the block ends with an error."""
        if not self.is_writable:
            raise VelaturaError(f"the queue cannot be changed: {self.path.parent} is read-only")
        with self._lock, self._plain_errors():
            connection = self._opened()
            with transaction(connection):
                yield connection

    def close(self) -> None:
        """Let the file go; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def revision(self) -> tuple[int, ...]:
        """Something else after every change of the file, whoever made it."""
        if not self.is_writable:  # each query has a connection of its own, which counts from the start
            return *_stamp(self.path), *_stamp(self.path.with_name(f"{self.path.name}-wal"))
        with self.reading() as connection:
            seen = connection.execute("PRAGMA data_version").fetchone()[0]
            return *_stamp(self.path), self._connections, seen, connection.total_changes

    def check(self) -> None:
        """Read the whole file, which takes a second for some 100 MB; DamagedQueueError where something is wrong."""
        with self.reading() as connection:
            check_integrity(connection)

    def back_up(self, target: Path) -> None:
        """Copy what is committed to `target`, which then is sound; DamagedQueueError leaves it as it was."""
        with self._lock, self._plain_errors():
            back_up(self.path, target)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self.path):
            self.close()  # a repair has put another file in its place
        if self._connection is None:
            if self.path.exists() and not self.path.stat().st_size:
                raise DamagedQueueError(f"{self.path} is empty; {ADVICE}")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                with lock_of(self.path):
                    if not self.path.exists():
                        create(self.path)
            # Transactions are begun and ended here, not by the module's own guesses.
            connection = sqlite3.connect(self.path, PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                connection.text_factory = _text  # a single row that is no text would take down every list
                with transaction(connection):
                    migrate(connection, self.path)
                _use_write_ahead_log(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._inode = connection, _inode(self.path)
            self._connections += 1
        return self._connection

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise VelaturaError(f"the queue {self.path} cannot be used: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            if "disk is full" in str(error):
                raise VelaturaError(f"the disk is full: no room to write {self.path}") from error
            if "locked" in str(error) or "busy" in str(error):
                raise VelaturaError(f"{self.path} is in use for too long by another process; try again") from error
            raise VelaturaError(f"the queue {self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise DamagedQueueError(f"{self.path} is damaged or no queue of Velatura ({error}); {ADVICE}") from error


@contextmanager
def _copied(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a queue, to be read where SQLite could not keep its lock and log beside the file."""
    with tempfile.TemporaryDirectory(prefix="velatura-") as folder:
        for file in (path, path.with_name(f"{path.name}-wal")):
            if file.exists():
                shutil.copyfile(file, Path(folder, file.name))
        with closing(sqlite3.connect(Path(folder, path.name), isolation_level=None)) as connection:
            connection.row_factory, connection.text_factory = sqlite3.Row, _text
            with transaction(connection):
                migrate(connection, path, keep=False)
            yield connection


def create(path: Path) -> None:
    """Make a new queue under another name first, so that a kill leaves no half file."""
    with whole_file(path) as building, closing(sqlite3.connect(building, isolation_level=None)) as connection:
        with transaction(connection):
            migrate(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")


def lock_of(path: Path) -> FileLock:
    """What is held while a queue's file is made or replaced."""
    from filelock import FileLock

    return FileLock(path.with_name(f"{path.name}.lock"))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _inode(path: Path) -> int:
    """Which file a name stands for now; 0 where there is none."""
    return _stamp(path)[0]


def _stamp(path: Path) -> tuple[int, int, int]:
    """Something else where a name stands for another file, or one that was written to from without."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer go on side by side; SQLite does not itself wait for another process in this one case.

    What a transaction has changed is on the disk when it ends: a job that was acknowledged outlives a power cut.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
