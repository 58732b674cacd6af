from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.jobs.accounts.audit import AuditLog
from app.studio.accounts.attempts import FROM_A_PROXY, FROM_AN_ADDRESS, Attempts
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People, read_people
from app.studio.accounts.sessions import LOGIN_LASTS, Sessions
from app.ui.login.authenticator import Authenticator
from app.ui.login.sender import ROLE, TOKEN, USER
from app.ui.middleware.login import DEVICE, LOGIN, LoginMiddleware
from app.ui.middleware.proxy import ForwardedMiddleware
from tests.app.ui.asking import ask, inner, posted

SECRET = bytes(range(32))


def stack(folder: Path, given: dict[str, str]) -> LoginMiddleware:
    database = PeopleDatabase(folder / "people.db")
    attempts = Attempts(clock=lambda: 0.0)  # waits do not pass while a test is busy
    authenticator = Authenticator(People(database), Sessions(database), SECRET, given, attempts)
    return LoginMiddleware(inner, authenticator, AuditLog(folder))


@pytest.fixture
def middleware(tmp_path: Path) -> LoginMiddleware:
    return stack(tmp_path, {"ann": "pear:tree", "bob": "x"})


def test_nobody_comes_in_without_a_login(middleware):
    page = ask(middleware, accept="text/html")
    assert page.status == 401 and "<form" in page.text and "in None" not in page.text
    for path in ("/gradio_api/file=/public/a.webp", "/gradio_api/queue/data", "/config", "/gradio_api/heartbeat/x"):
        assert ask(middleware, path).status == 401
    assert ask(middleware, "/gradio_api/queue/join", "POST").status == 401
    assert ask(middleware, "/look/tokens.css").status == 200


def test_a_cookie_of_before_leads_to_the_login_page(middleware):
    """Logins were signed texts once: such a cookie asks to log in again, and is no error."""
    for old in (f"YW5u.9999999999.{'0' * 64}", "x.y.z", "", "%00", "a" * 4000):
        page = ask(middleware, accept="text/html", cookie=f"{LOGIN}={old}")
        assert page.status == 401 and "<form" in page.text


def test_a_login_and_its_name(middleware, tmp_path):
    answer = ask(middleware, "/login", **posted(username="ann", password="pear:tree"))
    assert answer.status == 200 and answer.text == '{"success":true}'
    cookies = [value for name, value in answer.headers if name == "set-cookie"]
    assert len(cookies) == 2 and all("HttpOnly" in one and "SameSite=lax" in one for one in cookies)
    assert f"Max-Age={LOGIN_LASTS}" in cookies[0], "as long as the login lasts"
    cookie = f"{LOGIN}={answer.cookie(LOGIN)}"
    assert ask(middleware, "/x", cookie=cookie).text == "in ann 0"
    assert ask(stack(tmp_path, {"ann": "pear:tree"}), "/x", cookie=cookie).text == "in ann 0", "after a restart"
    secure = ask(middleware, "/login", scheme="https", **posted(username="bob", password="x"))
    assert all("Secure" in value for name, value in secure.headers if name == "set-cookie")
    assert all("Secure" not in one for one in cookies), "a browser would not send it back over http"


def test_a_name_is_the_same_however_it_is_typed(tmp_path):
    middleware = stack(tmp_path, read_people(["jos\u00e9 :pear"], None))
    for name in ("jos\u00e9", "jose\u0301", " jose\u0301 "):
        assert ask(middleware, "/login", **posted(username=name, password="pear")).status == 200


def test_logging_out_is_no_link_and_ends_the_login(middleware):
    answer = ask(middleware, "/login", **posted(username="ann", password="pear:tree"))
    cookie = f"{LOGIN}={answer.cookie(LOGIN)}"
    asked = ask(middleware, "/logout", cookie=cookie)
    assert asked.status == 200 and '<form method="post" action="logout">' in asked.text
    assert ask(middleware, "/x", cookie=cookie).text == "in ann 0", "looking at the page changes nothing"
    out = ask(middleware, "/logout", "POST", cookie=cookie)
    assert out.status == 303 and out.cookie(LOGIN) in ("", '""')
    assert ask(middleware, "/x", cookie=cookie).status == 401, "the old cookie no longer works"


def test_the_page_says_when_to_try_again(middleware):
    assert ask(middleware, "/login", **posted(username="ann", password="no")).status == 400
    again = ask(middleware, "/login", **posted(username="ann", password="pear:tree"))
    assert again.status == 429 and "Too many wrong passwords. Try again in 1 second." in again.text
    elsewhere = ask(middleware, "/login", peer=("10.0.0.9", 1), **posted(username="ann", password="pear:tree"))
    assert elsewhere.status == 200
    known = f"{DEVICE}={elsewhere.cookie(DEVICE)}"
    assert ask(middleware, "/login", cookie=known, **posted(username="ann", password="pear:tree")).status == 200


def test_the_right_password_at_once_after_a_wrong_one_lets_in(tmp_path):
    database = PeopleDatabase(tmp_path / "people.db")
    attempts = Attempts()
    middleware = LoginMiddleware(
        inner, Authenticator(People(database), Sessions(database), SECRET, {"ann": "x"}, attempts), AuditLog(tmp_path)
    )
    for wrong in range(2):
        answer = ask(middleware, "/login", **posted(username="ann", password="no"))
        assert answer.status == 400 and "Wrong name or password" in answer.text, wrong
    assert attempts.wait("ann", "127.0.0.1") > 0.5, "it is not looked at sooner, only waited for"
    assert ask(middleware, "/login", **posted(username="ann", password="x")).status == 200


def test_wrong_passwords_through_an_unnamed_proxy_shut_out_nobody_else(middleware):
    stack = ForwardedMiddleware(middleware)

    def log_in(name: str, password: str, client: str) -> int:
        return ask(stack, "/login", x_forwarded_for=client, **posted(username=name, password=password)).status

    guessed = [log_in(f"name {number}", "no", "203.0.113.9") for number in range(FROM_AN_ADDRESS + 5)]
    assert guessed == [400] * FROM_AN_ADDRESS + [429] * 5
    assert log_in("ann", "pear:tree", "203.0.113.9") == 429
    assert log_in("ann", "pear:tree", "198.51.100.7") == log_in("bob", "x", "198.51.100.8") == 200
    made_up = [log_in(f"name {number}", "no", f"10.0.0.{number}") for number in range(FROM_A_PROXY)]
    assert made_up[-1] == 429, "addresses that are made up help only so far"


def test_a_form_that_is_none_is_a_wrong_password(middleware):
    kind = "multipart/form-data; boundary=x"
    for body in (b"--x\r\ngarbage", b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--x--'):
        assert ask(middleware, "/login", "POST", [body], content_type=kind).status == 400
    elsewhere = ("10.0.0.9", 1)
    assert ask(middleware, "/login", "POST", [b"\xff\x00"], elsewhere, content_type="text/plain").status == 400


def test_who_names_himself_where_nobody_needs_to_is_let_in(tmp_path):
    unlocked = stack(tmp_path, {})
    assert ask(unlocked, "/login", **posted(username="ann", password="x")).status == 200
    assert ask(unlocked, "/x").text == "in None 0"


async def tell_role(scope: Any, receive: Any, send: Any) -> None:
    """An application that says who asks, in which role and by which token."""
    said = " ".join(str(scope.get(key)) for key in (USER, ROLE, TOKEN))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})


@pytest.fixture
def shared(tmp_path: Path) -> LoginMiddleware:
    """The login of a studio with an admin, Ann, a member, Bob, an audit log, and Eve from the command line."""
    database = PeopleDatabase(tmp_path / "people.db")
    people = People(database)
    people.add("ann", "pear-tree")
    people.add("bob", "plum-tree")
    AuditLog(tmp_path).keep()
    return LoginMiddleware(
        tell_role, Authenticator(people, Sessions(database), SECRET, {"eve": "x"}), AuditLog(tmp_path)
    )


def made(shared: LoginMiddleware, owner: str, **options: Any) -> tuple[str, str]:
    """The id of a new token and the header with it."""
    token, secret = shared.authenticator._tokens.make(owner, "script", **options)
    return token.id, f"Bearer {secret}"


def test_a_token_acts_as_its_person_until_it_is_revoked(shared):
    for peer, (name, role) in enumerate((("ann", "admin"), ("bob", "member"), ("eve", "member"))):
        number, header = made(shared, name)
        assert ask(shared, "/config", authorization=header).text == f"{name} {role} {number}"
        assert ask(shared, "/config", authorization=header.replace("Bearer ", "bearer  ")).status == 200
        shared.authenticator._tokens.revoke(number)
        refused = ask(shared, "/config", authorization=header, peer=(f"10.0.1.{peer}", 1))
        assert refused.status == 401 and refused.header("www-authenticate") == "Bearer", name
    _, header = made(shared, "nobody")
    assert ask(shared, "/config", authorization=header, peer=("10.0.2.1", 1)).status == 401, "who has no account"


def test_a_token_is_in_no_address_and_no_cookie(shared):
    _, header = made(shared, "ann")
    secret = header.removeprefix("Bearer ")
    assert ask(shared, f"/config?token={secret}&authorization=Bearer%20{secret}").status == 401
    assert ask(shared, "/config", cookie=f"{LOGIN}={secret}").status == 401
    assert ask(shared, "/config", authorization=f"Basic {secret}").status == 401
    login = ask(shared, "/login", **posted(username="bob", password="plum-tree"))
    as_bearer = ask(shared, "/config", authorization=f"Bearer {login.cookie(LOGIN)}", peer=("10.0.3.1", 1))
    assert as_bearer.status == 401, "a login is no token"
    mixed = ask(shared, "/config", cookie=f"{LOGIN}={login.cookie(LOGIN)}", authorization=header)
    assert mixed.text.startswith("ann admin"), "the header decides, and nothing is mixed"


def test_a_role_is_read_anew_with_each_request(shared):
    _, header = made(shared, "bob")
    shared.authenticator._people.set_role("bob", "admin")
    assert ask(shared, "/config", authorization=header).text.startswith("bob admin")
    shared.authenticator._people.set_role("bob", "member")
    assert ask(shared, "/config", authorization=header).text.startswith("bob member")


def test_a_token_for_metrics_opens_nothing_else(shared):
    _, header = made(shared, "ann", scope="metrics")
    assert ask(shared, "/metrics", authorization=header).text.startswith("ann admin")
    for path in ("/config", "/runs", "/metrics/", "/gradio_api/call/delete"):
        assert ask(shared, path, authorization=header).status == 403


def test_wrong_tokens_wait_and_right_ones_do_not(shared):
    _, header = made(shared, "ann")
    assert ask(shared, "/config", authorization="Bearer no").status == 401
    again = ask(shared, "/gradio_api/info", authorization="Bearer no")
    assert again.status == 429 and again.header("retry-after") == "1" and "Too many wrong tokens" in again.text
    assert ask(shared, "/config", authorization=header).status == 200
    assert ask(shared, "/config", authorization="Bearer no", peer=("10.0.0.9", 1)).status == 401


def test_logins_are_in_the_audit_log_without_what_was_typed(shared):
    away = ("10.0.0.7", 1)
    login = ask(shared, "/login", **posted(username="ann", password="pear-tree"))
    ask(shared, "/login", peer=away, **posted(username="bob", password="hunter2"))
    ask(shared, "/login", peer=("10.0.0.8", 1), **posted(username="my-password", password="hunter2"))
    ask(shared, "/config", peer=("10.0.0.9", 1), authorization="Bearer velatura_secret")
    ask(shared, "/logout", "POST", cookie=f"{LOGIN}={login.cookie(LOGIN)}")
    said = [(line["what"], line["who"], line["address"]) for line in shared.audit.lines()]
    assert said == [
        ("logout", "ann", "127.0.0.1"),
        ("token_failed", None, "10.0.0.9"),
        ("login_failed", None, "10.0.0.8"),
        ("login_failed", "bob", "10.0.0.7"),
        ("login", "ann", "127.0.0.1"),
    ]
    text = shared.audit.file.read_text()
    assert not any(word in text for word in ("hunter2", "my-password", "velatura_secret", login.cookie(LOGIN)))
