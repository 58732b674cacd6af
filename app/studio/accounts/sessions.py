"""Login sessions: valid until logout, expiry or a password change."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import Person

LOGIN_LASTS = 30 * 24 * 3600
MOST_LOGINS = 100
"""Maximum concurrent logins per person; the oldest end first."""


class Sessions:
    """The table of sessions. It stores hashes of tokens, so that a stolen file gives no access."""

    def __init__(self, database: PeopleDatabase, clock: Callable[[], float] = time.time) -> None:
        self.database, self.clock = database, clock

    def open(self, person: Person) -> str:
        """Log a person in and return the token for the cookie."""
        token = secrets.token_urlsafe(32)
        now = self.clock()
        with self.database.change() as table:
            table.execute("DELETE FROM sessions WHERE ends < ?", (now,))
            table.execute(
                "INSERT INTO sessions (token, name, credential, opened, ends) VALUES (?, ?, ?, ?, ?)",
                (digest(token), person.name, person.credential, now, now + LOGIN_LASTS),
            )
            table.execute(
                "DELETE FROM sessions WHERE name = ? AND token NOT IN "
                "(SELECT token FROM sessions WHERE name = ? ORDER BY opened DESC, rowid DESC LIMIT ?)",
                (person.name, person.name, MOST_LOGINS),
            )
        return token

    def close(self, token: str) -> None:
        """End a login; other logins of the person stay."""
        with self.database.change() as table:
            table.execute("DELETE FROM sessions WHERE token = ?", (digest(token),))

    def find(self, token: str) -> tuple[str, bytes] | None:
        """A login's person and credential; None if it is unknown or has ended."""
        if not token:
            return None
        query = "SELECT name, credential FROM sessions WHERE token = ? AND ends >= ?"
        with self.database.look() as table:
            row = table.execute(query, (digest(token), self.clock())).fetchone()
        return (str(row[0]), bytes(row[1])) if row else None


def digest(token: str) -> bytes:
    """The stored hash of a random token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
