"""The sender of a request: the login or the browser's cookie."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from app.studio.accounts.people import key_of_login

USER = "velatura.user"
"""Scope key of the name of the logged-in person."""
ROLE, TOKEN = "velatura.role", "velatura.token"
"""Scope keys of the person's role, and of the id of the token that a program has sent."""
FORWARDED_FOR = "velatura.forwarded-for"
"""Scope key of the client's address according to an untrusted local proxy; password attempts are counted by it."""
VISITOR = "velatura-visitor"
"""Cookie that identifies a browser."""


def cookies_of(scope: Scope) -> dict[str, str]:
    """The cookies of a request."""
    return cookie_parser(Headers(scope=scope).get("cookie", ""))


def sender_of(username: str | None, cookies: Mapping[str, str] | None) -> str:
    """The key of a request's sender: the login on a shared studio, else the browser's cookie; "" without either."""
    if username:
        return key_of_login(username)
    cookie = dict(cookies).get(VISITOR) if cookies else None
    return f"visitor:{cookie}" if cookie else ""


def address_of(scope: Scope) -> str:
    """The client's address; "" if unknown."""
    client = scope.get("client")
    return str(client[0]) if client else ""
