"""The queue's SQLite file: one connection per process, serialised transactions, VelaturaErrors."""

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
from trainers.atomic_files import whole_file
from trainers.errors import VelaturaError

if TYPE_CHECKING:
    from filelock import FileLock

PATIENCE = 20.0
"""Seconds to wait for another process's transaction."""


class Database:
    """A connection to the queue's file, opened on first use and shared by all threads.

    Every error is a VelaturaError.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._connections = 0
        """Number of connections opened so far."""

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one query; VelaturaError if there is no queue yet."""
        if self._connection is None and not self.path.exists():
            raise VelaturaError(
                "there is no queue in {parent} yet; `velatura queue add` creates one", parent=self.path.parent
            )
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
        """The connection in an exclusive transaction, rolled back if the block raises."""
        if not self.is_writable:
            raise VelaturaError("the queue cannot be changed: {parent} is read-only", parent=self.path.parent)
        with self._lock, self._plain_errors():
            connection = self._opened()
            with transaction(connection):
                yield connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def revision(self) -> tuple[int, ...]:
        """A value that differs after every change of the file by any process."""
        if not self.is_writable:  # each query opens its own connection, whose counters start at 0
            return *_stamp(self.path), *_stamp(self.path.with_name(f"{self.path.name}-wal"))
        with self.reading() as connection:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            return *_stamp(self.path), self._connections, version, connection.total_changes

    def check(self) -> None:
        """Check the whole file, about a second per 100 MB; DamagedQueueError if something is wrong."""
        with self.reading() as connection:
            check_integrity(connection)

    def back_up(self, target: Path) -> None:
        """Copy the committed state to `target`, which stays unchanged on DamagedQueueError."""
        with self._lock, self._plain_errors():
            back_up(self.path, target)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self.path):
            self.close()  # a repair has replaced it
        if self._connection is None:
            if self.path.exists() and not self.path.stat().st_size:
                raise DamagedQueueError("{path} is empty; {advice}", path=self.path, advice=ADVICE)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                with lock_of(self.path):
                    if not self.path.exists():
                        create(self.path)
            # Without isolation level the module begins no transactions itself.
            connection = sqlite3.connect(self.path, PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                connection.text_factory = _text  # rows are checked where they are read
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
            raise VelaturaError(
                "the queue {path} cannot be used: {reason}", path=self.path, reason=error.strerror or error
            ) from error
        except sqlite3.OperationalError as error:
            if "disk is full" in str(error):
                raise VelaturaError("the disk is full: no room to write {path}", path=self.path) from error
            if "locked" in str(error) or "busy" in str(error):
                raise VelaturaError("{path} is locked by another process; try again", path=self.path) from error
            raise VelaturaError("the queue {path} cannot be used: {error}", path=self.path, error=error) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise DamagedQueueError(
                "{path} is damaged or not a Velatura queue ({error}); {advice}",
                path=self.path,
                error=error,
                advice=ADVICE,
            ) from error


@contextmanager
def _copied(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a queue for reading where SQLite cannot write its lock and log files."""
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
    """Create a new queue under a temporary name first, so that a kill leaves no partial file."""
    with whole_file(path) as building, closing(sqlite3.connect(building, isolation_level=None)) as connection:
        with transaction(connection):
            migrate(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")


def lock_of(path: Path) -> FileLock:
    """The lock for creating or replacing a queue's file."""
    from filelock import FileLock

    return FileLock(path.with_name(f"{path.name}.lock"))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _inode(path: Path) -> int:
    """The inode of a file; 0 if there is none."""
    return _stamp(path)[0]


def _stamp(path: Path) -> tuple[int, int, int]:
    """A value that differs after the file was replaced or written."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Set WAL mode, so that readers and a writer do not block each other.

    SQLite does not wait for other processes here. Transactions are synced, so an acknowledged job survives a power cut.
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
