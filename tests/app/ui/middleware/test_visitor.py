from __future__ import annotations

from app.ui.login.sender import VISITOR
from app.ui.middleware.visitor import VisitorMiddleware
from tests.app.ui.asking import ask, inner

STACK = VisitorMiddleware(inner)


def test_a_browser_gets_its_cookie_with_the_first_page():
    cookie = ask(STACK).header("set-cookie")
    assert cookie.startswith(f"{VISITOR}=") and "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert "Secure" not in cookie and "Secure" in ask(STACK, scheme="https").header("set-cookie")
    assert ask(STACK, cookie=cookie.partition(";")[0]).header("set-cookie") == ""
    assert ask(STACK).cookie(VISITOR) != ask(STACK).cookie(VISITOR)
    assert ask(STACK, "/config").header("set-cookie") == ""
