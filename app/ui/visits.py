"""Middleware that reports page visits before the page's scripts run."""

from __future__ import annotations

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.ui.login.sender import USER, cookies_of, sender_of


class VisitsMiddleware:
    """Calls `visited` with the sender of each visit of the page at `path`, after the response was sent."""

    def __init__(self, app: ASGIApp, path: str, visited: Callable[[str], None]) -> None:
        self.app, self.path, self.visited = app, path, visited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        # programs that fetch the page send no such header, and must not load a base
        is_visit = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].rstrip("/") == self.path
        if is_visit and Headers(scope=scope).get("sec-fetch-dest") == "document":
            await run_in_threadpool(self.visited, sender_of(scope.get(USER), cookies_of(scope)))
