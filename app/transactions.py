"""An SQLite transaction: all or nothing, and the connection stays usable after any error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """An exclusive transaction, rolled back if the block, its start or its end fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")  # which may fail when it has begun
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself undoes it after some errors, as on a full disk
            connection.execute("ROLLBACK")
        raise
