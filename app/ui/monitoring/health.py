"""`/health`: whether the studio works, for load balancers and supervisors; tells nothing about anybody."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.jobs.trash.disk import missing
from app.studio.studio_queue import StudioQueue

NO_STORE = {"cache-control": "no-store"}
EVERY = 1.0
"""Seconds for which an answer is given again, however many ask."""
LATE = 60.0
"""Seconds without a pass over the queue after which the dispatcher counts as stuck."""


class HealthRoute:
    """Answers 200 where the queue can be read, is served and the disk can be written, else 503."""

    def __init__(self, queue: StudioQueue, last_pass: Callable[[], float]) -> None:
        """`last_pass` is when the dispatcher has looked at the queue last, by `time.monotonic`."""
        self.queue, self._last_pass = queue, last_pass
        self._lock = threading.Lock()
        self._looked = -EVERY
        self._found: dict[str, bool] = {}

    def routes(self) -> list[BaseRoute]:
        """The one route."""
        return [Route("/health", self.answer)]

    def answer(self, _request: Request) -> Response:
        """What works and what does not."""
        found = self.look()
        works = all(found.values())
        return JSONResponse({"status": "ok" if works else "failing"} | found, 200 if works else 503, NO_STORE)

    def look(self) -> dict[str, bool]:
        """Whether each part works, at most `EVERY` seconds old."""
        with self._lock:
            if time.monotonic() >= self._looked + EVERY:
                self._found = {
                    "queue": self.queue.look().problem is None,
                    "dispatcher": time.monotonic() < self._last_pass() + LATE,
                    "disk": _is_writable(self.queue.store.runs),
                }
                self._looked = time.monotonic()
            return self._found


def disk_of(folder: Path) -> tuple[int, int]:
    """Free bytes of a folder's disk and its size; 0 where it cannot be asked."""
    try:
        used = shutil.disk_usage(folder)
    except OSError:
        return 0, 0
    return used.free, used.total


def _is_writable(folder: Path) -> bool:
    """Whether a folder's disk has room and is not read-only, as after a fault."""
    try:
        return os.access(folder, os.W_OK) and missing(folder) == 0
    except OSError:
        return False
