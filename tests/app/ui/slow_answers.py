"""Studios of the tests that answer late and out of order, as over a bad line: `VELATURA_SLOW_ANSWERS=SEED pytest …`.

A test that fails under it alone has found a race: an answer that began before another and arrived after it.
"""

from __future__ import annotations

import asyncio
import os
from functools import wraps
from random import Random
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SEED = "VELATURA_SLOW_ANSWERS"
"""The variable with the number that delays follow from."""
DELAYS = 0.05, 0.4
"""Seconds by which an answer comes later, at least and at most; a part of them passes before the studio is asked."""
AT_ONCE = ("/assets/", "/look/", "/static/", "/svelte/", "/theme.css", "/favicon.ico")
"""What a browser keeps, and what of a page cannot be overtaken."""


class SlowAnswers:
    """Delays every request and its answer, each by another time."""

    def __init__(self, app: ASGIApp, seed: str) -> None:
        self.app, self.random = app, Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(AT_ONCE):
            await self.app(scope, receive, send)
            return
        delay, share = self.random.uniform(*DELAYS), self.random.random()

        async def late(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(delay * (1 - share))
            await send(message)

        await asyncio.sleep(delay * share)
        await self.app(scope, receive, late)


def answer_slowly_if_asked() -> None:
    """Let the studio that this process serves answer slowly, where the variable says so."""
    if not (seed := os.environ.get(SEED)):
        return
    from app.ui import server

    checks = server.checks

    @wraps(checks)
    def with_delays(**given: Any) -> list[Middleware]:
        return [Middleware(SlowAnswers, seed=seed), *checks(**given)]

    vars(server)["checks"] = with_delays
