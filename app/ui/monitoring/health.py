"""`/health`: whether the studio works, for load balancers and supervisors; contains no personal data."""

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
"""Seconds for which a result is cached."""
LATE = 60.0
"""Seconds without a pass over the queue after which the dispatcher counts as stuck."""


class HealthRoute:
    """Responds with 200 if the queue is readable and has a dispatcher and the disk is writable, else with 503."""

    def __init__(self, queue: StudioQueue, last_pass: Callable[[], float]) -> None:
        """`last_pass` returns the `time.monotonic` of the dispatcher's latest pass over the queue."""
        self.queue, self._last_pass = queue, last_pass
        self._lock = threading.Lock()
        self._looked = -EVERY
        self._parts: dict[str, bool] = {}

    def routes(self) -> list[BaseRoute]:
        """The route."""
        return [Route("/health", self.answer)]

    def answer(self, _request: Request) -> Response:
        """The state of each part as JSON."""
        parts = self.look()
        works = all(parts.values())
        return JSONResponse({"status": "ok" if works else "failing"} | parts, 200 if works else 503, NO_STORE)

    def look(self) -> dict[str, bool]:
        """Whether each part works, at most `EVERY` seconds ago."""
        with self._lock:
            if time.monotonic() >= self._looked + EVERY:
                self._parts = {
                    "queue": self.queue.look().problem is None,
                    "dispatcher": time.monotonic() < self._last_pass() + LATE,
                    "disk": _is_writable(self.queue.store.runs),
                }
                self._looked = time.monotonic()
            return self._parts


def disk_of(folder: Path) -> tuple[int, int]:
    """Free bytes and size of a folder's disk; 0 if they cannot be read."""
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
