from __future__ import annotations

import sqlite3
import stat

import pytest

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People, read_people
from app.studio.accounts.sessions import Sessions
from trainers.errors import VelaturaError


def test_people_are_kept_hashed_and_outlive_a_restart(people, database):
    assert people.add("ann", "pear-tree") and people.add("bob", "plum-tree")
    assert not people.add("ann", "fig-tree-2"), "known already"
    again = People(PeopleDatabase(database.file))
    assert [(one.name, one.role) for one in again.all()] == [("ann", "admin"), ("bob", "member")], "as the first"
    ann = again.find("ann")
    assert ann and ann.password.matches("fig-tree-2") and not ann.password.matches("pear-tree")
    assert again.find("eve") is None
    content = database.file.read_bytes()
    assert b"fig-tree" not in content and b"plum" not in content and b"scrypt$16$8$5$" in content
    assert stat.S_IMODE(database.file.stat().st_mode) == 0o600


def test_who_is_taken_out_is_logged_out(people, database):
    people.add("ann", "pear-tree")
    sessions = Sessions(database)
    token = sessions.open(people.find("ann"))
    people.remove("ann")
    assert people.all() == [] and sessions.find(token) is None
    with pytest.raises(VelaturaError, match="no account ann"):
        people.remove("ann")


@pytest.mark.parametrize("name", ["", " ", "a:b", "x" * 101, "a\nb", "\u202eann"])
def test_names_that_cannot_be(people, name):
    with pytest.raises(VelaturaError, match="printable characters"):
        people.add(name, "long-enough")
    assert people.all() == []


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_passwords_that_cannot_be_are_not_repeated(people, password):
    with pytest.raises(VelaturaError, match="8 to 200 characters") as refused:
        people.add("ann", password)
    assert not password or password not in str(refused.value)


def test_a_damaged_table_is_said(tmp_path):
    file = tmp_path / "people.db"
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(VelaturaError, match="cannot be used: file is not a database; restore a backup"):
        PeopleDatabase(file)
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(VelaturaError, match="newer Velatura"):
        PeopleDatabase(tmp_path / "newer.db")


def test_people_of_a_file_and_of_the_command_line(tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("# who works here\nann:pear:tree\n\nbob:x\n")
    assert read_people(["eve:1"], file) == {"eve": "1", "ann": "pear:tree", "bob": "x"}
    for text, words in (("ann", "line 1"), ("a:b\n:x", "line 2"), ("#\n", "is empty")):
        file.write_text(text)
        with pytest.raises(VelaturaError, match=words):
            read_people([], file)
    with pytest.raises(VelaturaError, match="cannot be read"):
        read_people([], tmp_path / "none")
    with pytest.raises(VelaturaError) as refused:
        read_people(["ann:" + "secret" * 99], None)
    assert "secret" not in str(refused.value)
