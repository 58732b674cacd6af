"""The cookie that identifies a browser, so that its draft survives a reload."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.document.document import is_html
from app.ui.login.sender import VISITOR, cookies_of

YEAR = 365 * 24 * 3600


class VisitorMiddleware:
    """Sets the visitor cookie of new browsers with their first page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and is_html(message) and not cookies_of(scope).get(VISITOR):
                MutableHeaders(scope=message).append(
                    "set-cookie", cookie(scope, VISITOR, secrets.token_urlsafe(24), YEAR)
                )
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


def cookie(scope: Scope, name: str, value: str, seconds: int) -> str:
    """A Set-Cookie with HttpOnly and SameSite, and Secure over https."""
    response = Response()
    response.set_cookie(
        name, value, seconds, secure=scope.get("scheme") == "https", httponly=True, samesite="lax", path="/"
    )
    return response.headers["set-cookie"]
