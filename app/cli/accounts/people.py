"""Accounts from the command line: `velatura people`, and `velatura ui --add-person` and its like."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.common.console import print_table, say
from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import Limits
from app.jobs.permissions import MACHINE_OWNER
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.invitations import DAYS, Invitations, link_of
from app.studio.accounts.people import LEAST_PASSWORD, People, check_name, check_password, check_repeated, read_people
from app.units import counted
from trainers.errors import VelaturaError

SHOWN = 10
"""Number of accounts listed in an error."""


@contextmanager
def people_of(runs: Path) -> Iterator[People]:
    """The accounts of the studio that serves a folder of runs."""
    from app.studio.paths import Paths

    paths = Paths(runs)
    paths.make()
    database = PeopleDatabase(paths.people)
    try:
        yield People(database)
    finally:
        database.close()


def has_people(runs: Path) -> bool:
    """Whether there are accounts; creates no folder."""
    from app.studio.paths import Paths

    if not Paths(runs).people.exists():
        return False
    with people_of(runs) as people:
        return bool(people.all())


def check_person(runs: Path, name: str) -> str:
    """The normalised name. VelaturaError if there are accounts, but none of this name."""
    name = check_name(name)
    if has_people(runs):
        with people_of(runs) as people:
            if people.find(name) is None:
                known = ", ".join(person.name for person in people.all()[:SHOWN])
                raise VelaturaError("there is no account {name}; there are {known}", name=name, known=known)
    return name


def add_person(runs: Path, name: str) -> None:
    """Add an account or change its password, typed without echo or read from standard input."""
    name = check_name(name)
    password = ask_password(name)
    with people_of(runs) as people:
        is_new = people.add(name, password)
    AuditLog(runs).keep()
    AuditLog(runs).note("person_added" if is_new else "password", MACHINE_OWNER, name)
    say(f"{name} can log in" if is_new else f"{name} has a new password and is logged out everywhere")


def invite(runs: Path, name: str, role: str, studio: str) -> None:
    """Print the link of a new invitation on standard output."""
    with people_of(runs) as people:
        invitation, secret = Invitations(people.database).make(name, role)
    AuditLog(runs).note("invited", MACHINE_OWNER, invitation.name, role=role)
    say(f"send this link to {invitation.name}; it works once, for {DAYS} days, and is shown only now")
    if not studio:
        say("put the address of the studio before it, or name that with --studio")
    sys.stdout.write(f"{studio.rstrip('/')}/{link_of(secret)}\n")


def withdraw(runs: Path, name: str) -> None:
    """End an invitation."""
    with people_of(runs) as people:
        Invitations(people.database).withdraw(name)
    AuditLog(runs).note("invitation_withdrawn", MACHINE_OWNER, name)
    say(f"the invitation of {name} no longer works")


def remove_person(runs: Path, name: str) -> None:
    """Remove an account, its logins, tokens and limits."""
    from app.jobs.store import Store

    with people_of(runs) as people:
        people.remove(name)
    Limits(Store(runs).settings).forget(name)
    AuditLog(runs).note("person_removed", MACHINE_OWNER, name)
    say(f"{name} can no longer log in and is logged out everywhere")


def list_people(runs: Path) -> None:
    """Print the accounts."""
    import datetime

    with people_of(runs) as people:
        rows = [
            (person.name, person.role, f"{datetime.datetime.fromtimestamp(person.added):%Y-%m-%d}")
            for person in people.all()
        ]
    print_table(("name", "role", "since"), rows)


def import_people(runs: Path, file: Path) -> None:
    """Import accounts from a password file, hashed, so that the file can be deleted."""
    passwords = {check_name(name): password for name, password in read_people([], file).items()}  # all or none
    with people_of(runs) as people:
        for name, password in passwords.items():
            people.add(name, password, least=1)
    AuditLog(runs).keep()
    for name in passwords:
        AuditLog(runs).note("person_added", MACHINE_OWNER, name)
    say(f"{counted(len(passwords), 'account')} imported; the passwords are stored hashed, so you can delete {file}")


def ask_password(name: str) -> str:
    """The password, typed twice, or the first line of standard input if that is not a terminal."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password for {name} (at least {LEAST_PASSWORD} characters): ")
        check_repeated(password, getpass.getpass("Repeat the password: "))
    check_password(password)
    return password
