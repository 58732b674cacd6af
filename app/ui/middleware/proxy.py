"""Proxy headers: used from trusted proxies, dropped from all others."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.ui.login.sender import FORWARDED_FOR
from app.ui.middleware.hosts import is_loopback
from app.ui.middleware.routes import ROUTES
from trainers.errors import VelaturaError

log = logging.getLogger(__name__)
UNTRUSTED = (
    "requests come through a proxy at {address} that this studio was not told to trust, so all visitors look like one: "
    "if the proxy is yours, start with --trusted-proxy {address}"
)
LONGEST_ADDRESS = 64
ROOT_PATH = re.compile(r"(/[\w.~-]+)*/?", re.ASCII)
HOST = "x-forwarded-host"
FORWARDED = (
    *("x-forwarded-for", "x-forwarded-proto", HOST, "x-forwarded-port", "x-forwarded-prefix"),
    *("forwarded", "x-real-ip", "x-gradio-server"),
)


class ForwardedMiddleware:
    """Outermost: sets client, scheme and Host from a trusted proxy's headers, and removes these headers.

    Gradio would build page URLs from them, whoever sends them. The root path is removed, too.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str] = ()) -> None:
        self.app = app
        self._warned = False
        # Uvicorn's class reads the chain of addresses from the right, up to the first that is no trusted proxy.
        self._reader = ProxyHeadersMiddleware(self._without, trusted_hosts=list(proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = scope.get("client")
        if client and client[0] in self._reader.trusted_hosts:
            scope = with_host(scope)
        elif client and (named := Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()):
            self._warn(client[0])
            if is_loopback(client[0]):  # only a proxy can, and all its clients would count as one
                scope = {**scope, FORWARDED_FOR: named[:LONGEST_ADDRESS]}
        await self._reader(scope, receive, send)  # type: ignore[arg-type]

    def _warn(self, address: str) -> None:
        """Log once that requests seem to come through a proxy in this network."""
        if not self._warned and ipaddress.ip_address(address).is_private:
            self._warned = True
            log.warning(UNTRUSTED.format(address=address))

    async def _without(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = [(name, value) for name, value in scope["headers"] if name.decode("latin-1").lower() not in FORWARDED]
        await self.app({**without_root(scope), "headers": kept}, receive, send)


def without_root(scope: Scope) -> Scope:
    """The request below the root path: its `path` is the one that is routed, so checks and routes judge the same."""
    path, root = scope["path"], scope.get("root_path", "")
    if root and path.startswith(f"{root}/"):
        path = path.removeprefix(root)
    return {**scope, "path": path, "root_path": ""}


def with_host(scope: Scope) -> Scope:
    """The request with the host name used at the proxy."""
    if not (named := Headers(scope=scope).get(HOST, "").partition(",")[0].strip()):
        return scope
    scope = {**scope, "headers": list(scope["headers"])}
    MutableHeaders(scope=scope)["host"] = named
    return scope


def trusted(proxies: Sequence[str], address: str) -> bool:
    """Whether an address is one of these proxies."""
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(client in ipaddress.ip_network(proxy) for proxy in proxies)


def check_root_path(path: str) -> str:
    """A path without its last slash. Raises VelaturaError if it is not a path such as /studio, or begins like ours."""
    if path and not ROOT_PATH.fullmatch(path):
        raise VelaturaError("--root-path takes a path such as /studio, not {path}", path=path)
    path = path.rstrip("/")
    if path and path.split("/")[1] in {route.split("/")[1] for route in ROUTES}:
        raise VelaturaError(
            "--root-path cannot be {path}, since the studio has addresses of its own there; "
            "choose another such as /studio",
            path=path,
        )
    return path


def check_proxies(proxies: Sequence[str]) -> None:
    """Raise VelaturaError if a given proxy is neither an address nor a network."""

    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise VelaturaError(
                "--trusted-proxy takes an address or network such as 10.0.0.2 or 10.0.0.0/24, not {proxy}", proxy=proxy
            ) from error
