"""The language of a request: the one chosen in the bar, else the browser's."""

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
    """Answers each request in its language."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with speaking(language_of(scope)):
            await self.app(scope, receive, send)


def speaking_to(request: gr.Request | None) -> AbstractContextManager[None]:
    """Use the language of whoever calls a handler; English for what no request has called."""
    asked = getattr(request, "request", None)
    return speaking(language_of(asked.scope) if asked is not None else ENGLISH)


def language_attributes() -> Markup:
    """What `<html>` says of the language of this request and the direction of its script."""
    return Markup('lang="{}" dir="{}"').format(language(), direction())


def language_of(scope: Scope) -> str:
    """The language in which a request wants to be answered."""
    return preferred(cookies_of(scope).get(COOKIE, ""), Headers(scope=scope).get("accept-language", ""))
