"""Benchmarks that time something, and those that wait for them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

LOCK = Path(tempfile.gettempdir()) / "velatura-timed.lock"
"""One of the machine, for all checkouts."""
NOTICED = 3.0
"""Seconds until everything that waits has noticed, a long step excepted."""


@contextmanager
def quiet() -> Iterator[None]:
    """While something is timed: nothing else that is timed runs beside it, nor anything that can wait."""
    with _lock():
        time.sleep(NOTICED)
        yield


def wait_until_quiet() -> None:
    """Return once nothing is timed on this machine."""
    with _lock():
        pass


def _lock() -> FileLock:
    return FileLock(LOCK, mode=0o666)
