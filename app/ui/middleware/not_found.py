"""The 404 page for browsers."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.document.document import bare_page
from app.ui.middleware.headers import PageResponse


class NotFoundMiddleware:
    """Shows the 404 page to browsers; programs get the original response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_visit(scope):
            await self.app(scope, receive, send)
            return
        astray = False

        async def sending(message: Message) -> None:
            nonlocal astray
            if message["type"] == "http.response.start" and message["status"] == 404:
                astray = True
                await PageResponse(not_found_page(scope["path"]), 404)(scope, receive, send)
            elif not astray:
                await send(message)

        await self.app(scope, receive, sending)


def not_found_page(path: str) -> str:
    """The 404 document, with links from `path` back to the studio."""
    return bare_page("document/not_found.html", "../" * (path.count("/") - 1) or "./")


def is_visit(scope: Scope) -> bool:
    """Whether a browser requests a page."""
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")
