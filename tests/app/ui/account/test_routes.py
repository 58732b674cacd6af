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
from app.jobs.permissions import Actor
from app.jobs.store import Store
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.invitations import Invitations
from app.studio.accounts.people import People
from app.studio.accounts.sessions import Sessions
from app.studio.accounts.tokens import PREFIX, Tokens
from app.ui.account.routes import COLUMNS, AccountRoute
from app.ui.account.text import ACTIONS
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
        authenticator = Authenticator(self.people, sessions, bytes(32), {"cas": "fig-tree"})
        self.cookies["cas"] = f"{LOGIN}={authenticator.log_in('cas', 'fig-tree', '').token}"
        app = Starlette(routes=AccountRoute(authenticator, self.people, Store(folder)).routes())
        login = LoginMiddleware(app, authenticator, self.audit)
        self.stack = OriginsMiddleware(RoutesMiddleware(login))

    def get(self, who: str) -> Answer:
        return ask(self.stack, "/account", cookie=self.cookies[who], accept="text/html")

    def post(self, who: str, head: dict[str, str] = HERE, **fields: str | list[str]) -> Answer:
        return ask(self.stack, "/account", **posted(**fields), cookie=self.cookies[who], **head)

    def save(self, who: str, *rows: tuple[str, ...]) -> Answer:
        """Send rows of the table of people: name, role, limits, and what the row was."""
        columns = zip(*rows, strict=True)
        return self.post(who, act="people", **{key: [*column] for key, column in zip(COLUMNS, columns, strict=True)})

    def notes(self) -> list[tuple[Any, ...]]:
        return [(line["who"], line["what"], line["about"], line.get("refused")) for line in self.audit.lines()]


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def test_a_token_is_made_shown_once_and_revoked(shared: Shared):
    made = shared.post("bob", act="make", label='night <script>alert("x")</script>', days="7")
    (secret,) = re.findall(rf'value="({PREFIX}[\w-]+)"', made.text)
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
    rows = ("bob", "admin", "", "", "member//"), ("", "", "999", "", "//"), ("ann", "member", "", "", "admin//")
    for refused in (
        *(shared.save("bob", row) for row in rows),
        shared.post("bob", act="invite", name="eve", role="admin"),
        shared.post("bob", act="withdraw", name="eve"),
    ):
        assert refused.status == 400 and "Only an admin" in refused.text
    assert [one.role for one in shared.people.all()] == ["admin", "member"] and shared.tokens.all("ann") == [token]
    assert shared.limits.waiting("bob") == 20
    assert shared.notes()[0] == ("bob", "invitation_withdrawn", "eve", True)


def test_an_admin_sets_roles_and_limits_in_one_table_and_revokes(shared: Shared):
    token, _ = shared.tokens.make("bob", "his script")
    page = shared.get("ann").text
    assert "his script" in page and 'aria-label="Role of bob"' in page and "Audit log" in page
    assert page.count(">Save<") == 1
    saved = shared.save("ann", ("", "", "5", "", "//"), ("bob", "member", "3", "20", "member//"))
    assert "Saved." in saved.text and 'value="member/3/20"' in saved.text
    assert (shared.limits.waiting("bob"), shared.limits.storage("bob", 1)) == (3, 20 * 10**9)
    assert shared.limits.waiting("ann") == 5
    for wrong in ("-1", "1.5", "²", "9" * 10, "many"):
        assert shared.save("ann", ("bob", "member", wrong, "20", "member/3/20")).status == 400
    assert shared.limits.waiting("bob") == 3
    assert "must stay an admin" in shared.save("ann", ("ann", "member", "", "", "admin//")).text
    assert "admin or member" in shared.save("ann", ("bob", "owner", "", "", "member//")).text
    assert "There is no account eve" in shared.save("ann", ("eve", "admin", "", "", "member//")).text
    shared.post("ann", act="revoke", id=token.id)
    assert shared.tokens.all() == []
    said = [note[:3] for note in shared.notes()]
    assert said == [
        ("ann", "token_revoked", "his script"),
        ("ann", "limit", "bob"),
        ("ann", "limit", "bob"),
        ("ann", "limit", ""),
    ]
    swapped = shared.save("ann", ("ann", "member", "", "", "admin//"), ("bob", "admin", "3", "20", "member/3/20"))
    assert swapped.status == 200 and "Audit log" not in swapped.text, "who has just become a member sees no more"
    assert [one.role for one in shared.people.all()] == ["member", "admin"]
    assert "Only an admin" in shared.save("ann", ("ann", "admin", "", "", "member//")).text


def test_a_table_that_is_older_than_anothers_change_does_not_undo_it(shared: Shared):
    shared.limits.set("waiting", 7, "bob")  # by somebody else, after the table was sent
    shared.save("ann", ("", "", "", "9", "//"), ("bob", "member", "", "", "member//"))
    assert (shared.limits.waiting("bob"), shared.limits.storage("bob", 1)) == (7, 9 * 10**9)


def test_an_invitation_is_shown_once_and_withdrawn(shared: Shared):
    made = shared.post("ann", act="invite", name=" eve ", role="admin")
    (secret,) = re.findall(r'data-link="invitation#([\w-]{43})"', made.text)
    invitations = Invitations(shared.people.database)
    assert invitations.find(secret).name == "eve" and invitations.find(secret).role == "admin"
    again = shared.get("ann").text
    assert (
        secret not in again and "Withdraw the invitation of eve" in again and "Withdraw" not in shared.get("bob").text
    )
    assert "no longer works" in shared.post("ann", act="withdraw", name="eve").text
    assert (
        invitations.find(secret) is None and "no open invitation" in shared.post("ann", act="withdraw", name="eve").text
    )
    for taken in ("bob", "cas"):
        refused = shared.post("ann", act="invite", name=taken, role="member")
        assert refused.status == 400 and "is already an account" in refused.text
    assert [note[:3] for note in shared.notes()] == [
        ("ann", "invitation_withdrawn", "eve"),
        ("ann", "invited", "eve"),
    ]
    assert secret not in shared.audit.file.read_text()


def test_a_new_password_ends_the_other_logins_and_keeps_this_one(shared: Shared):
    change = partial(shared.post, "bob", act="password")
    assert "two passwords differ" in change(current="plum-tree", password="fig-tree-2", again="x").text
    assert "8 to 200 characters" in change(current="plum-tree", password="fig", again="fig").text
    done = change(current="plum-tree", password="fig-tree-2", again="fig-tree-2")
    assert done.status == 200 and "Your password was changed" in done.text
    assert shared.get("bob").status == 401, "a login from before"
    shared.cookies["bob"] = f"{LOGIN}={done.cookie(LOGIN)}"
    assert shared.get("bob").status == 200 and shared.people.find("bob").password.matches("fig-tree-2")
    wrong = shared.post("bob", act="password", current="plum-tree", password="fig-tree-3", again="fig-tree-3")
    assert wrong.status == 400 and "current password is wrong" in wrong.text and wrong.cookie(LOGIN) == ""
    guess = shared.post("bob", act="password", current="pear-tree", password="fig-tree-3", again="fig-tree-3")
    assert "Too many wrong passwords" in guess.text, "guesses are slowed down as at the login"
    assert shared.people.find("bob").password.matches("fig-tree-2")
    assert [note[1:] for note in shared.notes()] == [("password", "bob", True), ("password", "bob", None)]


def test_the_password_of_a_temporary_account_is_not_changed_here(shared: Shared):
    page = shared.get("cas").text
    assert "set where the studio is started" in page and 'name="current"' not in page
    refused = shared.post("cas", act="password", current="fig-tree", password="fig-tree-2", again="fig-tree-2")
    assert refused.status == 400 and "set where the studio is started" in refused.text
    assert shared.people.find("cas") is None and shared.get("cas").status == 200


@pytest.mark.parametrize("fields", [{}, {"act": "none"}, {"act": "make"}, {"act": "make", "label": "x", "days": "-1"}])
def test_forms_that_are_none(shared: Shared, fields: dict[str, str]):
    assert shared.post("ann", **fields).status == 400 and shared.tokens.all() == []


def test_without_accounts_there_is_no_such_page(tmp_path: Path):
    database = PeopleDatabase(tmp_path / "people.db")
    authenticator = Authenticator(People(database), Sessions(database), bytes(32))
    app = Starlette(routes=AccountRoute(authenticator, People(database), Store(tmp_path)).routes())
    open_login = LoginMiddleware(app, authenticator, AuditLog(tmp_path))
    assert ask(open_login, "/account").status == 404
    assert ask(open_login, "/account", **posted(act="make", label="x")).status == 404


def test_the_log_says_what_was_done_and_refused_in_words(shared: Shared):
    shared.audit.note("rename", Actor("bob"), "dusk", kind="style", to="dawn", refused=True)
    page = shared.get("ann").text
    assert "<td>rename (refused)</td><td>dusk</td>" in page and "<td>bob</td>" in page
    assert re.search(r"<td>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d</td>", page)
    noted = re.compile(r'(?:note|note_job|check_owner|_check_admin|audited)\((?:[\w.]+, )*"(\w+)"')
    names = {name for file in Path("app").rglob("*.py") for name in noted.findall(file.read_text(encoding="utf-8"))}
    assert len(names) > 20 and names <= set(ACTIONS), "every action has a name"


def test_the_page_shows_what_a_damaged_line_of_the_log_holds(shared: Shared):
    with shared.audit.file.open("a") as file:
        file.write('{"who": {"a": 1}, "what": "\\ud800", "about": "<script>", "more": "' + "y" * 10_000 + '"}\n')
    page = shared.get("ann")
    assert page.status == 200 and "&lt;script&gt;" in page.text and "y" * 1000 not in page.text


def test_a_form_of_which_a_part_is_wrong_changes_nothing(shared: Shared):
    for waiting, storage in (("", "999999999"), ("99999", ""), ("-1", "")):
        assert shared.save("ann", ("bob", "admin", waiting, storage, "member//")).status == 400
    assert shared.save("ann", ("bob", "admin", "", "", "member/")).status == 400, "half a row"
    assert shared.post("ann", act="people", name=["bob"], role=["admin"]).status == 400
    assert shared.people.find("bob").role == "member" and shared.notes() == []
