"""How large a request may be, and that uploads leave room on the disk and to others."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.studio.accounts.attempts import network_of
from app.studio.accounts.quota import Quota, Sent
from app.studio.accounts.received import Received
from app.ui.components import text
from app.ui.middleware.login import address_of
from app.ui.web.gradio_internals import API
from app.ui.web.refusals import refusal
from app.ui.web.sender import USER
from app.units import readable_size

LARGEST_UPLOAD = 220 * 2**20
LARGEST_OTHER = 4 * 2**20
LOOK_EVERY = 4 * 2**20
"""Bytes of an upload after which the disk is looked at again: others write to it meanwhile."""


class TooMuchError(Exception):
    """A request that must not go on, with the status and the sentence for its sender."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(eq=False)
class Incoming:
    """A request's body: the bytes that it has announced, and those that have come and been passed on."""

    announced: int
    come: int = 0

    @property
    def expected(self) -> int:
        """How many bytes it has in the end, as far as is known."""
        return max(self.announced, self.come)


class SizeMiddleware:
    """Refuses what is too large by what it says of itself or by what comes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = LARGEST_UPLOAD if is_upload(scope) else LARGEST_OTHER

        async def check(expected: int) -> None:
            if expected > limit:
                raise TooMuchError(413, text.TOO_LARGE)

        await checked(self.app, check, Incoming(length_of(scope)), scope, receive, send)


@dataclass(frozen=True)
class Shares:
    """What uploads may take: bytes of the disk, and on a shared studio of each sender's share of a day and quota."""

    room: Callable[[], int]
    received: Received | None = None
    quota: Quota | None = None
    """Of what people keep, who have logins."""


class UploadsMiddleware:
    """Refuses an upload for which there is no room, at the start or while it comes, however much it says it brings."""

    def __init__(self, app: ASGIApp, shares: Shares) -> None:
        self.app, self.shares = app, shares
        self._coming: dict[str, list[Incoming]] = {}
        """What each sender is sending, of which nothing is noted yet."""

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
            if quota and together > may_keep:  # asked last: it may delete what is in the trash
                may_keep = await run_in_threadpool(quota.left, sender, together)
                if together > may_keep:
                    sent = await run_in_threadpool(quota.sent, sender)
                    raise TooMuchError(507, quota_used(quota.limit, sent))

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
    """Run `app`; `check` is asked with the bytes that are expected, before it starts and before each piece.

    Where it raises TooMuchError, `app` sees the same, and the sender gets the sentence.
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
    """What takes up a person's quota, and how it is freed."""
    return text.QUOTA_USED.format(*(readable_size(size) for size in (limit, sent.pictures, sent.styles)))


def is_upload(scope: Scope) -> bool:
    """Whether a request brings files."""
    return bool(scope["path"] == f"{API}/upload")


def length_of(scope: Scope) -> int:
    """Bytes that a request says it brings; 0 where it does not say."""
    told = Headers(scope=scope).get("content-length", "0")
    return int(told) if told.isascii() and told.isdigit() else 0
