"""Limits on the pending calls and open streams of a caller, so that nobody fills the queue or the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.studio.accounts.attempts import network_of
from app.ui.components import text
from app.ui.gradio_internals import API, DIRECT, QUEUED, event_number
from app.ui.login.sender import USER, VISITOR, address_of, cookies_of
from app.ui.middleware.refusals import refusal

MOST_OF_A_CALLER, MOST_OF_AN_ADDRESS = 50, 120
"""Limits of waiting calls per person, browser or program, and per address; the queue holds 200."""
MOST_STREAMS, MOST_STREAMS_OF_AN_ADDRESS = 24, 80
"""Limits of open streams; a browser opens six connections to a server, and more through a proxy with HTTP/2."""
STREAMS = ("/now/stream", f"{API}/heartbeat/", f"{API}/queue/data", f"{API}/upload_progress", f"{API}/call/")
"""Path prefixes of streams."""


class CallsMiddleware:
    """Answers 429 to callers with too many waiting calls, before these reach the queue.

    `is_waiting` returns whether an event still waits or runs.
    """

    def __init__(self, app: ASGIApp, is_waiting: Callable[[str], bool]) -> None:
        self.app, self.is_waiting = app, is_waiting
        self._events: dict[str, set[str]] = {}
        self._going_on: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(QUEUED + DIRECT):
            await self.app(scope, receive, send)
            return
        callers = callers_of(scope, MOST_OF_A_CALLER, MOST_OF_AN_ADDRESS)
        if any(self._count(caller) >= most for caller, most in callers.items()):
            await refusal(scope, 429, text.TOO_MANY_CALLS, {"retry-after": "5"})(scope, receive, send)
            return
        self._going_on.update(callers.keys())
        try:
            await self.app(scope, receive, noting_event(scope, send, partial(self._note, list(callers))))
        finally:
            self._going_on.subtract(callers.keys())
            self._going_on += Counter()  # drops counts of 0

    def _count(self, caller: str) -> int:
        waiting = {event for event in self._events.get(caller, ()) if self.is_waiting(event)}
        if waiting:
            self._events[caller] = waiting
        else:
            self._events.pop(caller, None)
        return len(waiting) + self._going_on[caller]

    def _note(self, callers: list[str], event: str) -> None:
        for caller in callers:
            self._events.setdefault(caller, set()).add(event)


class StreamsMiddleware:
    """Answers 429 to callers with too many open streams."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "POST" or not scope["path"].startswith(STREAMS):
            await self.app(scope, receive, send)
            return
        callers = callers_of(scope, MOST_STREAMS, MOST_STREAMS_OF_AN_ADDRESS)
        if any(self._open[caller] >= most for caller, most in callers.items()):
            await refusal(scope, 429, text.TOO_MANY_STREAMS, {"retry-after": "5"})(scope, receive, send)
            return
        self._open.update(callers.keys())
        try:
            await self.app(scope, receive, send)
        finally:
            self._open.subtract(callers.keys())
            self._open += Counter()


def noting_event(scope: Scope, send: Send, note: Callable[[str], None]) -> Send:
    """A `send` that passes the id of a queued event to `note`, before the caller receives it."""
    if scope["method"] != "POST" or not scope["path"].startswith(QUEUED):
        return send
    body = bytearray()

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body" and len(body) < 10_000:
            body.extend(message.get("body", b""))
            if not message.get("more_body") and (event := event_number(bytes(body))):
                note(event)
        await send(message)

    return sending


def callers_of(scope: Scope, most: int, most_of_an_address: int) -> dict[str, int]:
    """The keys against which a request counts, with limits: a person, otherwise a browser and its address."""
    if user := scope.get(USER):
        return {f"user:{user}": most}
    address = network_of(address_of(scope))
    visitor = cookies_of(scope).get(VISITOR, "")  # cookies can be made up, hence the address
    return {f"visitor:{address}:{visitor}": most, f"address:{address}": most_of_an_address}
