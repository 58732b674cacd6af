"""The table of people: a change is made or it is not, whatever the disk refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from app.studio.accounts.database import MIGRATIONS, PeopleDatabase
from app.studio.accounts.invitations import Invitations
from app.studio.accounts.people import People
from app.studio.accounts.sessions import Sessions
from tests.faults import small_files
from trainers.errors import VelaturaError


@pytest.mark.parametrize("what", ["password", "remove", "log in"])
def test_a_disk_that_refuses_any_write_leaves_the_table_of_people_and_it_goes_on(what, tmp_path):
    database = PeopleDatabase(tmp_path / "people.db")
    people, sessions = People(database), Sessions(database)
    people.add("ann", "pear-tree")
    ann = people.find("ann")
    assert ann is not None
    sessions.open(ann)
    acts: dict[str, Callable[[], object]] = {
        "password": lambda: people.add("ann", "fig-tree-2"),
        "remove": lambda: people.remove("ann"),
        "log in": lambda: sessions.open(ann),
    }

    def look() -> tuple[list[Any], int]:
        with database.look() as table:
            assert table.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return people.all(), table.execute("SELECT count(*) FROM sessions").fetchone()[0]

    old, refused = look(), 0
    for size in range(0, 80_000, 8000):
        try:
            with small_files(size):
                acts[what]()
        except VelaturaError as error:
            assert "the accounts in" in str(error) and look() == old, size
            refused += 1
        else:
            break
    assert refused > 1 and look() != old
    assert people.add("eve", "walnut-tree")
    database.close()


def test_invitations_of_an_earlier_version_go_on(tmp_path):
    with sqlite3.connect(file := tmp_path / "people.db") as table:
        for step in MIGRATIONS[:3]:
            table.executescript(step)
        table.execute("INSERT INTO invitations VALUES ('bob', x'00', 'member', 9e9)")
        table.execute("PRAGMA user_version = 3")
    table.close()
    database = PeopleDatabase(file)
    assert [invitation.name for invitation in Invitations(database).all()] == ["bob"]
    assert (tmp_path / "people.version-3.backup.db").exists()
    database.close()
