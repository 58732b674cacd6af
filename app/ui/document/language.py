"""The language of a request: chosen in the bar, else preferred by the browser."""

from __future__ import annotations

from contextlib import AbstractContextManager

import gradio as gr
from markupsafe import Markup
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.language import ENGLISH, direction, language, preferred, speaking
from app.ui.login.sender import cookies_of

COOKIE = "velatura-language"
"""Set by the bar's script; holds a key of LANGUAGES."""


class LanguageMiddleware:
    """Handles each request in its language."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with speaking(language_of(scope)):
            await self.app(scope, receive, send)


def speaking_to(request: gr.Request | None) -> AbstractContextManager[None]:
    """Use the language of the request that calls a handler; English without one."""
    inner = getattr(request, "request", None)
    return speaking(language_of(inner.scope) if inner is not None else ENGLISH)


def language_attributes() -> Markup:
    """The attributes `lang` and `dir` of `<html>` for this request."""
    return Markup('lang="{}" dir="{}"').format(language(), direction())


def language_of(scope: Scope) -> str:
    """The preferred language of a request."""
    return preferred(cookies_of(scope).get(COOKIE, ""), Headers(scope=scope).get("accept-language", ""))
