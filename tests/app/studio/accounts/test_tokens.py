from __future__ import annotations

import sqlite3
import stat

import pytest

from app.studio.accounts.database import FIRST, VERSION, PeopleDatabase
from app.studio.accounts.people import People
from app.studio.accounts.tokens import DAY, METRICS, MOST_TOKENS, PREFIX, Tokens
from trainers.errors import VelaturaError


def test_a_token_is_shown_once_and_kept_hashed(database):
    tokens = Tokens(database, clock=lambda: 1000.0)
    made, secret = tokens.make("ann", "  night   script ")
    assert secret.startswith(PREFIX) and len(secret) >= len(PREFIX) + 43, "256 bits"
    assert (made.owner, made.label, made.ends, made.used) == ("ann", "night script", 0.0, 0.0)
    assert tokens.find(secret) == made and tokens.all("ann")[0].used == 1000.0
    assert tokens.find(secret[:-1]) is None and tokens.find("") is None
    assert secret.encode() not in database.file.read_bytes()


def test_a_token_ends_by_its_day_and_when_it_is_revoked(database):
    now = [0.0]
    tokens = Tokens(database, clock=lambda: now[0])
    short, _ = tokens.make("ann", "short", days=2)
    _, secret = tokens.make("ann", "shorter", days=1)
    now[0] = DAY
    assert tokens.find(secret) is not None
    now[0] += 1
    assert tokens.find(secret) is None
    with pytest.raises(VelaturaError, match="no token"):
        tokens.revoke(short.id, owner="bob")
    assert tokens.revoke(short.id, owner="ann") == short
    assert [token.label for token in tokens.all()] == ["shorter"]


@pytest.mark.parametrize("label", ["", "  ", "x" * 61, "a\x1b[31m", "a\u202eb"])
def test_names_of_tokens_that_cannot_be(database, label):
    with pytest.raises(VelaturaError, match="printable"):
        Tokens(database).make("ann", label)


def test_there_is_an_end_to_tokens_and_to_days(database):
    tokens = Tokens(database)
    for days in (-1, 3651):
        with pytest.raises(VelaturaError, match="3650 days"):
            tokens.make("ann", "x", days)
    for number in range(MOST_TOKENS):
        tokens.make("ann", f"number {number}", scope=METRICS)
    with pytest.raises(VelaturaError, match="50 tokens"):
        tokens.make("ann", "one more")
    tokens.make("bob", "his first")


def test_who_is_taken_out_has_no_tokens(database, people):
    people.add("ann", "pear-tree")
    tokens = Tokens(database)
    _, secret = tokens.make("ann", "x")
    people.add("ann", "fig-tree-2")
    assert tokens.find(secret) is not None, "another password ends logins, and no programs"
    people.remove("ann")
    assert tokens.find(secret) is None and tokens.all() == []


def test_the_last_admin_stays_one(people):
    people.add("ann", "pear-tree")
    people.add("bob", "plum-tree")
    with pytest.raises(VelaturaError, match="ann is the only admin"):
        people.set_role("ann", "member")
    assert people.find("ann").role == "admin"
    people.set_role("bob", "admin")
    people.set_role("ann", "member")
    people.add("ann", "fig-tree-2")
    assert [(one.name, one.role) for one in people.all()] == [("ann", "member"), ("bob", "admin")]
    with pytest.raises(VelaturaError, match="no account eve"):
        people.set_role("eve", "admin")
    with pytest.raises(VelaturaError, match="admin or member"):
        people.set_role("ann", "owner")


def test_accounts_of_the_first_version_are_copied_and_the_first_person_is_an_admin(tmp_path):
    file = tmp_path / "people.db"
    old = sqlite3.connect(file, isolation_level=None)
    for statement in FIRST.split(";"):
        old.execute(statement)
    for name, added in (("zoe", 1.0), ("ann", 2.0)):
        row = (name, "scrypt$16384$8$5$YQ==$YQ==", added)
        old.execute("INSERT INTO people (name, password, added) VALUES (?, ?, ?)", row)
    old.execute("PRAGMA user_version = 1")
    old.close()
    again = People(PeopleDatabase(file))
    assert [(one.name, one.role) for one in again.all()] == [("ann", "member"), ("zoe", "admin")]
    copy = tmp_path / "people.version-1.backup.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as kept:
        assert kept.execute("PRAGMA user_version").fetchone() == (1,)
        assert kept.execute("SELECT count(*) FROM people WHERE role = 'admin'").fetchone() == (0,)
    assert VERSION == 4
    Tokens(PeopleDatabase(file)).make("ann", "x")


def test_a_new_account_does_not_get_the_tokens_of_who_had_its_name_before(database):
    _, secret = Tokens(database).make("ann", "of an Ann with --auth")
    people = People(database)
    people.add("ann", "pear-tree")
    assert Tokens(database).find(secret) is None
    _, secret = Tokens(database).make("ann", "her own")
    people.add("ann", "plum-tree")
    assert Tokens(database).find(secret) is not None
