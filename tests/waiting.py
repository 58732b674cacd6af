"""Waiting for states, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 240.0
"""Seconds after which a state does not come any more; most come within one."""
Found = TypeVar("Found")


def wait_until(
    look: Callable[[], Found], what: str | Callable[[], object], every: float = 0.02, patience: float = PATIENCE
) -> Found:
    """What `look` gives as soon as that is true, asked every few hundredths of a second; fails with `what`."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(every)
    return found
