"""Invitations: links with which people choose their own password. Each works once, for a week, until withdrawn."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.jobs.permissions import MEMBER
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.passwords import hash_password
from app.studio.accounts.people import check_name, check_password, check_role, insert_person
from app.studio.accounts.sessions import digest
from trainers.errors import VelaturaError

DAYS = 7
"""Days for which an invitation works."""
MOST = 100
COLUMNS = "name, role, ends"


@dataclass(frozen=True)
class Invitation:
    """An open invitation without its secret."""

    name: str
    role: str
    ends: float
    """Unix seconds."""


class Invitations:
    """The table of invitations, one for a name, which stores hashes of their secrets."""

    def __init__(self, database: PeopleDatabase, clock: Callable[[], float] = time.time) -> None:
        self.database, self.clock = database, clock

    def make(self, name: str, role: str = MEMBER, inviter: str = "") -> tuple[Invitation, str]:
        """Invite somebody, instead of any earlier invitation of that name; returns it and its secret.

        It ends when the inviter is no longer an admin; "" stands for the owner of the machine.
        VelaturaError if the name is invalid or has an account, or if nobody is an admin yet.
        """
        name, secret, now = check_name(name), secrets.token_urlsafe(32), self.clock()
        check_role(role)
        invitation = Invitation(name, role, now + DAYS * 24 * 3600)
        with self.database.change() as table:
            if not table.execute("SELECT 1 FROM people").fetchone():
                raise VelaturaError("the first account is added with `velatura people add NAME`; then invite others")
            if table.execute("SELECT 1 FROM people WHERE name = ?", (name,)).fetchone():
                raise taken(name)
            table.execute("DELETE FROM invitations WHERE ends < ? OR name = ?", (now, name))
            (count,) = table.execute("SELECT count(*) FROM invitations").fetchone()
            if count >= MOST:
                raise VelaturaError("{count} invitations are open, the most there may be; withdraw one", count=count)
            row = (name, role, invitation.ends, digest(secret), inviter)
            table.execute(f"INSERT INTO invitations ({COLUMNS}, token, inviter) VALUES (?, ?, ?, ?, ?)", row)
        return invitation, secret

    def all(self) -> list[Invitation]:
        """The open invitations by name."""
        with self.database.look() as table:
            query = f"SELECT {COLUMNS} FROM invitations WHERE ends >= ? ORDER BY name"
            return [Invitation(*row) for row in table.execute(query, (self.clock(),))]

    def find(self, secret: str) -> Invitation | None:
        """The open invitation of this secret; None if it is wrong, used, withdrawn or too old."""
        with self.database.look() as table:
            query = f"SELECT {COLUMNS} FROM invitations WHERE token = ? AND ends >= ?"
            row = table.execute(query, (digest(secret), self.clock())).fetchone()
        return Invitation(*row) if row else None

    def accept(self, secret: str, password: str) -> Invitation | None:
        """Add the invited person with their password, which ends the invitation; None as for `find`.

        VelaturaError if the password is invalid or the name has an account by now.
        """
        check_password(password)
        if self.find(secret) is None:  # before the costly hash
            return None
        hashed = str(hash_password(password))
        with self.database.change() as table:
            query = f"DELETE FROM invitations WHERE token = ? AND ends >= ? RETURNING {COLUMNS}"
            row = table.execute(query, (digest(secret), self.clock())).fetchone()
            if row is None:
                return None
            invitation = Invitation(*row)
            if table.execute("SELECT 1 FROM people WHERE name = ?", (invitation.name,)).fetchone():
                raise taken(invitation.name)
            insert_person(table, invitation.name, hashed, invitation.role)
        return invitation

    def withdraw(self, name: str) -> None:
        """End an invitation. VelaturaError if nobody of this name is invited."""
        with self.database.change() as table:
            if not table.execute("DELETE FROM invitations WHERE name = ?", (name,)).rowcount:
                raise VelaturaError("{name} has no open invitation", name=name)


def link_of(secret: str) -> str:
    """The link below the studio's address. A fragment reaches no server, so neither logs nor other sites see it."""
    return f"invitation#{secret}"


def taken(name: str) -> VelaturaError:
    """The error of inviting somebody who has an account."""
    return VelaturaError("there is already an account named {name}", name=name)
