"""Answers calls that Gradio cannot parse with a message; Gradio itself would fail with a 500 and a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.components import text
from app.ui.gradio_internals import BAD_CALL, DIRECT, QUEUED
from app.ui.middleware.foreign import CONTENT
from app.ui.middleware.refusals import refusal

Missing = Callable[[str, dict[str, Any]], tuple[str, list[str]] | None]


class BadCallsMiddleware:
    """Innermost: answers 400 to a call that fails before its endpoint is called.

    `missing` returns the name and parameters of the endpoint if this content has too few values for it.
    """

    def __init__(self, app: ASGIApp, missing: Missing) -> None:
        self.app, self.missing = app, missing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(QUEUED + DIRECT):
            await self.app(scope, receive, send)
            return
        content = scope.get(CONTENT)
        if isinstance(content, dict) and (missing := self.missing(scope["path"], content)):
            name, parameters = missing
            message = text.too_few_values(name, parameters, len(content["data"])) if parameters else text.BAD_CALL
            await refusal(scope, 400, message)(scope, receive, send)
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
