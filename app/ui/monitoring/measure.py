"""Counts responses and measures the time until they begin, by route."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROUTE = "velatura.route"
"""Scope key of a dict in which the route check stores the request's route as `path`."""
ELSEWHERE = "other"
"""Route of requests that were refused early or match no route."""
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")

Note = Callable[[str, str, int, float], None]
"""Called with the route, method, status and seconds of a response."""


class MeasureMiddleware:
    """The second outermost middleware; measures until the response begins, as some are endless streams."""

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
