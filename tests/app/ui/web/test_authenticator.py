from __future__ import annotations

import pytest

from app.ui.web.authenticator import LOCKED_FOR, WRONG_BEFORE_LOCK, Authenticator, read_people
from trainers.errors import VelaturaError

SECRET = bytes(range(32))


def test_logins_end(monkeypatch):
    door = Authenticator({"ann": "pear:tree"}, SECRET)
    login = door.sign("ann")
    assert door.name_of(login) == "ann"
    monkeypatch.setattr("app.ui.web.authenticator.time.time", lambda: 4e9)
    assert door.name_of(login) is None


def test_guessing_is_slowed_down_and_ends():
    now = 0.0
    door = Authenticator({"ann": "right"}, SECRET, clock=lambda: now)
    waits = []
    for _ in range(WRONG_BEFORE_LOCK):
        assert not door.admit("ann", "wrong")
        waits.append(door.wait("ann"))
        assert not door.admit("ann", "right"), "what comes during the wait is not looked at"
        now += waits[-1]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, LOCKED_FOR]
    assert door.admit("ann", "right") and door.wait("ann") == 0
    assert not door.admit("eve", "") and door.wait("eve") > 0, "of unknown names as of known ones"


def test_people(tmp_path):
    file = tmp_path / "people.txt"
    file.write_text("# who works here\nann:pear:tree\n\nbob:x\n")
    assert read_people(["eve:1"], file) == {"eve": "1", "ann": "pear:tree", "bob": "x"}
    for text, words in (("ann", "line 1"), ("a:b\n:x", "line 2"), ("#\n", "names nobody")):
        file.write_text(text)
        with pytest.raises(VelaturaError, match=words):
            read_people([], file)
    with pytest.raises(VelaturaError, match="cannot be read"):
        read_people([], tmp_path / "none")
    with pytest.raises(VelaturaError) as refused:
        read_people(["ann:" + "secret" * 99], None)
    assert "secret" not in str(refused.value)
