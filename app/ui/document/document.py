"""The start of every page's document: fonts, icon and theme, before Gradio renders anything."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.document.templates import render
from app.ui.gradio_internals import place_in_head


@dataclass(frozen=True)
class FontFace:
    """A font of `static/fonts`; one that is needed on every page is loaded before the sheets ask for it."""

    family: str
    weight: int
    file: str
    preload: bool = True


FACES = (
    FontFace("IBM Plex Sans", 400, "IBMPlexSans-Regular"),
    FontFace("IBM Plex Sans", 700, "IBMPlexSans-Bold"),
    FontFace("IBM Plex Mono", 400, "IBMPlexMono-Regular", preload=False),
)


def opening() -> Markup:
    """The lines inserted at the start of a page's head."""
    return render("document/opening.html", faces=FACES)


def bare_page(template: str, base: str = "./") -> Markup:
    """A standalone document with one card; `base` leads from its address to the studio's."""
    return render(template, base=base, faces=FACES)


class Opening:
    """ASGI middleware that inserts the opening lines into every Gradio page, after its `<base>`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.lines = opening().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, inserting the lines into pages."""
        if scope["type"] != "http" or scope["method"] != "GET":
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
                    await self._send_page(start, bytes(body), send)
            else:
                await send(message)

        await self.app(scope, receive, sending)

    async def _send_page(self, start: Message, body: bytes, send: Send) -> None:
        place = place_in_head(body)
        page = body[:place] + self.lines + body[place:]
        MutableHeaders(scope=start)["content-length"] = str(len(page))
        await send(start)
        await send({"type": "http.response.body", "body": page})


def is_html(message: Message) -> bool:
    """Whether a starting response is an HTML document."""
    return Headers(raw=list(message["headers"])).get("content-type", "").startswith("text/html")
