"""What a browser shows where there is nothing: a page of ours, not Gradio's bare answer to a program."""

from __future__ import annotations

from typing import Any

from app.ui import words
from app.ui.document import Message, Send, bare_page
from app.ui.html import text


def lost_page(path: str) -> str:
    """The whole document, whose links lead from `path` back to the studio."""
    lead = f'<p>{text(words.NOTHING_HERE_LEAD)}</p><a class="go" href="./">{text(words.TO_TRAIN)}</a>'
    return bare_page(words.NOTHING_HERE.rstrip("."), lead, "../" * (path.count("/") - 1) or "./")


class Lost:
    """ASGI middleware that shows the page to people who have gone astray; programs get their answer as it is."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Pass everything on, but a person's 404."""
        if scope["type"] != "http" or not is_visit(scope):
            await self.app(scope, receive, send)
            return
        astray = False

        async def sending(message: Message) -> None:
            nonlocal astray
            if message["type"] == "http.response.start" and message["status"] == 404:
                astray = True
                await send_page(send, lost_page(scope["path"]), 404)
            elif not astray:
                await send(message)

        await self.app(scope, receive, sending)


def is_visit(scope: Any) -> bool:
    """Whether a request is a browser's for a page."""
    accepts = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return scope["method"] == "GET" and b"text/html" in accepts


async def send_page(send: Send, page: str, status: int) -> None:
    """Answer with a whole document."""
    body = page.encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
