"""Who sends a request, by what the middlewares and the browser say of it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from app.studio.accounts.people import key_of_login

USER = "velatura.user"
"""The key of a request's scope under which stands the name of who has logged in."""
ROLE, TOKEN = "velatura.role", "velatura.token"
"""Likewise the role of that person, and the id of the token by which a program has logged in for them."""
FORWARDED_FOR = "velatura.forwarded-for"
"""Likewise the client's address as an untrusted proxy on this machine has named it; passwords are counted by it."""
VISITOR = "velatura-visitor"
"""The cookie by which a browser is known again."""


def cookies_of(scope: Scope) -> dict[str, str]:
    """The cookies of a request."""
    return cookie_parser(Headers(scope=scope).get("cookie", ""))


def sender_of(username: str | None, cookies: Mapping[str, str] | None) -> str:
    """Who sends a request: the name on a shared studio, else the browser's cookie; "" for a program without either."""
    if username:
        return key_of_login(username)
    cookie = dict(cookies).get(VISITOR) if cookies else None
    return f"visitor:{cookie}" if cookie else ""


def address_of(scope: Scope) -> str:
    """The client's address; "" if unknown."""
    client = scope.get("client")
    return str(client[0]) if client else ""
