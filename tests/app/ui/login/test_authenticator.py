from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.studio.accounts.attempts import Attempts
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.invitations import Invitations
from app.studio.accounts.people import People
from app.studio.accounts.sessions import Sessions
from app.ui.login.authenticator import Authenticator, check_given
from trainers.errors import VelaturaError

SECRET = bytes(range(32))
HOME, AWAY = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def database(tmp_path: Path) -> PeopleDatabase:
    return PeopleDatabase(tmp_path / "people.db")


def opened(database: PeopleDatabase, given: dict[str, str] | None = None, secret: bytes = SECRET) -> Authenticator:
    attempts = Attempts(clock=lambda: 0.0)  # waits do not pass while a test is busy
    return Authenticator(People(database), Sessions(database), secret, given, attempts)


def test_people_of_the_table_and_of_the_command_line_log_in(database):
    People(database).add("ann", "pear-tree")
    door = opened(database, {"bob": "x"})
    for name, password in (("ann", "pear-tree"), ("bob", "x")):
        login = door.log_in(name, password, HOME)
        assert login and door.name_of(login.token) == name
        assert opened(database, {"bob": "x"}).name_of(login.token) == name, "it outlives a restart"
    assert door.log_in("bob", "pear-tree", AWAY) is None and door.log_in("eve", "", AWAY) is None
    assert not door.open and opened(PeopleDatabase(database.file.with_name("none.db"))).open


def test_an_invitation_for_a_name_of_the_command_line_adds_nobody(database):
    """Whoever has that password would have the invitation's role."""
    people = People(database)
    people.add("ann", "pear-tree")
    _, secret = Invitations(database).make("bob", "admin")
    door = opened(database, {"bob": "x"})
    with pytest.raises(VelaturaError, match="there is already an account named bob"):
        door.accept(secret, "plum-tree")
    assert people.find("bob") is None and door.role_of("bob") == "member"
    assert opened(database).accept(secret, "plum-tree") is not None


def test_another_password_ends_the_logins(database):
    people = People(database)
    people.add("ann", "pear-tree")
    door = opened(database, {"bob": "x"})
    ann, bob = door.log_in("ann", "pear-tree", HOME), door.log_in("bob", "x", HOME)
    people.add("ann", "pear-tree")
    assert door.name_of(ann.token) is None
    assert opened(database, {"bob": "y"}).name_of(bob.token) is None
    assert opened(database).name_of(bob.token) is None, "who is no longer named may no longer come in"
    assert opened(database, {"bob": "x"}, bytes(32)).name_of(bob.token) is None


def test_logging_out_ends_that_login_alone(database):
    door = opened(database, {"ann": "x"})
    here, there = door.log_in("ann", "x", HOME), door.log_in("ann", "x", AWAY)
    door.log_out(here.token)
    assert door.name_of(here.token) is None and door.name_of(there.token) == "ann"


def test_a_known_device_gets_in_while_others_guess(database):
    door = opened(database, {"ann": "x", "bob": "y"})
    device = door.log_in("ann", "x", HOME).device
    for _ in range(3):
        door.log_in("ann", "wrong", HOME)
    assert door.wait("ann", HOME) > 0 and door.log_in("ann", "x", HOME) is None, "not looked at during the wait"
    assert door.wait("ann", HOME, device) == 0 and door.log_in("ann", "x", HOME, device)
    assert door.wait("ann", AWAY) == 0 and door.log_in("ann", "x", AWAY)
    other = "B=" if device.endswith("A=") else "A="
    for forged in ("", ".", "x.y", device[:-2] + other, device.replace(".", "x.", 1), "\udcff.x"):
        assert door.wait("ann", HOME, forged) > 0, forged
    assert door.log_in("bob", "no", HOME) is None and door.wait("bob", HOME, device) > 0, "ann's device is not bob's"


def test_guesses_at_the_same_time_are_counted_too(database):
    door = opened(database, {"ann": "x"})
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: door.log_in("ann", f"guess {number}", HOME), range(8)))
    assert found == [None] * 8 and door.wait("ann", HOME) <= 0.5, "one was looked at, the others came too early"


def test_one_person_has_one_password(database):
    People(database).add("ann", "pear-tree")
    check_given(People(database), {"ann": "pear-tree", "bob": "x"})
    with pytest.raises(VelaturaError, match="ann has an account with another password") as refused:
        check_given(People(database), {"ann": "secret-one"})
    assert "secret-one" not in str(refused.value)
