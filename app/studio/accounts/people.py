"""The accounts of a studio: names, hashed passwords and roles, in a table that survives restarts."""

from __future__ import annotations

import hashlib
import sqlite3
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs.permissions import ADMIN, MEMBER
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.passwords import PasswordHash, hash_password, parse_hash
from trainers.errors import VelaturaError
from trainers.messages import Message as _

MOST_NAME, MOST_PASSWORD = 100, 200
LEAST_PASSWORD = 8
KEY, PROGRAM = "user:", "program:"
"""Prefixes of storage keys of people and programs, such as for drafts."""


@dataclass(frozen=True)
class Person:
    """A person with an account."""

    name: str
    password: PasswordHash
    role: str = MEMBER
    added: float = 0.0

    @property
    def credential(self) -> bytes:
        """The credential of a login: setting a password, even the same one, ends it."""
        return hashlib.sha256(str(self.password).encode()).digest()


class People:
    """The table of accounts; safe for many threads and processes."""

    def __init__(self, database: PeopleDatabase) -> None:
        self.database = database

    def add(self, name: str, password: str, role: str | None = None, least: int = LEAST_PASSWORD) -> bool:
        """Add a person, or set a new password, which ends earlier logins; returns whether the person is new.

        Without a `role`, the first person becomes an admin and later ones members; known people keep their role. Raises
        VelaturaError if the name or the password is invalid.
        """
        name = check_name(name)
        check_password(password, least)
        hashed = str(hash_password(password))
        with self.database.change() as table:
            known = table.execute("SELECT 1 FROM people WHERE name = ?", (name,)).fetchone()
            if known is None:
                if role is None:
                    role = MEMBER if table.execute("SELECT 1 FROM people").fetchone() else ADMIN
                insert_person(table, name, hashed, role)
            else:
                _set_password(table, name, hashed)
        return known is None

    def change_password(self, name: str, password: str) -> None:
        """Set another password, which ends all logins. VelaturaError if it is invalid or there is no such account."""
        check_password(password)
        hashed = str(hash_password(password))
        with self.database.change() as table:
            if not _set_password(table, name, hashed):
                raise no_account(name)

    def remove(self, name: str) -> None:
        """Remove a person, their logins, tokens and invitations. VelaturaError if there is no account of this name."""
        with self.database.change() as table:
            if not table.execute("DELETE FROM people WHERE name = ?", (name,)).rowcount:
                raise no_account(name)
            table.execute("DELETE FROM sessions WHERE name = ?", (name,))
            table.execute("DELETE FROM tokens WHERE name = ?", (name,))
            table.execute("DELETE FROM invitations WHERE inviter = ?", (name,))

    def set_role(self, name: str, role: str, keep_one: bool = True) -> None:
        """Make a person an admin, or a member, which ends their invitations.

        VelaturaError for the last admin with `keep_one`.
        """
        check_role(role)
        with self.database.change() as table:
            if not table.execute("SELECT 1 FROM people WHERE name = ?", (name,)).fetchone():
                raise no_account(name)
            table.execute("UPDATE people SET role = ? WHERE name = ?", (role, name))
            if keep_one and not table.execute("SELECT 1 FROM people WHERE role = ?", (ADMIN,)).fetchone():
                raise VelaturaError("{name} is the only admin; make somebody else an admin first", name=name)
            if role != ADMIN:
                table.execute("DELETE FROM invitations WHERE inviter = ?", (name,))

    def find(self, name: str) -> Person | None:
        """The person of this name."""
        with self.database.look() as table:
            row = table.execute("SELECT name, password, role, added FROM people WHERE name = ?", (name,)).fetchone()
        return _person(*row) if row else None

    def all(self) -> list[Person]:
        """All accounts, by name."""
        with self.database.look() as table:
            rows = table.execute("SELECT name, password, role, added FROM people ORDER BY name").fetchall()
        return [_person(*row) for row in rows]


def insert_person(table: sqlite3.Connection, name: str, hashed: str, role: str) -> None:
    """Add a person's row within a transaction; nothing of a temporary account (`--auth`) of this name is theirs."""
    row = (name, hashed, role, time.time())
    table.execute("INSERT INTO people (name, password, role, added) VALUES (?, ?, ?, ?)", row)
    for kept in ("sessions", "tokens", "invitations"):
        table.execute(f"DELETE FROM {kept} WHERE name = ?", (name,))


def _set_password(table: sqlite3.Connection, name: str, hashed: str) -> bool:
    changed = table.execute("UPDATE people SET password = ? WHERE name = ?", (hashed, name)).rowcount
    table.execute("DELETE FROM sessions WHERE name = ?", (name,))
    return changed > 0


def no_account(name: str) -> VelaturaError:
    """The error for a name that no account has."""
    return VelaturaError("there is no account {name}", name=name)


def _person(name: str, password: str, role: str, added: float) -> Person:
    try:
        return Person(name, parse_hash(password), role, added)
    except ValueError as error:
        raise VelaturaError(
            "the password of {name} cannot be read; set a new one with `velatura people add {name}`", name=name
        ) from error


def key_of_login(login: str) -> str:
    """The storage key of a login."""
    return f"{KEY}{login}"


def key_of_program(name: str, login: str = "") -> str:
    """The storage key of a program's `name`, within its login if it has one."""
    return f"{PROGRAM}{login}:{name}" if login else f"{PROGRAM}{name}"


def login_of_key(key: str) -> str:
    """The login of a storage key; empty for browsers and programs without a login."""
    if key.startswith(KEY):
        return key.removeprefix(KEY)
    login, colon, _ = key.removeprefix(PROGRAM).partition(":")
    return login if colon and key.startswith(PROGRAM) else ""


def plain_name(name: str) -> str:
    """A name in normal form, in which é is one character."""
    return unicodedata.normalize("NFC", name).strip()


def check_name(name: str) -> str:
    """The normalised name. VelaturaError if it is invalid."""
    name = plain_name(name)
    if not name or len(name) > MOST_NAME or ":" in name or not name.isprintable():
        raise VelaturaError(
            "a name has 1 to {most_name} printable characters without a colon; found {name!r:.120}",
            most_name=MOST_NAME,
            name=name,
        )
    return name


def check_password(password: str, least: int = LEAST_PASSWORD) -> None:
    """Raise VelaturaError if a password is invalid, without repeating it."""
    if not least <= len(password) <= MOST_PASSWORD:
        raise VelaturaError(
            "a password has {least} to {most_password} characters; this one has {count}",
            least=least,
            most_password=MOST_PASSWORD,
            count=len(password),
        )


def check_role(role: str) -> None:
    """Raise VelaturaError if there is no such role."""
    if role not in (ADMIN, MEMBER):
        raise VelaturaError("a role is admin or member, not {role!r:.40}", role=role)


def check_repeated(password: str, again: str) -> None:
    """Raise VelaturaError if a password that was typed twice differs."""
    if password != again:
        raise VelaturaError("the two passwords differ; nothing was changed")


def read_people(pairs: Sequence[str], file: Path | None) -> dict[str, str]:
    """Passwords by name from `user:password` texts and from a file with one a line (`#` begins a comment).

    VelaturaError names an invalid line, without repeating a password.
    """
    lines = [("--auth", pair) for pair in pairs]
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise VelaturaError("the password file {file} cannot be read: {error}", file=file, error=error) from error
        rows = enumerate(text.splitlines(), 1)
        lines += [
            (_("line {number} of {file}", number=number, file=file), row)
            for number, row in rows
            if row.strip() and row[0] != "#"
        ]
    people = {}
    for where, line in lines:
        name, colon, password = line.strip().partition(":")
        name = plain_name(name)
        if not colon or not name or not password or len(name) > MOST_NAME or len(password) > MOST_PASSWORD:
            raise VelaturaError(
                "{where} is not user:password (a name of up to {most_name} and a password of up to "
                "{most_password} characters)",
                where=where,
                most_name=MOST_NAME,
                most_password=MOST_PASSWORD,
            )
        people[name] = password
    if file is not None and not people:
        raise VelaturaError("the password file {file} is empty; write user:password, one per line", file=file)
    return people
