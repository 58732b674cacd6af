"""Upload volume per sender in the last 24 hours, which a shared studio limits."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.studio.accounts.database import PeopleDatabase

HOUR, HOURS = 3600, 24
SHARE = 8 * 2**30
"""Bytes that one sender may upload in 24 hours."""


class Received:
    """A table of uploaded bytes by sender and hour."""

    def __init__(self, database: PeopleDatabase, share: int = SHARE, clock: Callable[[], float] = time.time) -> None:
        self.database, self.share, self.clock = database, share, clock

    def left(self, sender: str) -> int:
        """Bytes that a sender may still upload."""
        with self.database.look() as table:
            query = "SELECT coalesce(sum(bytes), 0) FROM received WHERE sender = ? AND hour > ?"
            (used,) = table.execute(query, (sender, self._hour() - HOURS)).fetchone()
        return max(0, self.share - int(used))

    def add(self, sender: str, size: int) -> None:
        """Record an upload, even if it is not stored."""
        with self.database.change() as table:
            table.execute("DELETE FROM received WHERE hour <= ?", (self._hour() - HOURS,))
            table.execute(
                "INSERT INTO received (sender, hour, bytes) VALUES (?, ?, ?) "
                "ON CONFLICT (sender, hour) DO UPDATE SET bytes = bytes + excluded.bytes",
                (sender, self._hour(), size),
            )

    def _hour(self) -> int:
        return int(self.clock()) // HOUR
