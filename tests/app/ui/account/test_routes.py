"""The Account page over HTTP, behind the checks that matter: origins, routes, login."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from app.jobs.accounts.audit import AuditLog
from app.jobs.accounts.limits import Limits
from app.jobs.store import Store
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People
from app.studio.accounts.sessions import Sessions
from app.studio.accounts.tokens import PREFIX, Tokens
from app.ui.account.routes import AccountRoute
from app.ui.login.authenticator import Authenticator
from app.ui.middleware.hosts import OriginsMiddleware
from app.ui.middleware.login import LOGIN, LoginMiddleware
from app.ui.middleware.routes import RoutesMiddleware
from tests.app.ui.asking import Answer, ask, posted

HERE = {"origin": "http://localhost:7860"}


class Shared:
    """A studio with an admin, Ann, and a member, Bob, both logged in."""

    def __init__(self, folder: Path) -> None:
        database = PeopleDatabase(folder / "people.db")
        self.people, self.tokens, sessions = People(database), Tokens(database), Sessions(database)
        self.limits, self.audit = Limits(Store(folder).settings), AuditLog(folder)
        self.audit.keep()
        self.people.add("ann", "pear-tree")
        self.people.add("bob", "plum-tree")
        self.cookies = {name: f"{LOGIN}={sessions.open(self.people.find(name))}" for name in ("ann", "bob")}
        app = Starlette(routes=AccountRoute(self.people, Store(folder)).routes())
        login = LoginMiddleware(app, Authenticator(self.people, sessions, bytes(32)), self.audit)
        self.stack = OriginsMiddleware(RoutesMiddleware(login))

    def get(self, who: str) -> Answer:
        return ask(self.stack, "/account", cookie=self.cookies[who], accept="text/html")

    def post(self, who: str, head: dict[str, str] = HERE, **fields: str) -> Answer:
        return ask(self.stack, "/account", **posted(**fields), cookie=self.cookies[who], **head)

    def notes(self) -> list[tuple[Any, ...]]:
        return [(line["who"], line["what"], line["about"], line.get("refused")) for line in self.audit.lines()]


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def test_a_token_is_made_shown_once_and_revoked(shared: Shared):
    made = shared.post("bob", act="make", label='night <script>alert("x")</script>', days="7")
    (secret,) = re.findall(rf"<code>({PREFIX}[\w-]+)</code>", made.text)
    assert made.status == 200 and "<script>alert" not in made.text and made.header("cache-control") == "no-store"
    token = shared.tokens.find(secret)
    assert token is not None and token.owner == "bob" and token.ends == token.made + 7 * 24 * 3600
    again = shared.get("bob").text
    assert secret not in again and "night &lt;script&gt;" in again
    assert "There is no token" in shared.post("bob", act="revoke", id="none").text
    assert "no longer works" in shared.post("bob", act="revoke", id=token.id).text
    assert shared.tokens.find(secret) is None
    assert [note[:2] for note in shared.notes()] == [("bob", "token_revoked"), ("bob", "token_made")]
    assert secret not in shared.audit.file.read_text()


def test_other_sites_and_tokens_make_no_tokens(shared: Shared):
    for head in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        assert shared.post("ann", head, act="make", label="x").status == 403
    _, secret = shared.tokens.make("ann", "script")
    bearer = {"authorization": f"Bearer {secret}"}
    for method in ("GET", "POST"):
        assert ask(shared.stack, "/account", method, **bearer).status == 403
    assert shared.post("ann", HERE | bearer, act="make", label="x").status == 403, "with a cookie beside it, too"
    assert ask(shared.stack, "/account", accept="text/html").status == 401
    assert [token.label for token in shared.tokens.all()] == ["script"]


def test_a_member_sees_and_changes_only_their_own(shared: Shared):
    token, _ = shared.tokens.make("ann", "her script")
    page = shared.get("bob").text
    assert "her script" not in page and "Audit log" not in page and "Role of" not in page
    assert shared.post("bob", act="revoke", id=token.id).status == 400
    for fields in ({"name": "bob", "role": "admin"}, {"name": "", "waiting": "999"}, {"name": "ann", "role": "member"}):
        refused = shared.post("bob", act="person", **fields)
        assert refused.status == 400 and "Only an admin" in refused.text
    assert [one.role for one in shared.people.all()] == ["admin", "member"] and shared.tokens.all("ann") == [token]
    assert shared.limits.waiting("bob") == 20
    assert shared.notes()[0] == ("bob", "limit", "ann", True)


def test_an_admin_sets_roles_and_limits_and_revokes(shared: Shared):
    token, _ = shared.tokens.make("bob", "his script")
    page = shared.get("ann").text
    assert "his script" in page and 'aria-label="Role of bob"' in page and "Audit log" in page
    set_person = partial(shared.post, "ann", act="person")
    assert "Saved." in set_person(name="bob", role="member", waiting="3", storage="20").text
    assert (shared.limits.waiting("bob"), shared.limits.storage("bob", 1)) == (3, 20 * 10**9)
    assert "Saved." in set_person(name="", waiting="5", storage="").text
    assert shared.limits.waiting("ann") == 5
    for wrong in ("-1", "1.5", "²", "9" * 10, "many"):
        assert set_person(name="bob", waiting=wrong).status == 400
    assert shared.limits.waiting("bob") == 3
    assert "ann is the only admin" in set_person(name="ann", role="member").text.replace("Ann", "ann")
    assert "admin or member" in set_person(name="bob", role="owner").text
    assert "There is no account eve" in set_person(name="eve", role="admin").text
    shared.post("ann", act="revoke", id=token.id)
    assert shared.tokens.all() == []
    said = [note[:3] for note in shared.notes()]
    assert said == [
        ("ann", "token_revoked", "his script"),
        ("ann", "limit", ""),
        ("ann", "limit", "bob"),
        ("ann", "limit", "bob"),
    ]
    assert set_person(name="bob", role="admin").status == 200
    alone = set_person(name="ann", role="member")
    assert alone.status == 200 and "Audit log" not in alone.text, "who has just become a member sees no more"
    assert "Only an admin" in set_person(name="ann", role="admin").text


@pytest.mark.parametrize("fields", [{}, {"act": "none"}, {"act": "make"}, {"act": "make", "label": "x", "days": "-1"}])
def test_forms_that_are_none(shared: Shared, fields: dict[str, str]):
    assert shared.post("ann", **fields).status == 400 and shared.tokens.all() == []


def test_without_accounts_there_is_no_such_page(tmp_path: Path):
    database = PeopleDatabase(tmp_path / "people.db")
    app = Starlette(routes=AccountRoute(People(database), Store(tmp_path)).routes())
    open_login = LoginMiddleware(
        app, Authenticator(People(database), Sessions(database), bytes(32)), AuditLog(tmp_path)
    )
    assert ask(open_login, "/account").status == 404
    assert ask(open_login, "/account", **posted(act="make", label="x")).status == 404


def test_the_page_shows_what_a_damaged_line_of_the_log_holds(shared: Shared):
    with shared.audit.file.open("a") as file:
        file.write('{"who": {"a": 1}, "what": "\\ud800", "about": "<script>", "more": "' + "y" * 10_000 + '"}\n')
    page = shared.get("ann")
    assert page.status == 200 and "&lt;script&gt;" in page.text and "y" * 1000 not in page.text


def test_a_form_of_which_a_part_is_wrong_changes_nothing(shared: Shared):
    for wrong in ({"storage": "999999999"}, {"waiting": "99999"}, {"waiting": "-1"}):
        assert shared.post("ann", act="person", name="bob", role="admin", **wrong).status == 400
    assert shared.people.find("bob").role == "member" and shared.notes() == []
