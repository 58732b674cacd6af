"""One request to a stack of middlewares, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PEER = ("127.0.0.1", 50_000)


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads what it is sent and says who asked."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            return
        if not message.get("more_body"):
            break
    kind = b"text/html; charset=utf-8" if scope["path"] in ("/", "/runs") else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": f"in {scope.get('velatura.user')} {len(body)}".encode()})


class Answer:
    """What came back; `status` is 0 where the connection ended without an answer."""

    def __init__(self, sent: list[Any]) -> None:
        start = next((m for m in sent if m["type"] == "http.response.start"), {"status": 0, "headers": []})
        self.status = start["status"]
        self.headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        self.text = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body").decode()

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def cookie(self, name: str) -> str:
        """The value of a cookie that it sets; "" where it sets none."""
        found = [value for key, value in self.headers if key == "set-cookie" and value.startswith(f"{name}=")]
        return found[-1].partition(";")[0].partition("=")[2] if found else ""


def ask(
    app: Any,
    path: str = "/",
    method: str = "GET",
    body: Sequence[bytes] = (b"",),
    peer: tuple[str, int] = PEER,
    scheme: str = "http",
    **head: str,
) -> Answer:
    """Send a request, with what stands behind a `?` as its query; `head` are its headers, with `_` for `-`."""
    path, _, query = path.partition("?")
    names = {"host": "localhost:7860"} | {name.replace("_", "-"): value for name, value in head.items()}
    headers = [(name.encode(), value.encode()) for name, value in names.items() if value]
    chunks = list(body)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "scheme": scheme,
        "client": peer,
        "headers": headers,
        "app": None,
    }
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps a loop running in the main one
        thread.submit(asyncio.run, app(scope, receive, send)).result()
    return Answer(sent)


def posted(**fields: str | list[str]) -> dict[str, Any]:
    """A form as a browser sends it: the arguments of `ask` besides the path."""
    from urllib.parse import urlencode

    kind = "application/x-www-form-urlencoded"
    return {"method": "POST", "body": [urlencode(fields, doseq=True).encode()], "content_type": kind}
