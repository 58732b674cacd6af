"""Ownership of page sessions: nobody can listen to or act in the session of another login.

Gradio identifies a page by a `session_hash` that the page makes up, and checks no owner: anybody with the hash receives
the page's events and uses its state. The same holds for ids of events and uploads.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from app.studio.accounts.attempts import network_of
from app.ui.components import text
from app.ui.gradio_internals import API, ENDS_IN_SESSION, SESSION_NAMES
from app.ui.login.sender import USER, address_of
from app.ui.middleware.calls import noting_event
from app.ui.middleware.foreign import CONTENT
from app.ui.middleware.hosts import SAFE_METHODS
from app.ui.middleware.refusals import refusal

MOST_WORDS = 100_000
"""Maximum remembered ids, about 30 MB; a page adds one per call."""


class Claims:
    """The first user of each id; thread-safe.

    If there are too many, the owner with most ids loses the least recently used idle one, so that nobody can evict
    others'.
    """

    def __init__(self, most: int = MOST_WORDS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._owners: dict[bytes, str] = {}
        self._uses: dict[str, OrderedDict[bytes, int]] = {}
        """Number of requests using each id, by owner, most recently used last."""

    def take(self, owner: str, used: Iterable[str]) -> bool:
        """Acquire ids until released; returns False, acquiring none, if one belongs to somebody else."""
        digests = {_digest(word) for word in used}
        with self._lock:
            if any(self._owners.get(digest, owner) != owner for digest in digests):
                return False
            if digests:
                uses = self._uses.setdefault(owner, OrderedDict())
                for digest in digests:
                    self._owners[digest] = owner
                    uses[digest] = uses.get(digest, 0) + 1
                    uses.move_to_end(digest)
                self._forget()
        return True

    def release(self, owner: str, used: Iterable[str]) -> None:
        """Release acquired ids; they stay the owner's."""
        with self._lock:
            for digest in {_digest(word) for word in used}:
                self._uses[owner][digest] -= 1

    def __len__(self) -> int:
        return len(self._owners)

    def _forget(self) -> None:
        while len(self._owners) > self._most and (oldest := self._oldest()):
            owner, digest = oldest
            del self._uses[owner][digest], self._owners[digest]
            if not self._uses[owner]:
                del self._uses[owner]

    def _oldest(self) -> tuple[str, bytes] | None:
        """The least recently used idle id of the owner with most; None if all are in use."""
        by_count = sorted(self._uses, key=lambda owner: len(self._uses[owner]), reverse=True)
        idle = ((owner, digest) for owner in by_count for digest, count in self._uses[owner].items() if not count)
        return next(idle, None)


class PageSessionsMiddleware:
    """Answers 403 to requests with an id that another person has used first; without accounts, another address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.claims = app, Claims()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{API}/"):
            await self.app(scope, receive, send)
            return
        owner, used = owner_of(scope), words_in(scope)
        if not self.claims.take(owner, used):
            await refusal(scope, 403, text.OTHER_LOGIN)(scope, receive, send)
            return

        def note(event: str) -> None:
            if self.claims.take(owner, [event]):
                self.claims.release(owner, [event])

        try:
            await self.app(scope, receive, noting_event(scope, send, note))
        finally:
            self.claims.release(owner, used)


def owner_of(scope: Scope) -> str:
    """The owner of a page: the logged-in person, otherwise the client's address.

    Cookies cannot identify browsers here: two pages that a new browser opens at once get one each.
    """
    user = scope.get(USER)
    return f"user:{user}" if user else f"address:{network_of(address_of(scope))}"


def words_in(scope: Scope) -> set[str]:
    """All ids in a request by which Gradio would find a session, an event or an upload."""
    query, content = QueryParams(scope["query_string"]), scope.get(CONTENT)
    ids = {word for name in SESSION_NAMES for word in query.getlist(name)}
    if isinstance(content, dict):
        ids |= {word for name in SESSION_NAMES if isinstance(word := content.get(name), str)}
    if scope["method"] in SAFE_METHODS and scope["path"].startswith(ENDS_IN_SESSION):
        ids.add(scope["path"].rpartition("/")[2])
    return ids


def _digest(word: str) -> bytes:
    return hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()  # it may be as long as a request
