from __future__ import annotations

from pathlib import Path

import pytest

from app.studio.accounts.attempts import Attempts
from app.studio.accounts.database import PeopleDatabase
from app.studio.accounts.people import People, read_people
from app.studio.accounts.sessions import LOGIN_LASTS, Sessions
from app.ui.login.authenticator import Authenticator
from app.ui.middleware.login import DEVICE, LOGIN, LoginMiddleware
from tests.app.ui.asking import ask, inner, posted

SECRET = bytes(range(32))


def stack(folder: Path, given: dict[str, str]) -> LoginMiddleware:
    database = PeopleDatabase(folder / "people.db")
    attempts = Attempts(clock=lambda: 0.0)  # waits do not pass while a test is busy
    return LoginMiddleware(inner, Authenticator(People(database), Sessions(database), SECRET, given, attempts))


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
