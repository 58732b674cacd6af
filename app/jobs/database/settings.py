"""Settings of a queue, as text by name."""

from __future__ import annotations

from app.jobs.database.database import Database


class QueueSettings:
    """The table of settings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exist(self) -> bool:
        """Whether there is a queue to keep them."""
        return self._database.path.exists()

    def get(self, name: str) -> str:
        """A setting; empty if it is not set. VelaturaError if there is no queue yet."""
        with self._database.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else ""

    def set(self, name: str, value: str) -> None:
        """Set a setting, or remove it if `value` is empty."""
        with self._database.writing() as db:
            if value:
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
            else:
                db.execute("DELETE FROM settings WHERE name = ?", (name,))
