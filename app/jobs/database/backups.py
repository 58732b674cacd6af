"""Consistent copies of a queue's file while it is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from trainers.atomic_files import whole_file


def back_up(source: Path, target: Path) -> None:
    """Copy the committed state of a queue; replaces `target` once the copy is synced and sound.

    Raises sqlite3.DatabaseError if the source is damaged; `target` then stays unchanged.
    """
    with (
        whole_file(target) as building,
        closing(sqlite3.connect(source)) as old,
        closing(sqlite3.connect(building)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        check_integrity(new)


def check_integrity(connection: sqlite3.Connection) -> None:
    """Check every page and index. Raises sqlite3.DatabaseError if something is wrong."""
    result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if result != "ok":
        raise sqlite3.DatabaseError(" ".join(result.split()))
