"""What stands before every request: which hosts and origins are believed, what is closed, how large a request may be.

Gradio makes each listener an address that any web page could call, fetches other sites for whoever asks, and serves
its monitoring to everybody. The guard is the one place where that ends; it also sees to who is logged in.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from app.ui import words
from app.ui.auth import Door
from app.ui.login import login_page
from trainers.errors import VelaturaError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
# fmt: off
CLOSED = (
    "/monitoring", "/pwa_icon", f"{API}/component_server", f"{API}/proxy=", f"{API}/file=http", f"{API}/run-history",
    f"{API}/runs", f"{API}/process_recording", f"{API}/vibe", f"{API}/undo-vibe", f"{API}/dev", f"{API}/mcp",
    f"{API}/deep_link", f"{API}/custom_component", f"{API}/openapi.json", f"{API}/profiling",
)
# fmt: on
FOR_EVERYBODY = ("/look/", "/login", "/favicon.ico", "/robots.txt", f"{API}/startup-events")
LARGEST_UPLOAD = 220 * 2**20
LARGEST_OTHER = 4 * 2**20
VISITOR, LOGIN = "velatura-visitor", "velatura-login"
YEAR = 365 * 24 * 3600
USER = "velatura.user"

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    # Gradio compiles templates, hence unsafe-eval; what matters is that nothing is loaded from or sent elsewhere.
    b"content-security-policy": b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; "
    b"worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'",
}
FILE_HEADERS = {
    b"cache-control": b"private, max-age=31536000, immutable",
    b"content-security-policy": b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
}


class Guard:
    """ASGI middleware; `hosts` are the names by which the studio may be called, besides addresses in digits.

    `room` says how many bytes uploads may take on the disk.
    """

    def __init__(self, app: App, hosts: frozenset[str], door: Door, room: Callable[[], int] = lambda: sys.maxsize):
        self.app, self.hosts, self.door, self.room = app, hosts, door, room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, and pass the rest on with the visitor's cookie and safe headers."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request = Asked(scope["method"], unquote(scope["path"]), head, read_cookies(head))
        if not self._is_ours(request):
            await _answer(send, 403, words.REFUSED)
        elif request.path.startswith(CLOSED):
            await _answer(send, 404, words.NOTHING_HERE)
        elif request.length > request.limit:
            await _answer(send, 413, words.TOO_LARGE)
        elif request.is_upload and request.length > self.room():
            await _answer(send, 507, words.DISK_FULL)
        else:
            receive = _counted(receive, request.limit)
            if self.door.open or not await self._stop_at_door(scope, request, receive, send):
                await self.app(scope, receive, _with_headers(send, request))

    async def _stop_at_door(self, scope: Scope, request: Asked, receive: Receive, send: Send) -> bool:
        """Answer whoever logs in, logs out or has yet to log in; False lets the request pass, under a name."""
        name = self.door.name_of(request.cookies.get(LOGIN, ""))
        if request.path.rstrip("/") == "/login" and request.method == "POST":
            await self._log_in(receive, send)
            return True
        if request.path.rstrip("/") == "/logout":
            await _redirect(send, "./", _cookie(LOGIN, "", 0))
            return True
        if name is None and not request.path.startswith(FOR_EVERYBODY):
            await _ask_to_log_in(request, send)
            return True
        scope[USER] = name
        return False

    def _is_ours(self, request: Asked) -> bool:
        """Whether a request names this machine as its host, and does not come from another site's page."""
        if not is_known(host_name(request.head.get("host", "")), self.hosts):
            return False
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return True
        origin = request.head.get("origin")
        site = request.head.get("sec-fetch-site", "same-origin")
        return site in ("same-origin", "none") and (origin is None or urlsplit(origin).netloc == request.head["host"])

    async def _log_in(self, receive: Receive, send: Send) -> None:
        form = parse_qs((await _body(receive)).decode("utf-8", "replace"))
        name, password = (form.get(key, [""])[0] for key in ("username", "password"))
        if wait := self.door.wait(name.strip()):
            await _answer(send, 429, words.too_many_wrong(wait))
        elif not self.door.admit(name.strip(), password):
            await _answer(send, 400, words.WRONG_PASSWORD)
        else:
            cookie = _cookie(LOGIN, self.door.sign(name.strip()), YEAR)
            await _answer(send, 200, json.dumps({"success": True}), b"application/json", [cookie])


@dataclass(frozen=True)
class Asked:
    """A request as far as the guard looks at it."""

    method: str
    path: str
    head: dict[str, str]
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """Bytes that it may bring."""
        return LARGEST_UPLOAD if self.is_upload else LARGEST_OTHER

    @property
    def is_upload(self) -> bool:
        """Whether it brings files."""
        return self.path.startswith(f"{API}/upload")

    @property
    def length(self) -> int:
        """Bytes that it says it brings."""
        told = self.head.get("content-length", "0")
        return int(told) if told.isdigit() else 0


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_known(name: str, hosts: frozenset[str]) -> bool:
    """Whether a host is one of ours: a known name, or an address in digits, which no foreign name can stand for."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in hosts
    return True


def is_loopback(address: str) -> bool:
    """Whether a server listening on this address is reached from its own machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def names_of_machine(address: str) -> frozenset[str]:
    """The names under which a studio listening on this address is called."""
    if is_loopback(address):
        return frozenset({"localhost"})
    return frozenset({"localhost", address.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})


def check_address(address: str, people: bool, insecure: bool) -> None:
    """Raise VelaturaError where a studio without passwords would listen to other machines and nobody asked for it."""
    if not (is_loopback(address) or people or insecure):
        raise VelaturaError(
            f"listening on {address} lets everybody in the network in: give --auth user:password or --auth-file FILE, "
            "or --insecure if that is what you want"
        )


def read_cookies(head: dict[str, str]) -> dict[str, str]:
    """The cookies of a request; none where they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(head.get("cookie", "")).items()}
    except CookieError:
        return {}


def _with_headers(send: Send, request: Asked) -> Send:
    is_file = request.path.startswith((f"{API}/file=", "/look/"))

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = HEADERS | (FILE_HEADERS if is_file and message["status"] < 400 else {})
            kept = [(name, value) for name, value in message["headers"] if name.lower() not in extra]
            is_page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in kept)
            if is_page and not request.cookies.get(VISITOR):
                kept.append((b"set-cookie", _cookie(VISITOR, secrets.token_urlsafe(24), YEAR)))
            if is_page:
                kept.append((b"cache-control", b"no-cache"))
            message["headers"] = [*kept, *extra.items()]
        await send(message)

    return sending


def _counted(receive: Receive, limit: int) -> Receive:
    """`receive` that ends the connection where more comes than was said."""
    total = 0

    async def receiving() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return message if total <= limit else {"type": "http.disconnect"}

    return receiving


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


async def _ask_to_log_in(request: Asked, send: Send) -> None:
    is_page = request.method == "GET" and "text/html" in request.head.get("accept", "")
    if is_page:
        await _answer(send, 401, login_page(), b"text/html; charset=utf-8")
    else:
        await _answer(send, 401, words.LOG_IN_FIRST)


async def _redirect(send: Send, where: str, cookie: bytes) -> None:
    headers = [(b"location", where.encode()), (b"set-cookie", cookie)]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _answer(
    send: Send, status: int, text: str, kind: bytes = b"text/plain; charset=utf-8", cookies: list[bytes] | None = None
) -> None:
    headers = [(b"content-type", kind), (b"cache-control", b"no-store"), *HEADERS.items()]
    headers += [(b"set-cookie", cookie) for cookie in cookies or []]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _cookie(name: str, value: str, seconds: int) -> bytes:
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax".encode()
