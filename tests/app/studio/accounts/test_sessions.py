from __future__ import annotations

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.sessions import LOGIN_LASTS, MOST_LOGINS, Sessions


def test_a_login_outlives_a_restart_and_ends_where_it_is_closed(people, database):
    people.add("ann", "pear-tree")
    sessions = Sessions(database)
    one, other = sessions.open(people.find("ann")), sessions.open(people.find("ann"))
    again = Sessions(PeopleDatabase(database.file))
    assert again.find(one) == ("ann", people.find("ann").credential)
    again.close(one)
    assert sessions.find(one) is None and sessions.find(other) is not None, "the other one goes on"
    assert sessions.find("") is None and sessions.find("x" * 43) is None and sessions.find("\udcff") is None
    assert other.encode() not in database.file.read_bytes()


def test_logins_end(people, database):
    people.add("ann", "pear-tree")
    now = 1e9
    sessions = Sessions(database, clock=lambda: now)
    token = sessions.open(people.find("ann"))
    now += LOGIN_LASTS
    assert sessions.find(token) is not None
    now += 1
    assert sessions.find(token) is None


def test_a_person_has_so_many_logins_at_once(people, database):
    people.add("ann", "pear-tree")
    sessions = Sessions(database)
    tokens = [sessions.open(people.find("ann")) for _ in range(MOST_LOGINS + 2)]
    kept = [sessions.find(token) is not None for token in tokens]
    assert kept == [False, False] + [True] * MOST_LOGINS
