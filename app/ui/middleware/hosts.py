"""Checks of host names and origins."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.ui.components import text
from app.ui.middleware.refusals import refusal
from app.ui.middleware.routes import is_linked
from trainers.errors import VelaturaError

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?")
"""An IPv6 address in brackets or a name, and a port."""


class HostsMiddleware:
    """Refuses requests with an unknown Host, against DNS rebinding."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_known(host_name(Headers(scope=scope).get("host", "")), self.hosts):
            await refusal(scope, 403, text.REFUSED)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class OriginsMiddleware:
    """Refuses requests from other sites' pages, except links to a page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_from_here(scope):
            await refusal(scope, 403, text.REFUSED)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_from_here(scope: Scope) -> bool:
    """Whether a request comes from our pages, from a program, or from a link to a page."""
    headers = Headers(scope=scope)
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    if site in ("same-origin", "none") and (origin is None or _host_of(origin) == headers.get("host")):
        return True
    follows_link = origin is None and headers.get("sec-fetch-mode") == "navigate"
    return follows_link and scope["method"] in SAFE_METHODS and is_linked(scope["path"])


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # an unclosed bracket
        return None


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" if it is malformed."""
    match = HOST.fullmatch(host)
    return (match[1] or match[2]).lower().rstrip(".") if match else ""


def is_known(name: str, hosts: frozenset[str]) -> bool:
    """Whether a host is a known name or a numeric address, which DNS rebinding cannot use."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in hosts
    return True


def is_loopback(address: str) -> bool:
    """Whether this address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def names_of_machine(address: str) -> frozenset[str]:
    """The host names of a studio that listens on this address."""
    if is_loopback(address):
        return frozenset({"localhost"})
    return frozenset({"localhost", address.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})


def check_address(address: str, people: bool, insecure: bool) -> None:
    """Raise VelaturaError if a studio without accounts would listen on the network without --insecure."""
    if not (is_loopback(address) or people or insecure):
        raise VelaturaError(
            "listening on {address} gives everybody on the network access: add accounts with --add-person "
            "NAME (or --auth user:password, --auth-file FILE), or use --insecure to allow it",
            address=address,
        )
