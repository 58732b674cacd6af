"""What every page's document begins with, before Gradio has drawn anything: fonts, icon and the chosen theme."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.components import text as words
from app.ui.web.html import MARK, text

FONTS = (("IBM Plex Sans", 400, "IBMPlexSans-Regular"), ("IBM Plex Sans", 700, "IBMPlexSans-Bold"))
MONO = ("IBM Plex Mono", 400, "IBMPlexMono-Regular")
# The choice is applied before the first paint; Gradio's own class on the body is kept equal to it by shell.js.
THEME = (
    "<script>(()=>{const r=document.documentElement;let t=null;try{t=localStorage.getItem('velatura-theme')}catch{}"
    "r.dataset.theme=t||(matchMedia('(prefers-color-scheme: dark)').matches?'dark':'light')})()</script>"
)


def _face(family: str, weight: int, file: str) -> str:
    source = f"url('./look/fonts/{file}.woff2') format('woff2')"
    return f"@font-face{{font-family:'{family}';font-weight:{weight};font-display:swap;src:{source}}}"


def opening() -> str:
    """The lines that are put at the start of a page's head, and of the login page's."""
    preloads = "".join(
        f'<link rel="preload" href="./look/fonts/{file}.woff2" as="font" type="font/woff2" crossorigin>'
        for _, _, file in FONTS
    )
    faces = "".join(_face(*font) for font in (*FONTS, MONO))
    return (
        f'{THEME}<link rel="icon" href="./look/icon.svg" type="image/svg+xml">{preloads}'
        f'<style>{faces}</style><link rel="stylesheet" href="./look/tokens.css">'
    )


def bare_page(title: str, content: str, base: str = "./") -> str:
    """A whole document of ours with one card on it; `base` leads from its address to the studio's."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><base href="{text(base)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{text(title)} · {words.PRODUCT}'
        f'</title>{opening()}<link rel="stylesheet" href="./look/web/bare.css"></head><body><main>'
        f'<div class="brand">{MARK}<b>{words.PRODUCT}</b></div><h1>{text(title)}</h1>{content}</main></body></html>'
    )


class Opening:
    """ASGI middleware that puts the opening lines into every page of Gradio's, after its `<base>`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.lines = opening().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; a page gets its lines."""
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
        place = body.find(b"<base ")
        place = body.find(b">", place) + 1 if place >= 0 else 0
        page = body[:place] + self.lines + body[place:]
        MutableHeaders(scope=start)["content-length"] = str(len(page))
        await send(start)
        await send({"type": "http.response.body", "body": page})


def is_html(message: Message) -> bool:
    """Whether an answer that begins is an HTML document."""
    return Headers(raw=list(message["headers"])).get("content-type", "").startswith("text/html")
