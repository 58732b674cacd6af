"""Counts every answer and how long it took to begin, by route."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTE = "velatura.route"
"""Scope key of a table in which the check of routes notes, as `path`, which one a request takes."""
ELSEWHERE = "other"
"""Route of requests that were refused before, or take none."""
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")

Note = Callable[[str, str, int, float], None]
"""Is told an answer's route, method, status and seconds."""


class MeasureMiddleware:
    """Outermost but one; measures until the answer begins, since some are streams without an end."""

    def __init__(self, app: ASGIApp, note: Note) -> None:
        self.app, self.note = app, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken: dict[str, str] = {}
        begun, method = time.perf_counter(), scope["method"] if scope["method"] in METHODS else ELSEWHERE

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = taken.get("path", ELSEWHERE)
                self.note(route, method, int(message["status"]), time.perf_counter() - begun)
            await send(message)

        await self.app({**scope, ROUTE: taken}, receive, sending)
