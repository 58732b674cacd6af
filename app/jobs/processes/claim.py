"""Watches a job's claim in the process that runs the job."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trainers.errors import VelaturaError

WATCH = 10.0
"""Seconds between checks that the job still belongs to this process."""


@contextmanager
def watching_claim(name: str, is_ours: Callable[[], bool]) -> Iterator[None]:
    """Exit at once if the job belongs to another process, as after a network failure."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH):
            with suppress(VelaturaError):  # an unreadable queue does not end the job
                if not is_ours():
                    print(f"{name} was given to another process; this one exits", file=sys.stderr, flush=True)
                    os._exit(1)

    thread = threading.Thread(target=watch, name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
