"""Tokens with which programs act for a person: shown once, stored as hashes, revocable."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.sessions import digest
from trainers.errors import VelaturaError

PREFIX = "velatura_"
"""Prefix by which scanners of published code find tokens."""
API, METRICS = "api", "metrics"
"""Scopes: the whole API, or only `/metrics`."""
MOST_TOKENS, MOST_LABEL, MOST_DAYS = 50, 60, 3650
DAY = 24 * 3600.0
USED_EVERY = 60.0
"""Minimum seconds between updates of a token's last use."""
COLUMNS = "id, name, label, scope, made, ends, used"


@dataclass(frozen=True)
class Token:
    """A token without its secret."""

    id: str
    owner: str
    label: str
    scope: str
    made: float
    ends: float
    """Unix seconds; 0 for never."""
    used: float
    """Last use in Unix seconds, to the minute; 0 for never."""


class Tokens:
    """The table of tokens; safe for many threads and processes."""

    def __init__(self, database: PeopleDatabase, clock: Callable[[], float] = time.time) -> None:
        self.database, self.clock = database, clock

    def make(self, owner: str, label: str, days: int = 0, scope: str = API) -> tuple[Token, str]:
        """Create a token of a person, valid for some days (0: until it is revoked); returns it and its secret.

        VelaturaError if the label or the days are invalid, or the person has too many tokens.
        """
        label = " ".join(label.split())
        if not label or len(label) > MOST_LABEL or not label.isprintable():
            raise VelaturaError("a token's name has 1 to {most} printable characters", most=MOST_LABEL)
        if not 0 <= days <= MOST_DAYS or scope not in (API, METRICS):
            raise VelaturaError("a token is valid for 1 to {most} days, or 0 for no end", most=MOST_DAYS)
        secret, now = PREFIX + secrets.token_urlsafe(32), self.clock()
        token = Token(secrets.token_hex(4), owner, label, scope, now, now + days * DAY if days else 0.0, 0.0)
        with self.database.change() as table:
            table.execute("DELETE FROM tokens WHERE ends > 0 AND ends < ?", (now - MOST_DAYS * DAY,))
            (count,) = table.execute("SELECT count(*) FROM tokens WHERE name = ?", (owner,)).fetchone()
            if count >= MOST_TOKENS:
                raise VelaturaError("you have {count} tokens, the most there may be; revoke one first", count=count)
            values = (token.id, owner, label, scope, token.made, token.ends, token.used, digest(secret))
            table.execute(f"INSERT INTO tokens ({COLUMNS}, token) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return token, secret

    def all(self, owner: str | None = None) -> list[Token]:
        """The tokens of a person, or of everybody, newest first, expired ones included."""
        with self.database.look() as table:
            query = f"SELECT {COLUMNS} FROM tokens WHERE ? IS NULL OR name = ? ORDER BY made DESC, rowid DESC"
            return [Token(*row) for row in table.execute(query, (owner, owner)).fetchall()]

    def revoke(self, id: str, owner: str | None = None) -> Token:
        """Revoke a token, with `owner` only one of theirs. Raises VelaturaError if it does not exist."""
        with self.database.change() as table:
            query = f"DELETE FROM tokens WHERE id = ? AND (? IS NULL OR name = ?) RETURNING {COLUMNS}"
            row = table.execute(query, (id, owner, owner)).fetchone()
        if row is None:
            raise VelaturaError("there is no token {id:.20}", id=id)
        return Token(*row)

    def find(self, secret: str) -> Token | None:
        """The valid token of this secret; records its use."""
        now = self.clock()
        query = f"SELECT {COLUMNS} FROM tokens WHERE token = ? AND (ends = 0 OR ends >= ?)"
        with self.database.look() as table:
            row = table.execute(query, (digest(secret), now)).fetchone()
        if row is None:
            return None
        token = Token(*row)
        if now >= token.used + USED_EVERY:
            with self.database.change() as table:
                table.execute("UPDATE tokens SET used = max(used, ?) WHERE id = ?", (now, token.id))
        return token
