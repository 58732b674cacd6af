"""The first lines of every page, which set theme, icon, fonts, script and sheet before Gradio renders."""

from __future__ import annotations

from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.document.assets import script_of
from app.ui.document.language import language_attributes
from app.ui.document.templates import render
from app.ui.gradio_internals import place_in_body, place_in_head, with_language, with_manifest_beside
from app.ui.pages import PAGES


def bare_page(template: str, base: str = "./") -> Markup:
    """A standalone document with one card; `base` is the relative path from its address to the studio's."""
    return render(template, base=base)


class Opening:
    """ASGI middleware that inserts lines into the head of every Gradio page, after `<base>`, and into its body.

    The sheet is in the body, behind Gradio's own, which a script adds to the head. Bare documents stay unchanged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.heads = {
            page.path: render("document/opening.html", page_script=script_of(page.path)).encode() for page in PAGES
        }
        self.body = render("document/opening_body.html").encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and insert the lines if the response is a page."""
        path = scope["path"].strip("/") if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "GET" or path not in self.heads:
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and is_html(message):
                start.update(message)
            elif start and message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    await self._send_page(self.heads[path], start, bytes(body), send)
            else:
                await send(message)

        await self.app(scope, receive, sending)

    async def _send_page(self, lines: bytes, start: Message, body: bytes, send: Send) -> None:
        body = with_manifest_beside(with_language(body, language_attributes()))
        head, inside = place_in_head(body), place_in_body(body)
        page = body[:head] + lines + body[head:inside] + self.body + body[inside:]
        MutableHeaders(scope=start)["content-length"] = str(len(page))
        await send(start)
        await send({"type": "http.response.body", "body": page})


def is_html(message: Message) -> bool:
    """Whether a starting response is an HTML document."""
    return Headers(raw=list(message["headers"])).get("content-type", "").startswith("text/html")
