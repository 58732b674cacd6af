"""Limits on request size, disk space and uploads per person."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.studio.accounts.attempts import network_of
from app.studio.accounts.quota import Quota, Sent
from app.studio.accounts.received import Received
from app.ui.components import text
from app.ui.gradio_internals import API
from app.ui.login.sender import USER, address_of
from app.ui.middleware.refusals import refusal
from app.ui.middleware.routes import ACCOUNT, FORMS
from app.units import readable_size

LARGEST_UPLOAD = 220 * 2**20
LARGEST_OTHER = 4 * 2**20
LARGEST_FORM, LARGEST_ACCOUNT_FORM = 8_000, 64_000
"""Maximum bytes of a form, which is parsed in the event loop, in `/login` without a login; the one with all people."""
LOOK_EVERY = 4 * 2**20
"""Bytes of an upload between checks of the disk, which other programs may fill."""


class TooMuchError(Exception):
    """A request over a limit, with status and message."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(eq=False)
class Incoming:
    """The size of a request's body: declared, received and passed on."""

    announced: int
    come: int = 0

    @property
    def expected(self) -> int:
        """Its total bytes, as far as known."""
        return max(self.announced, self.come)


class SizeMiddleware:
    """Refuses requests that are too large, by declared or received size; ends those whose client has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_form = scope["path"] in FORMS
        form = LARGEST_ACCOUNT_FORM if scope["path"] == ACCOUNT else LARGEST_FORM
        limit = form if is_form else LARGEST_UPLOAD if is_upload(scope) else LARGEST_OTHER

        async def check(expected: int) -> None:
            if expected > limit:
                too_large = text.FORM_TOO_LARGE.format(size=readable_size(limit))
                raise TooMuchError(413, too_large if is_form else text.TOO_LARGE)

        with suppress(ClientDisconnect):  # nobody would read a response
            await checked(self.app, check, Incoming(length_of(scope)), scope, receive, send)


@dataclass(frozen=True)
class Shares:
    """Limits of uploads: disk space, and on a shared studio each sender's daily volume and quota."""

    room: Callable[[], int]
    received: Received | None = None
    quota: Quota | None = None
    """Storage quota of people with accounts."""


class UploadsMiddleware:
    """Refuses uploads without enough space, at the start or while they arrive, whatever size they declare."""

    def __init__(self, app: ASGIApp, shares: Shares) -> None:
        self.app, self.shares = app, shares
        self._coming: dict[str, list[Incoming]] = {}
        """Bytes of uploads in progress by sender, not yet recorded."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_upload(scope):
            await self.app(scope, receive, send)
            return
        sender = scope.get(USER) or network_of(address_of(scope))
        received, incoming = self.shares.received, Incoming(length_of(scope))
        beside = self._coming.setdefault(sender, [])
        quota = self.shares.quota if scope.get(USER) else None
        looked, left, may_keep = -LOOK_EVERY, sys.maxsize, 0 if quota else sys.maxsize

        async def check(expected: int) -> None:
            nonlocal looked, left, may_keep
            expected = max(1, expected)
            together = expected + sum(other.expected for other in beside if other is not incoming)
            if incoming.come - looked >= LOOK_EVERY:
                looked = incoming.come
                left = await run_in_threadpool(received.left, sender) if received else sys.maxsize
                if together <= left and await run_in_threadpool(self.shares.room) < max(1, expected - incoming.come):
                    raise TooMuchError(507, text.DISK_FULL)
            if together > left:
                raise TooMuchError(429, text.SHARE_USED)
            if quota and together > may_keep:  # last, as it may delete from the trash
                may_keep = await run_in_threadpool(quota.left, sender, together)
                if together > may_keep:
                    sent = await run_in_threadpool(quota.sent, sender)
                    raise TooMuchError(507, quota_used(quota.limit_of(sender), sent))

        beside.append(incoming)
        try:
            await checked(self.app, check, incoming, scope, receive, send)
        finally:
            try:
                if received and incoming.come:
                    await run_in_threadpool(received.add, sender, incoming.come)
            finally:
                beside.remove(incoming)
                if not beside:
                    del self._coming[sender]


async def checked(
    app: ASGIApp,
    check: Callable[[int], Awaitable[None]],
    incoming: Incoming,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Run `app`; `check` is called with the expected bytes, before the start and before each chunk.

    If it raises TooMuchError, `app` sees the error and the client gets the message.
    """
    begun = False

    async def receiving() -> Message:
        message = await receive()
        size = len(message.get("body", b""))
        await check(max(incoming.announced, incoming.come + size))
        incoming.come += size
        return message

    async def sending(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await check(incoming.announced)
        await app(scope, receiving, sending)
    except TooMuchError as error:
        if begun:
            raise
        headers = {"connection": "close"}  # the rest of the body is not read
        await refusal(scope, error.status, error.sentence, headers)(scope, receive, send)


def quota_used(limit: int, sent: Sent) -> str:
    """A person's use of their quota, and how to free it."""
    return text.QUOTA_USED.format(*(readable_size(size) for size in (limit, sent.pictures, sent.styles)))


def is_upload(scope: Scope) -> bool:
    """Whether a request contains files."""
    return bool(scope["path"] == f"{API}/upload")


def length_of(scope: Scope) -> int:
    """Declared bytes of a request; 0 if not declared."""
    told = Headers(scope=scope).get("content-length", "0")
    return int(told) if told.isascii() and told.isdigit() else 0
