"""The state of the computer for every page: `/now` returns it, `/now/stream` sends it whenever it changes.

Pages request updates when it changes instead of on a timer, so an idle page sends nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from urllib.parse import quote

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.changes import Changes
from app.jobs.states import ENDED, State
from app.jobs.store import GENERATE, TRAIN
from app.jobs.trash.trash import Trash, TrashItem
from app.jobs.view import View
from app.language import translated
from app.studio.studio_queue import StudioQueue
from app.ui.components import text
from app.ui.components.live import now_us
from app.ui.components.runs.text import activity, brief
from app.ui.components.undo_strip import describe
from app.ui.login.sender import USER

INTERVAL, DRAWING_INTERVAL = 1.0, 0.25
"""Seconds between two reads of the state for all pages together: normally, and while a picture is drawn (1 to 2 s)."""
PING = 15.0
"""Seconds after which an unchanged state is sent again, to keep the stream alive for proxies and pages."""
LONGEST = 30.0
"""Seconds after which a stream ends; the browser opens the next one, whose login is checked."""
UNDO_FOR = 600.0
"""Seconds for which pages offer an undo; the trash keeps the item longer."""
SETTLED = 2.0
"""Seconds after which the modification time of the trash's folder can no longer hide a second change."""
RUNS = "runs"
LATEST = 20
"""Maximum number of ended runs sent to pages."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""`x-accel-buffering` keeps nginx from buffering the stream."""


@dataclass(frozen=True)
class Ended:
    """A run that ended while the server was running."""

    number: int
    """Sequence number since the server's start."""
    run: str
    owner: str
    line: str


@dataclass(frozen=True)
class Undoable:
    """A trash item that can be restored."""

    id: str
    owner: str
    line: str


@dataclass(frozen=True)
class Now:
    """The state of the computer at one moment."""

    version: int
    """Microseconds since the epoch at which the last change of a job or of a stamp in `Changes` was noticed.

    Values that were read earlier may be out of date.
    """
    line: str
    busy: bool
    brief: str = ""
    """Progress and remaining time of the running job, for a tab's title; "" if nothing runs."""
    ended: tuple[Ended, ...] = ()
    """The latest ended runs, newest last."""
    draws: bool = False
    """Whether a picture is being drawn or is next."""
    undoable: tuple[Undoable, ...] = ()
    """Recent trash items, newest first."""
    page: str = RUNS
    """The page that the line leads to: that of the only run, or the list."""

    def body(self, user: str | None) -> dict[str, object]:
        """The response body in the request's language, with the user's own ended runs and undo."""
        ended = [asdict(run) for run in self.ended if run.owner == (user or "")]
        undo = next((asdict(run) for run in self.undoable if run.owner == (user or "")), None)
        body: dict[str, object] = {
            "version": self.version,
            "line": self.line,
            "busy": self.busy,
            "page": self.page,
            "brief": self.brief,
            "user": user,
            "ended": ended,
            "undo": undo,
        }
        return translated(body)


class RecentTrash:
    """Recent trash items, read again only when the trash has changed."""

    def __init__(self, trash: Trash) -> None:
        self._trash = trash
        self._changed = -1.0
        self._items: list[TrashItem] = []

    def items(self, seconds: float) -> list[TrashItem]:
        """Everybody's items deleted in the last `seconds`, newest first."""
        now = time.time()
        try:
            changed = self._trash.folder.stat().st_mtime
        except FileNotFoundError:
            return []
        if changed != self._changed or now < changed + SETTLED:
            self._items, self._changed = self._trash.recent(seconds), changed
        return [item for item in self._items if item.deleted >= now - seconds]


class NowRoutes:
    """Both routes and the state that they share."""

    def __init__(self, queue: StudioQueue, changes: Changes) -> None:
        self.queue, self.changes = queue, changes
        self._trash = RecentTrash(Trash(queue.store))
        self.closed = False
        self._lock = threading.Lock()
        self._views: object = None
        self._stamps: tuple[object, ...] = ()
        self._version = 0
        self._looked = -INTERVAL
        self._now = Now(0, "", False)
        self._going: frozenset[str] = frozenset()
        self._ended: tuple[Ended, ...] = ()

    def routes(self) -> list[BaseRoute]:
        """The routes `/now` and `/now/stream`."""
        return [Route("/now", self.answer), Route("/now/stream", self.stream)]

    def look(self, newer: bool = False) -> Now:
        """The state, at most `INTERVAL` seconds old, or read anew if `newer`."""
        with self._lock:
            if newer or time.monotonic() >= self._looked + (DRAWING_INTERVAL if self._now.draws else INTERVAL):
                self._now = self._read()
                self._looked = time.monotonic()
            return self._now

    def answer(self, request: Request) -> Response:
        """The current state."""
        return JSONResponse(self.look(newer=True).body(request.scope.get(USER)), headers=HEADERS)

    async def stream(self, request: Request) -> Response:
        """The state as server-sent events: now, at every change, and every `PING` seconds."""
        return StreamingResponse(self._events(request), media_type="text/event-stream", headers=HEADERS)

    def close(self) -> None:
        """End all streams within `INTERVAL` seconds."""
        self.closed = True

    async def _events(self, request: Request) -> AsyncIterator[str]:
        begun, sent, last = time.monotonic(), 0.0, None
        yield "retry: 1000\n\n"
        while not self.closed and time.monotonic() < begun + LONGEST and not await request.is_disconnected():
            now = await run_in_threadpool(self.look)
            if now != last or time.monotonic() >= sent + PING:
                yield f"data: {json.dumps(now.body(request.scope.get(USER)))}\n\n"
                last, sent = now, time.monotonic()
            await anyio.sleep(min(INTERVAL, DRAWING_INTERVAL))

    def _read(self) -> Now:
        seen, stamps = self.queue.look(), self.changes.look()
        if seen.views is not self._views or stamps != self._stamps:  # views are the same object while no job changes
            self._views, self._stamps = seen.views, stamps
            self._version = max(now_us(), self._version + 1)  # even if the clock was set back
            self._note_ended(seen.runs)
        now = seen.activity
        line = activity(now) or text.FREE
        waits = any(view.state not in (*ENDED, State.QUEUED) for view in (*seen.runs, *seen.small))
        draws = any(view.job.kind == GENERATE and not (waits and view.state == State.QUEUED) for view in seen.small)
        undoable = tuple(
            Undoable(item.id, item.owner, said) for item in self._trash.items(UNDO_FOR) if (said := describe(item))
        )
        page = RUNS
        if now.view is not None and now.view.job.kind == TRAIN and not now.waiting:
            page = f"run?id={quote(now.view.job.folder.name)}"
        return Now(self._version, line, now.view is not None, brief(now), self._ended, draws, undoable, page)

    def _note_ended(self, runs: list[View]) -> None:
        for view in runs:
            if view.state in ENDED and view.job.folder.name in self._going:
                number = self._ended[-1].number + 1 if self._ended else 1
                line = text.ended(view.state, view.job.name)
                ended = Ended(number, view.job.folder.name, view.job.owner, line)
                self._ended = (*self._ended, ended)[-LATEST:]
        self._going = frozenset(view.job.folder.name for view in runs if view.state not in ENDED)
