"""Connection limits below HTTP: how many are open, and how long each may wait for its client.

Uvicorn has neither limit. A client that opens connections and sends nothing would exhaust the process's file handles
and lock everybody out.
"""

from __future__ import annotations

import asyncio
import logging
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
"""Maximum number of connections: in total, and per address."""
MOST_HANDLES, RESERVED = 65_536, 96
"""File handles requested from the system, and those reserved for files, databases and jobs."""
HEADERS_WITHIN, BODY_WITHIN, READ_WITHIN = 10.0, 60.0, 60.0
"""Timeouts in seconds: for the headers, between two parts of a body, and for the client to read the answer."""
SLOWEST_BODY = 1000.0
"""Minimum average bytes per second of a body after its first `BODY_WITHIN` seconds."""
LOGGED_EVERY = 60.0
"""Seconds between two equal log entries that clients can cause."""
BUSY = "Too many connections. Behind a proxy, start the studio with --trusted-proxy and its address."
REFUSED = (
    f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\nconnection: close\r\n"
    f"content-length: {len(BUSY)}\r\n\r\n{BUSY}"
).encode()


class LimitedProtocol(H11Protocol):
    """A connection that is closed when its client is too slow."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._limits = connections
        self.logger = connections.logger
        self._body: tuple[Any, float] = None, 0.0
        """The request whose body is incomplete, and the time at which its body began."""
        self.body_size = 0
        """Bytes of that body received so far."""
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request has arrived yet, or all are answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def awaits_body(self) -> bool:
        """Whether the body of the current request is incomplete."""
        return not self.is_idle and self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or answer 503 and close it."""
        super().connection_made(transport)
        if self._limits.take(self):
            self._wait_for_headers()
        else:
            transport.write(REFUSED)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the count."""
        self._limits.forget(self)
        self._stop_reading()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Restart the timeout for the next part of the body, or start the one for the headers."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.is_idle:
            if self._reading is None:  # further bytes do not restart the timeout for the headers
                self._wait_for_headers()
            return
        self._wait_for_body(len(data))

    def on_response_complete(self) -> None:
        """Stop waiting for the body; uvicorn closes a connection without a further request."""
        self._stop_reading()
        super().on_response_complete()
        if not self.is_idle:  # a pipelined request is already being handled
            self._wait_for_body(0)

    def pause_writing(self) -> None:
        """Start the timeout for a client that does not read."""
        super().pause_writing()
        self._writing = self.loop.call_later(READ_WITHIN, self.transport.abort)

    def resume_writing(self) -> None:
        """End that timeout."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _wait_for_headers(self) -> None:
        self._reading = self.loop.call_later(HEADERS_WITHIN, self.transport.abort)

    def _wait_for_body(self, size: int) -> None:
        """Wait for the next part of the body; a part of `size` bytes extends the timeout in proportion."""
        self._stop_reading()
        if not self.awaits_body:
            return
        now, (request, began) = self.loop.time(), self._body
        if request is not self.cycle:
            began, self.body_size = now, 0
            self._body = self.cycle, began
        self.body_size += size
        end = began + BODY_WITHIN + self.body_size / SLOWEST_BODY
        self._reading = self.loop.call_at(min(now + BODY_WITHIN, end), self.transport.abort)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


class Connections:
    """The open connections, oldest first; at a limit, one that waits for its client is closed for the next."""

    def __init__(self, most: int, is_proxy: Callable[[str], bool]) -> None:
        self._most, self._is_proxy = most, is_proxy
        self.logger = sparing_logger()
        self._open: dict[LimitedProtocol, str] = {}

    def take(self, connection: LimitedProtocol) -> bool:
        """Count a connection; False at a limit if all others are in use."""
        host = connection.client[0] if connection.client else ""
        address = "" if self._is_proxy(host) else network_of(host)
        same = [other for other, other_address in self._open.items() if other_address == address]
        if address and len(same) >= MOST_OF_AN_ADDRESS and not self._close_waiting(same):
            return False
        if len(self._open) >= self._most and not self._close_waiting(list(self._open)):
            return False
        self._open[connection] = address
        return True

    def forget(self, connection: LimitedProtocol) -> None:
        """Remove a connection that has ended."""
        self._open.pop(connection, None)

    def _close_waiting(self, connections: list[LimitedProtocol]) -> bool:
        """Close the oldest unused connection, else the idle one, else that with the smallest incomplete body."""
        waiting = [connection for connection in connections if connection.is_idle or connection.awaits_body]
        if not waiting:
            return False
        first = min(waiting, key=lambda other: (other.awaits_body and other.body_size + 1, other.cycle is not None))
        self.forget(first)
        first.transport.abort()
        return True


@dataclass(frozen=True)
class Capacity:
    """The numbers of connections that the file handles allow."""

    connections: int
    backlog: int
    """Connections accepted at once before any is counted."""


def capacity(handles: int) -> Capacity:
    """The capacity of a process with so many file handles.

    Each connection may open a file, and four times the backlog is accepted before the first is closed.
    """
    free = max(64, handles - RESERVED)
    return Capacity(min(MOST, free * 3 // 8), min(2048, free // 16))


def raise_handle_limit() -> int:
    """Raise the limit of file handles as far as possible and return it; Windows has no such limit."""
    if sys.platform == "win32":
        return MOST_HANDLES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_HANDLES if hard == resource.RLIM_INFINITY else min(hard, MOST_HANDLES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS refuses more than the kernel's limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return MOST_HANDLES if soft == resource.RLIM_INFINITY else soft


class Sparing:
    """Lets each kind of log entry pass once a minute."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def is_due(self, kind: str) -> bool:
        """Whether `kind` was not logged within the last minute."""
        now = time.monotonic()
        if now < self._logged.get(kind, -LOGGED_EVERY) + LOGGED_EVERY:
            return False
        self._logged[kind] = now
        return True


def sparing_logger() -> logging.Logger:
    """Uvicorn's logger for connections, which repeats each warning at most once a minute."""
    sparing, parent = Sparing(), logging.getLogger("uvicorn.error")
    logger = logging.Logger(parent.name)
    logger.parent = parent
    logger.addFilter(lambda record: record.levelno != logging.WARNING or sparing.is_due(record.msg))
    return logger


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop that logs failed accepts at most once a minute."""
    loop, sparing = asyncio.new_event_loop(), Sparing()

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "accept()" not in context["message"] or sparing.is_due("accept"):
            loop.default_exception_handler(context)

    loop.set_exception_handler(report)
    return loop


def server_options(proxies: Sequence[str]) -> dict[str, Any]:
    """Uvicorn's options that limit connections; those from `proxies` are not counted by address."""
    allowed = capacity(raise_handle_limit())
    connections = Connections(allowed.connections, partial(trusted, proxies))
    return {"http": partial(LimitedProtocol, connections), "loop": new_loop, "backlog": allowed.backlog}
