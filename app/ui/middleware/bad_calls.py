"""Answers calls that Gradio cannot parse with a message; Gradio itself would fail with a 500 and a traceback."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.components import text
from app.ui.gradio_internals import BAD_CALL, DIRECT, QUEUED
from app.ui.middleware.refusals import refusal


class BadCallsMiddleware:
    """Innermost: answers 400 to a call that fails before its endpoint is called."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(QUEUED + DIRECT):
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except BAD_CALL:
            if begun:
                raise
            await refusal(scope, 400, text.BAD_CALL)(scope, receive, send)
