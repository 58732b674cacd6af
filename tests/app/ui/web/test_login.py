from __future__ import annotations

import pytest

from app.ui.web.authenticator import Authenticator
from app.ui.web.login import LOGIN, LoginMiddleware
from tests.app.ui.web.asking import ask, inner, posted

SECRET = bytes(range(32))


@pytest.fixture
def locked() -> LoginMiddleware:
    return LoginMiddleware(inner, Authenticator({"ann": "pear:tree", "bob": "x"}, SECRET))


def test_nobody_comes_in_without_a_login(locked):
    page = ask(locked, accept="text/html")
    assert page.status == 401 and "<form" in page.text and "in None" not in page.text
    for path in ("/gradio_api/file=/public/a.webp", "/gradio_api/queue/data", "/config", "/gradio_api/heartbeat/x"):
        assert ask(locked, path).status == 401
    assert ask(locked, "/gradio_api/queue/join", "POST").status == 401
    assert ask(locked, "/look/tokens.css").status == 200
    assert ask(locked, cookie=f"{LOGIN}=YW5u.9999999999.{'0' * 64}").status == 401


def test_a_login_and_its_name(locked):
    answer = ask(locked, "/login", **posted(username="ann", password="pear:tree"))
    assert answer.status == 200 and answer.text == '{"success":true}'
    cookie = f"{LOGIN}={answer.cookie(LOGIN)}"
    assert ask(locked, "/x", cookie=cookie).text == "in ann 0"
    again = LoginMiddleware(inner, Authenticator({"ann": "pear:tree"}, SECRET))
    assert ask(again, "/x", cookie=cookie).text == "in ann 0", "it outlives a restart"


def test_the_page_says_when_to_try_again(locked):
    assert ask(locked, "/login", **posted(username="ann", password="no")).status == 400
    again = ask(locked, "/login", **posted(username="ann", password="pear:tree"))
    assert again.status == 429 and "Too many wrong passwords. Try again in 1 second." in again.text
