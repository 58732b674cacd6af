"""`velatura ui --add-person` and its like: the table of people, from the command line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.common.console import print_table, say
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import LEAST_PASSWORD, People, check_name, check_password, read_people
from trainers.errors import VelaturaError

SHOWN = 10
"""People who are named where a name is wrong."""


@contextmanager
def people_of(runs: Path) -> Iterator[People]:
    """The table of people of the studio whose runs are in a folder."""
    from app.studio.paths import Paths

    paths = Paths(runs)
    paths.make()
    database = PeopleDatabase(paths.people)
    try:
        yield People(database)
    finally:
        database.close()


def has_people(runs: Path) -> bool:
    """Whether anybody is in the table; makes no folder where there is no studio yet."""
    from app.studio.paths import Paths

    if not Paths(runs).people.exists():
        return False
    with people_of(runs) as people:
        return bool(people.all())


def check_person(runs: Path, name: str) -> str:
    """The name as it is kept. VelaturaError where others are in the table and nobody of this name is."""
    name = check_name(name)
    if has_people(runs):
        with people_of(runs) as people:
            if people.find(name) is None:
                known = ", ".join(one.name for one in people.all()[:SHOWN])
                raise VelaturaError(f"there is nobody called {name} in the table of people; there is {known}")
    return name


def add_person(runs: Path, name: str) -> None:
    """Add a person or change a password, which is asked for without echo, or read from standard input."""
    name = check_name(name)
    password = ask_password(name)
    with people_of(runs) as people:
        is_new = people.add(name, password)
    say(f"{name} may log in" if is_new else f"{name} has a new password, and is logged out everywhere")


def remove_person(runs: Path, name: str) -> None:
    """Take a person out and end their logins."""
    with people_of(runs) as people:
        people.remove(name)
    say(f"{name} may no longer log in, and is logged out everywhere")


def list_people(runs: Path) -> None:
    """Print who may log in."""
    import datetime

    with people_of(runs) as people:
        rows = [(one.name, one.role, f"{datetime.datetime.fromtimestamp(one.added):%Y-%m-%d}") for one in people.all()]
    print_table(("name", "role", "since"), rows)


def import_people(runs: Path, file: Path) -> None:
    """Take the people of a password file into the table, hashed, so that the file can be deleted."""
    given = {check_name(name): password for name, password in read_people([], file).items()}  # all or none
    with people_of(runs) as people:
        for name, password in given.items():
            people.add(name, password, least=1)
    say(f"{len(given)} people may log in; their passwords are kept hashed, so {file} can be deleted")


def ask_password(name: str) -> str:
    """The password that somebody types twice, or the first line of standard input where that is no terminal."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password for {name} ({LEAST_PASSWORD} characters or more): ")
        if getpass.getpass("The same once more: ") != password:
            raise VelaturaError("the two passwords differ; nothing was changed")
    check_password(password)
    return password
