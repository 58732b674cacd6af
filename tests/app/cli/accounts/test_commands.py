from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.accounts.people import people_of
from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import Limits
from app.jobs.store import Store
from app.studio.accounts.invitations import Invitations
from app.studio.accounts.tokens import Tokens
from tests.app.command import call


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A studio with two accounts, the first of which is an admin."""
    with people_of(tmp_path) as people:
        people.add("ann", "pear-tree")
        people.add("bob", "plum-tree")
    AuditLog(tmp_path).keep()
    return tmp_path


def rows(*words: object) -> Any:
    outcome = call(*words, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


def test_roles_and_limits(out: Path):
    assert call("people", "role", "bob", "admin", "--out", out).err == "bob is an admin now\n"
    call("people", "role", "ann", "member", "--out", out)
    assert "no admin now" in call("people", "role", "bob", "member", "--out", out).err
    assert "admin or member" in call("people", "role", "bob", "owner", "--out", out).err
    assert "there is no account eve" in call("people", "limit", "eve", "--waiting", 1, "--out", out).err
    assert rows("people", "limit", "bob", "--waiting", 2, "--storage", 20, "--out", out) == {
        "name": "bob",
        "waiting": 2,
        "storage": 20 * 10**9,
    }
    assert "everybody: 9 waiting trainings" in call("people", "limit", "--waiting", 9, "--out", out).err
    listed = {
        row["name"]: (row["role"], row["waiting"], row["storage"]) for row in rows("people", "list", "--out", out)
    }
    assert listed == {"ann": ("member", None, None), "bob": ("member", 2, 20 * 10**9)}
    assert "ann" in call("people", "--out", out).out
    assert rows("people", "limit", "bob", "--usual", "--out", out)["waiting"] == 9
    Limits(Store(out).settings).set("waiting", 3, "bob")
    assert call("people", "remove", "bob", "--out", out).code == 0
    assert Limits(Store(out).settings).waiting("bob") == 9, "his limit is gone with him"


def test_tokens_are_printed_once_and_revoked(out: Path):
    made = call("tokens", "add", "ann", "night script", "--days", 2, "--out", out)
    secret = made.out.strip()
    assert made.out == f"{secret}\n" and "shown only now" in made.err
    (token,) = rows("tokens", "list", "--out", out)
    assert (token["owner"], token["label"], token["scope"]) == ("ann", "night script", "api")
    assert secret not in json.dumps(token) and secret not in call("tokens", "--out", out).out
    assert "bob is no admin" in call("tokens", "add", "bob", "x", "--metrics", "--out", out).err
    assert "no account eve" in call("tokens", "add", "eve", "x", "--out", out).err
    assert "night script" in call("tokens", "revoke", token["id"], "--out", out).err
    assert "no token" in call("tokens", "revoke", token["id"], "--out", out).err
    with people_of(out) as people:
        assert Tokens(people.database).find(secret) is None
    assert secret not in AuditLog(out).file.read_text()


def test_the_audit_log_is_shown_filtered(out: Path):
    call("people", "role", "bob", "admin", "--out", out)
    call("people", "limit", "bob", "--waiting", 2, "--out", out)
    call("tokens", "add", "bob", "x", "--out", out)
    AuditLog(out).note("login_failed", None, address="10.0.0.1\x1b[2J")
    assert [line["what"] for line in rows("audit", "--out", out)] == ["login_failed", "token_made", "limit", "role"]
    assert [line["waiting"] for line in rows("audit", "--what", "limit", "--who", "", "--out", out)] == [2]
    assert rows("audit", "--about", "bob", "--last", 1, "--out", out)[0]["what"] == "limit"
    assert rows("audit", "--since", "9999", "--out", out) == []
    shown = call("audit", "--out", out).out
    assert "(unknown)" in shown and "(owner)" in shown and "\x1b[2J" not in shown


def test_people_are_invited_by_a_link_that_is_printed_once(out: Path):
    made = call("people", "invite", "eve", "--admin", "--studio", "https://studio.example/", "--out", out)
    address, _, secret = made.out.strip().partition("#")
    assert address == "https://studio.example/invitation" and "works once, for 7 days" in made.err
    (invitation,) = rows("people", "invitations", "--out", out)
    assert (invitation["name"], invitation["role"]) == ("eve", "admin") and secret not in json.dumps(invitation)
    assert "eve" in call("people", "invitations", "--out", out).out
    assert "there is already an account named bob" in call("people", "invite", "bob", "--out", out).err
    short = call("people", "invite", "eve", "--out", out)
    assert short.out.startswith("/invitation#") and "--studio" in short.err
    with people_of(out) as people:
        invitations = Invitations(people.database)
        assert invitations.find(secret) is None, "replaced"
        assert invitations.find(short.out.strip().partition("#")[2]) is not None
    assert "no longer works" in call("people", "withdraw", "eve", "--out", out).err
    assert "no open invitation" in call("people", "withdraw", "eve", "--out", out).err
    assert rows("people", "invitations", "--out", out) == []
    assert secret not in AuditLog(out).file.read_text()
    assert [line["what"] for line in AuditLog(out).lines()] == ["invitation_withdrawn", "invited", "invited"]


def test_the_first_account_is_not_invited(tmp_path: Path):
    assert "people add NAME" in call("people", "invite", "ann", "--out", tmp_path).err
