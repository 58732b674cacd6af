"""Invitations: each works once, for a week, until it is withdrawn, and only a hash of its secret is stored."""

from __future__ import annotations

import pytest

from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.invitations import DAYS, MOST, Invitations, link_of
from app.studio.accounts.people import People
from app.studio.accounts.tokens import Tokens
from trainers.errors import VelaturaError


@pytest.fixture
def invitations(database: PeopleDatabase, people: People) -> Invitations:
    people.add("ann", "pear-tree")
    return Invitations(database)


def test_an_invited_person_chooses_a_password_once(invitations: Invitations, people: People):
    made, secret = invitations.make(" bob ", "admin")
    assert (made.name, made.role) == ("bob", "admin") and len(secret) >= 43, "256 bits"
    assert link_of(secret) == f"invitation#{secret}"
    assert secret.encode() not in invitations.database.file.read_bytes()
    assert invitations.find(secret) == made and invitations.all() == [made]
    with pytest.raises(VelaturaError, match="8 to 200 characters"):
        invitations.accept(secret, "short")
    assert invitations.accept(secret, "plum-tree") == made
    bob = people.find("bob")
    assert bob is not None and bob.role == "admin" and bob.password.matches("plum-tree")
    assert invitations.find(secret) is None and invitations.accept(secret, "other-tree") is None
    assert people.find("bob") == bob and invitations.all() == []


def test_an_invitation_ends_after_a_week_and_when_it_is_withdrawn(database: PeopleDatabase, people: People):
    people.add("ann", "pear-tree")
    now = [0.0]
    invitations = Invitations(database, clock=lambda: now[0])
    _, old = invitations.make("bob")
    now[0] = DAYS * 24 * 3600
    assert invitations.find(old) is not None
    now[0] += 1
    assert invitations.find(old) is None and invitations.accept(old, "plum-tree") is None and invitations.all() == []
    _, secret = invitations.make("bob")
    invitations.withdraw("bob")
    assert invitations.find(secret) is None and invitations.accept(secret, "plum-tree") is None
    with pytest.raises(VelaturaError, match="bob has no open invitation"):
        invitations.withdraw("bob")
    assert people.find("bob") is None


def test_a_new_link_for_a_name_replaces_the_one_before(invitations: Invitations):
    _, lost = invitations.make("bob", "admin")
    made, secret = invitations.make("bob")
    assert invitations.find(lost) is None and invitations.find(secret) == made and made.role == "member"


def test_an_account_that_was_added_otherwise_ends_the_invitation(invitations: Invitations, people: People):
    _, secret = invitations.make("bob")
    people.add("bob", "plum-tree")
    assert invitations.accept(secret, "other-tree") is None
    bob = people.find("bob")
    assert bob is not None and bob.password.matches("plum-tree")
    with pytest.raises(VelaturaError, match="there is already an account named bob"):
        invitations.make("bob")


@pytest.mark.parametrize("end", [People.remove, lambda people, name: people.set_role(name, "member")])
def test_an_invitation_does_not_outlive_its_inviters_rights(invitations: Invitations, people: People, end):
    people.add("eve", "fig-tree-2", "admin")
    _, secret = invitations.make("mallory", "admin", "eve")
    _, other = invitations.make("bob", "member", "ann")
    end(people, "eve")
    assert invitations.accept(secret, "plum-tree") is None and people.find("mallory") is None
    assert invitations.accept(other, "plum-tree") is not None


def test_what_cannot_be_invited(invitations: Invitations):
    for name in ("", "a:b", "x" * 101, "a\x1b"):
        with pytest.raises(VelaturaError, match="printable"):
            invitations.make(name)
    with pytest.raises(VelaturaError, match="admin or member"):
        invitations.make("bob", "owner")
    for secret in ("", "x", "\ud800"):
        assert invitations.find(secret) is None
    for number in range(MOST):
        invitations.make(f"number {number}")
    with pytest.raises(VelaturaError, match="100 invitations"):
        invitations.make("one more")


def test_the_first_account_is_not_invited(database: PeopleDatabase):
    with pytest.raises(VelaturaError, match="velatura people add"):
        Invitations(database).make("ann", "admin")


def test_an_invited_person_has_nothing_of_a_temporary_account(invitations: Invitations):
    _, token = Tokens(invitations.database).make("bob", "of a Bob with --auth")
    _, secret = invitations.make("bob")
    invitations.accept(secret, "plum-tree")
    assert Tokens(invitations.database).find(token) is None
