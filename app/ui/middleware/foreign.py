"""Refuses URLs in requests before Gradio fetches them.

A file in a request is `{"path": …, "url": …}`: Gradio's FileData, and whatever holds one. Where the path is an address,
Gradio downloads it, of any size, before the endpoint is called.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ui.components import text as words
from app.ui.gradio_internals import API, is_file
from app.ui.middleware.hosts import SAFE_METHODS
from app.ui.middleware.limits import is_upload
from app.ui.middleware.refusals import refusal

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
"""At least two letters, as `C:` begins a Windows path."""
UNSEEN = re.compile(r"[\x00-\x20\x7f-\xa0]+")
CONTENT = "velatura.content"
"""Scope key of the parsed JSON, for later checks."""


class ForeignAddressMiddleware:
    """Parses the JSON sent to Gradio, and refuses files that are not uploads or lie elsewhere."""

    def __init__(self, app: ASGIApp, uploads: Path) -> None:
        self.app, self.uploads = app, uploads.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_json(scope):
            await self.app(scope, receive, send)
            return
        body = await read_body(receive)
        if body is None:
            return
        try:
            content = json.loads(body) if body else None
        except (ValueError, RecursionError):
            await refusal(scope, 400, words.NO_JSON)(scope, receive, send)
            return
        if foreign := find_foreign(content, Headers(scope=scope).get("host", "")):
            await refusal(scope, 400, words.foreign(foreign))(scope, receive, send)
        elif any(not is_inside(path, self.uploads) for path in paths_of_files(content)):
            await refusal(scope, 400, words.BAD_PATH)(scope, receive, send)
        else:
            scope[CONTENT] = content
            await self.app(scope, replayed(body, receive), send)


def is_json(scope: Scope) -> bool:
    """Whether a request sends values to Gradio, of whatever declared type."""
    return scope["method"] not in SAFE_METHODS and scope["path"].startswith(f"{API}/") and not is_upload(scope)


def find_foreign(content: Any, host: str) -> str:
    """The first foreign URL in place of a file; "" if there is none."""
    for table in tables(content):
        path, url = table.get("path"), table.get("url")
        if isinstance(path, str) and is_address(path):
            return path
        if isinstance(url, str) and is_address(url) and not is_on(host, url):
            return url
    return ""


def paths_of_files(content: Any) -> Iterator[str]:
    """Paths of the files that Gradio would open before calling the endpoint."""
    for table in tables(content):
        path = table.get("path")
        if is_file(table) and isinstance(path, str):
            yield path


def is_inside(path: str, folder: Path) -> bool:
    """Whether a path is inside a folder, without accessing the disk."""
    return "\0" not in path and Path(os.path.normpath(path)).is_relative_to(folder)


def tables(content: Any) -> Iterator[dict[str, Any]]:
    """Every object in JSON, at any depth."""
    pending = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def is_address(text: str) -> bool:
    """Whether a string is a URL or network share instead of a local path."""
    plain = UNSEEN.sub("", text)
    return bool(SCHEME.match(plain)) or plain.replace("\\", "/").startswith("//")


def is_on(host: str, url: str) -> bool:
    """Whether a URL is this studio's, as the JavaScript client writes its uploads."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() != ""


async def read_body(receive: Receive) -> bytes | None:
    """The body of a request; None if the client disconnected."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that replays a body, then continues."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
