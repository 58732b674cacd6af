"""Limits of connections, below HTTP: how many there may be, and how long one may wait for the client.

Uvicorn limits neither. A client that opens connections and sends nothing would use up the process's file handles, and
then nobody is served.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from app.studio.accounts.attempts import network_of
from app.ui.middleware.proxy import trusted

MOST, MOST_OF_AN_ADDRESS = 1000, 100
"""Maximum number of connections, and of those from one address."""
MOST_HANDLES, RESERVED = 65_536, 96
"""File handles asked of the system, and those kept for files, databases and jobs."""
HEADERS_WITHIN, BODY_WITHIN, READ_WITHIN = 10.0, 60.0, 60.0
"""Seconds for a request's headers, for the next part of its body, and for the client to take more of an answer."""
ACCEPT_ERRORS_EVERY = 60.0
"""Seconds between two log entries about connections that could not be accepted."""
BUSY = "Too many connections. Behind a proxy, start the studio with --trusted-proxy and its address."
REFUSED = (
    f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\nconnection: close\r\n"
    f"content-length: {len(BUSY)}\r\n\r\n{BUSY}"
).encode()


class LimitedProtocol(H11Protocol):
    """A connection that is closed when its client keeps it waiting."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._limits = connections
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request has come yet, or all have been answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or answer 503 and close it."""
        super().connection_made(transport)
        if self._limits.take(self):
            self._wait_for_headers()
        else:
            transport.write(REFUSED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._limits.forget(self)
        self._stop_reading()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, or for the next part of the body."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.is_idle:
            if self._reading is None:  # the time for headers does not start again with each byte of them
                self._wait_for_headers()
            return
        self._stop_reading()
        if self.cycle.more_body:
            self._reading = self.loop.call_later(BODY_WITHIN, self.transport.abort)

    def on_response_complete(self) -> None:
        """The body of an answered request is no longer awaited; uvicorn closes a connection without another."""
        self._stop_reading()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._writing = self.loop.call_later(READ_WITHIN, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _wait_for_headers(self) -> None:
        self._reading = self.loop.call_later(HEADERS_WITHIN, self.transport.abort)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


class Connections:
    """The open connections, oldest first. At a limit, the oldest idle one makes room for the next."""

    def __init__(self, most: int, is_proxy: Callable[[str], bool]) -> None:
        self._most, self._is_proxy = most, is_proxy
        self._open: dict[LimitedProtocol, str] = {}

    def take(self, connection: LimitedProtocol) -> bool:
        """Count a connection; False if there are too many, and all are at work."""
        host = connection.client[0] if connection.client else ""
        address = "" if self._is_proxy(host) else network_of(host)
        same = [other for other, known in self._open.items() if known == address]
        if address and len(same) >= MOST_OF_AN_ADDRESS and not self._close_idle(same):
            return False
        if len(self._open) >= self._most and not self._close_idle(list(self._open)):
            return False
        self._open[connection] = address
        return True

    def forget(self, connection: LimitedProtocol) -> None:
        """A connection has ended."""
        self._open.pop(connection, None)

    def _close_idle(self, connections: list[LimitedProtocol]) -> bool:
        idle = [connection for connection in connections if connection.is_idle]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.cycle is not None)  # one that was never used goes first
        self.forget(oldest)
        oldest.transport.abort()
        return True


@dataclass(frozen=True)
class Capacity:
    """How many connections the file handles allow."""

    connections: int
    backlog: int
    """Connections accepted at once, before any of them is counted."""


def capacity(handles: int) -> Capacity:
    """The capacity of a process that may have so many handles.

    Each connection may open a file, and four times the backlog is accepted before the first of it is closed.
    """
    free = max(64, handles - RESERVED)
    return Capacity(min(MOST, free * 3 // 8), min(2048, free // 16))


def raise_handle_limit() -> int:
    """Raise the limit of file handles as far as the system allows; returns it. Windows has no such limit."""
    if sys.platform == "win32":
        return MOST_HANDLES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_HANDLES if hard == resource.RLIM_INFINITY else min(hard, MOST_HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS refuses more than the kernel's own limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_HANDLES if soft == resource.RLIM_INFINITY else soft


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop that reports connections it cannot accept once a minute, not each time it tries."""
    loop, reported = asyncio.new_event_loop(), -ACCEPT_ERRORS_EVERY

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal reported
        if "accept()" in context["message"]:
            if time.monotonic() < reported + ACCEPT_ERRORS_EVERY:
                return
            reported = time.monotonic()
        loop.default_exception_handler(context)

    loop.set_exception_handler(report)
    return loop


def server_options(proxies: Sequence[str]) -> dict[str, Any]:
    """Options of uvicorn that limit connections; those from `proxies` are not counted by address."""
    allowed = capacity(raise_handle_limit())
    connections = Connections(allowed.connections, partial(trusted, proxies))
    return {"http": partial(LimitedProtocol, connections), "loop": new_loop, "backlog": allowed.backlog}
