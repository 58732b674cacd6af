"""The page behind an invitation's link over HTTP: whom it tells what, and what it never holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from app.jobs.accounts.audit import AuditLog
from app.studio.accounts.attempts import Attempts
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People
from app.studio.accounts.sessions import Sessions
from app.ui.account.invitation import InvitationRoute
from app.ui.login.authenticator import Authenticator
from app.ui.middleware.headers import HeadersMiddleware
from app.ui.middleware.hosts import OriginsMiddleware
from app.ui.middleware.login import DEVICE, LOGIN, LoginMiddleware
from app.ui.middleware.routes import RoutesMiddleware
from tests.app.ui.asking import Answer, ask, inner, posted


class Guest:
    """Somebody without a login, before a studio with an admin, Ann."""

    def __init__(self, folder: Path) -> None:
        database = PeopleDatabase(folder / "people.db")
        self.people, self.audit = People(database), AuditLog(folder)
        self.audit.keep()
        self.people.add("ann", "pear-tree")
        self.authenticator = Authenticator(self.people, Sessions(database), bytes(32))
        self.invitations = self.authenticator.invitations
        app = Starlette(routes=InvitationRoute(self.authenticator, self.audit).routes())
        login = LoginMiddleware(app, self.authenticator, self.audit)
        self.stack = HeadersMiddleware(OriginsMiddleware(RoutesMiddleware(login)))
        self.pages = LoginMiddleware(inner, self.authenticator, self.audit)

    def post(self, head: dict[str, str] | None = None, **fields: str) -> Answer:
        return ask(self.stack, "/invitation", **posted(**fields), **(head or {}))

    def notes(self) -> list[tuple[Any, ...]]:
        return [(line["who"], line["what"], line["about"]) for line in self.audit.lines()]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_a_link_tells_whom_it_invites_and_logs_them_in_once(guest: Guest):
    _, secret = guest.invitations.make("bob")
    page = ask(guest.stack, "/invitation", accept="text/html")
    assert page.status == 200 and page.header("cache-control") == "no-store"
    told = guest.post(secret=secret)
    assert told.status == 200 and '"name":"bob"' in told.text and told.header("cache-control") == "no-store"
    differing = guest.post(secret=secret, password="plum-tree", again="plum")
    assert differing.status == 400 and "two passwords differ" in differing.text
    done = guest.post(secret=secret, password="plum-tree", again="plum-tree")
    assert done.status == 200 and done.cookie(DEVICE)
    cookie = f"{LOGIN}={done.cookie(LOGIN)}"
    assert ask(guest.pages, "/x", cookie=cookie).text == "in bob 0"
    assert guest.authenticator.role_of("bob") == "member"
    again = guest.post(secret=secret, password="other-tree", again="other-tree")
    assert again.status == 400 and again.cookie(LOGIN) == "" and "does not work" in again.text
    assert guest.notes() == [(None, "invitation_failed", ""), ("bob", "person_added", "bob")]
    assert secret not in guest.audit.file.read_text()


def test_a_wrong_used_withdrawn_or_old_link_says_the_same(guest: Guest):
    _, withdrawn = guest.invitations.make("bob")
    guest.invitations.withdraw("bob")
    guest.authenticator._wrong_tokens = Attempts(clock=iter(range(0, 10_000, 100)).__next__)  # waits pass at once
    said = {guest.post(secret=secret, **more).text for secret in (withdrawn, "x", "") for more in ({}, PASSWORDS)}
    assert len(said) == 1 and "Ask whoever sent it for a new link" in said.pop()


PASSWORDS = {"password": "plum-tree", "again": "plum-tree"}


def test_guessing_is_slowed_down_and_a_right_link_is_not(guest: Guest):
    clock = [0.0]
    guest.authenticator._wrong_tokens = Attempts(clock=lambda: clock[0])
    for _ in range(4):
        assert guest.post(secret="guess").status in (400, 429)
        clock[0] += 5
    limited = [guest.post(secret="guess") for _ in range(2)][-1]
    assert limited.status == 429 and "Too many wrong links" in limited.text and limited.header("retry-after")
    _, secret = guest.invitations.make("bob")
    assert guest.post(secret=secret).status == 200


def test_other_sites_send_no_password_but_lead_to_the_page(guest: Guest):
    _, secret = guest.invitations.make("bob")
    for head in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        assert guest.post(head, secret=secret, **PASSWORDS).status == 403
    mail = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "accept": "text/html"}
    page = ask(guest.stack, "/invitation", **mail)
    assert page.status == 200 and page.header("referrer-policy") == "same-origin"
    assert "script-src 'self'" in page.header("content-security-policy")
    assert guest.people.find("bob") is None


def test_a_studio_that_asks_nobody_to_log_in_has_no_such_page(tmp_path: Path):
    database = PeopleDatabase(tmp_path / "people.db")
    authenticator = Authenticator(People(database), Sessions(database), bytes(32))
    route = InvitationRoute(authenticator, AuditLog(tmp_path))
    app = LoginMiddleware(Starlette(routes=route.routes()), authenticator, AuditLog(tmp_path))
    assert ask(app, "/invitation").status == 404
    assert ask(app, "/invitation", **posted(secret="x")).status == 404
