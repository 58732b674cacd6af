"""The state of the computer, which every page shows: `/now` answers it, `/now/stream` sends it when it changes.

Pages poll when it changes instead of by the clock, so an idle page asks for nothing.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from app.jobs.states import ENDED, State
from app.jobs.store import GENERATE
from app.jobs.trash.trash import Trash, TrashItem
from app.jobs.views import View
from app.language import translated
from app.studio.studio_queue import StudioQueue
from app.studio.styles.library import imported_files
from app.ui.components import text
from app.ui.components.live import moment
from app.ui.components.undo_strip import describe
from app.ui.login.sender import USER
from app.ui.runs.text import activity, brief

EVERY, OFTEN = 1.0, 0.25
"""Seconds between two looks at the queue, however many pages ask: as a rule, and while something is drawn, which takes
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


StyleFiles = tuple[tuple[str, int, int], ...]
"""The name, time of change in nanoseconds and bytes of each file."""


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

    revision: str
    """Another whenever a job or the folder of styles has changed, and after each start of the server."""
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
    since: int = 0
    """The `moment` at which the revision was new: what a page was shown before may be older."""

    def body(self, user: str | None) -> dict[str, object]:
        """It as pages read it, in the language of this request.

        With the login of the page that asks and the runs of that person that have ended.
        """
        ended = [asdict(each) for each in self.ended if each.owner == (user or "")]
        undo = next((asdict(each) for each in self.undoable if each.owner == (user or "")), None)
        body: dict[str, object] = {
            "revision": self.revision,
            "since": self.since,
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
    """Looks at the queue for all pages together."""

    def __init__(self, queue: StudioQueue) -> None:
        self.queue = queue
        self._trash = RecentTrash(Trash(queue.store))
        self.closed = False
        self._lock = threading.Lock()
        self._start, self._count = secrets.token_hex(4), 0
        self._views: object = None
        self._styles: StyleFiles = ()
        self._since = 0
        self._looked = -EVERY
        self._now = Now("", "", False)
        self._going: frozenset[str] = frozenset()
        self._ended: tuple[Ended, ...] = ()

    def routes(self) -> list[BaseRoute]:
        """Both routes."""
        return [Route("/now", self.answer), Route("/now/stream", self.stream)]

    def look(self, newer: bool = False) -> Now:
        """The state, at most `EVERY` seconds old; `newer` looks again in any case."""
        with self._lock:
            if newer or time.monotonic() >= self._looked + (OFTEN if self._now.draws else EVERY):
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
        """End all streams within `EVERY` seconds."""
        self.closed = True

    async def _events(self, request: Request) -> AsyncIterator[str]:
        begun, sent, last = time.monotonic(), 0.0, None
        yield "retry: 1000\n\n"
        while not self.closed and time.monotonic() < begun + LONGEST and not await request.is_disconnected():
            now = await run_in_threadpool(self.look)
            if now != last or time.monotonic() >= sent + PING:
                yield f"data: {json.dumps(now.body(request.scope.get(USER)))}\n\n"
                last, sent = now, time.monotonic()
            await anyio.sleep(min(EVERY, OFTEN))

    def _read(self) -> Now:
        seen, styles = self.queue.look(), self._look_at_styles()
        if seen.views is not self._views or styles != self._styles:  # views are the same object while no job changes
            self._views, self._styles = seen.views, styles
            self._count += 1
            self._since = moment()
            self._note_ended(seen.runs)
        now = seen.activity
        revision, line = f"{self._start}-{self._count}", activity(now) or text.FREE
        waits = any(view.state not in (*ENDED, State.QUEUED) for view in (*seen.runs, *seen.small))
        draws = any(view.job.kind == GENERATE and not (waits and view.state == State.QUEUED) for view in seen.small)
        undoable = tuple(
            Undoable(item.id, item.owner, said) for item in self._trash.items(UNDO_FOR) if (said := describe(item))
        )
        return Now(revision, line, now.view is not None, brief(now), self._ended, draws, undoable, self._since)

    def _look_at_styles(self) -> StyleFiles:
        """The imported styles, which people also put there by hand; no file is read."""
        files = []
        for path in imported_files(self.queue.paths.styles):
            with suppress(FileNotFoundError):
                stat = path.lstat()
                with suppress(OSError):  # a broken link
                    stat = path.stat()
                files.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(files))

    def _note_ended(self, runs: list[View]) -> None:
        for view in runs:
            if view.state in ENDED and view.job.folder.name in self._going:
                number = self._ended[-1].number + 1 if self._ended else 1
                line = text.ended(view.state, view.job.name)
                ended = Ended(number, view.job.folder.name, view.job.owner, line)
                self._ended = (*self._ended, ended)[-LATEST:]
        self._going = frozenset(view.job.folder.name for view in runs if view.state not in ENDED)
