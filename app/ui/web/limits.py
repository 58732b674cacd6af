"""How large a request may be, and that an upload finds room on the disk."""

from __future__ import annotations

import sys
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui import words
from app.ui.web.refusals import refusal
from app.ui.web.routes import API

LARGEST_UPLOAD = 220 * 2**20
LARGEST_OTHER = 4 * 2**20


class LimitsMiddleware:
    """Refuses what is too large; `room` says how many bytes uploads may take on the disk."""

    def __init__(self, app: ASGIApp, room: Callable[[], int] = lambda: sys.maxsize) -> None:
        self.app, self.room = app, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, length = limit_of(scope), length_of(scope)
        if length > limit:
            await refusal(scope, 413, words.TOO_LARGE)(scope, receive, send)
        elif is_upload(scope) and length > self.room():
            await refusal(scope, 507, words.DISK_FULL)(scope, receive, send)
        else:
            await self.app(scope, counted(receive, limit), send)


def is_upload(scope: Scope) -> bool:
    """Whether a request brings files."""
    return scope["path"] == f"{API}/upload"


def limit_of(scope: Scope) -> int:
    """Bytes that a request may bring."""
    return LARGEST_UPLOAD if is_upload(scope) else LARGEST_OTHER


def length_of(scope: Scope) -> int:
    """Bytes that a request says it brings; 0 where it does not say."""
    told = Headers(scope=scope).get("content-length", "0")
    return int(told) if told.isascii() and told.isdigit() else 0


def counted(receive: Receive, limit: int) -> Receive:
    """`receive` that ends the connection where more comes than was said."""
    total = 0

    async def receiving() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return message if total <= limit else {"type": "http.disconnect"}

    return receiving
