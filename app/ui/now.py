"""The state of the computer, which every page shows: `/now` answers it, `/now/stream` sends it when it changes.

Pages poll when it changes instead of by the clock, so an idle page asks for nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.changes import Changes
from app.jobs.states import ENDED, State
from app.jobs.store import GENERATE
from app.jobs.trash.trash import Trash, TrashItem
from app.jobs.view import View
from app.language import translated
from app.studio.studio_queue import StudioQueue
from app.ui.components import text
from app.ui.components.live import now_us
from app.ui.components.undo_strip import describe
from app.ui.login.sender import USER
from app.ui.runs.text import activity, brief

INTERVAL, DRAWING_INTERVAL = 1.0, 0.25
"""Seconds between two looks at the studio, however many pages ask: as a rule, and while something is drawn, which takes
a second or two."""
PING = 15.0
"""Seconds after which an unchanged state is sent again, so that proxies and pages know that the stream is alive."""
LONGEST = 30.0
"""Seconds after which a stream ends and the browser opens the next, whose login is checked."""
UNDO_FOR = 600.0
"""Seconds for which pages offer to bring something back; it stays in the trash for longer."""
SETTLED = 2.0
"""Seconds after which a change of the trash's folder is surely the last one that its time of change can tell of."""
LATEST = 20
"""Ended runs that pages are told of."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""The second asks nginx not to collect a stream."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended while the server was running."""

    number: int
    """Counted from the start of the server."""
    run: str
    owner: str
    line: str


@dataclass(frozen=True)
class Undoable:
    """Something that can be brought back from the trash."""

    id: str
    owner: str
    line: str


@dataclass(frozen=True)
class Now:
    """The state of the computer at one moment."""

    version: int
    """Microseconds since the epoch at which the last change was noticed: of a job, or of a stamp in `Changes`.

    Values that were read earlier may be out of date."""
    line: str
    busy: bool
    brief: str = ""
    """How far the running job is and the time it still takes, for a tab's title; "" while nothing runs."""
    ended: tuple[Ended, ...] = ()
    """The runs that have ended lately, newest last."""
    draws: bool = False
    """Whether a picture is being drawn, or is about to be."""
    undoable: tuple[Undoable, ...] = ()
    """What went into the trash lately, newest first."""

    def body(self, user: str | None) -> dict[str, object]:
        """It as pages read it, in the language of this request.

        With the login of the page that asks and the runs of that person that have ended.
        """
        ended = [asdict(each) for each in self.ended if each.owner == (user or "")]
        undo = next((asdict(each) for each in self.undoable if each.owner == (user or "")), None)
        body: dict[str, object] = {
            "version": self.version,
            "line": self.line,
            "busy": self.busy,
            "brief": self.brief,
            "user": user,
            "ended": ended,
            "undo": undo,
        }
        return translated(body)


class RecentTrash:
    """What went into the trash lately, read again only where the trash has changed."""

    def __init__(self, trash: Trash) -> None:
        self._trash = trash
        self._changed = -1.0
        self._items: list[TrashItem] = []

    def items(self, seconds: float) -> list[TrashItem]:
        """What went into the trash in the last `seconds`, whosever it is, newest first."""
        now = time.time()
        try:
            changed = self._trash.folder.stat().st_mtime
        except FileNotFoundError:
            return []
        if changed != self._changed or now < changed + SETTLED:
            self._items, self._changed = self._trash.recent(seconds), changed
        return [item for item in self._items if item.deleted >= now - seconds]


class NowRoutes:
    """Looks at the queue, and at what changes beside it, for all pages together."""

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
        """Both routes."""
        return [Route("/now", self.answer), Route("/now/stream", self.stream)]

    def look(self, newer: bool = False) -> Now:
        """The state, at most `INTERVAL` seconds old; `newer` looks again in any case."""
        with self._lock:
            if newer or time.monotonic() >= self._looked + (DRAWING_INTERVAL if self._now.draws else INTERVAL):
                self._now = self._read()
                self._looked = time.monotonic()
            return self._now

    def answer(self, request: Request) -> Response:
        """The state as it is now."""
        return JSONResponse(self.look(newer=True).body(request.scope.get(USER)), headers=HEADERS)

    async def stream(self, request: Request) -> Response:
        """The state as server-sent events: at once, whenever it changes, and now and then."""
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
            self._version = max(now_us(), self._version + 1)  # whatever becomes of the clock
            self._note_ended(seen.runs)
        now = seen.activity
        line = activity(now) or text.FREE
        waits = any(view.state not in (*ENDED, State.QUEUED) for view in (*seen.runs, *seen.small))
        draws = any(view.job.kind == GENERATE and not (waits and view.state == State.QUEUED) for view in seen.small)
        undoable = tuple(
            Undoable(item.id, item.owner, said) for item in self._trash.items(UNDO_FOR) if (said := describe(item))
        )
        return Now(self._version, line, now.view is not None, brief(now), self._ended, draws, undoable)

    def _note_ended(self, runs: list[View]) -> None:
        for view in runs:
            if view.state in ENDED and view.job.folder.name in self._going:
                number = self._ended[-1].number + 1 if self._ended else 1
                line = text.ended(view.state, view.job.name)
                ended = Ended(number, view.job.folder.name, view.job.owner, line)
                self._ended = (*self._ended, ended)[-LATEST:]
        self._going = frozenset(view.job.folder.name for view in runs if view.state not in ENDED)
