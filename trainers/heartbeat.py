"""A sign of life: a file that a living process keeps touching, for those who cannot see the process itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT = 5.0
"""Seconds from one touch to the next."""


@contextmanager
def beating(file: Path) -> Iterator[None]:
    """Touch `file` every `BEAT` seconds while the block runs; afterwards it is gone, but not where a kill ended it."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT):
            _touch(file)

    _touch(file)
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        file.unlink(missing_ok=True)


def _touch(file: Path) -> None:
    with suppress(OSError):  # a sign that cannot be given must not end what it is about
        file.touch()
