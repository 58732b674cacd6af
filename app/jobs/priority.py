"""The priority of a job's process: whatever people wait for in front of the screen comes first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

NICE = 10
"""Niceness of a job; that of the studio is 0."""
AUTOGROUP = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """Let this process have what the studio leaves; one that somebody made nicer still stays as it is.

    Linux may group processes by session and then weigh the groups alone, whatever the niceness of their processes
    (`man 7 sched`, "The autogroup feature"). A job is a session of its own, so its group is made nicer too.
    """
    import psutil

    process = psutil.Process()
    with suppress(psutil.Error, OSError):  # a job that may not be nicer trains nevertheless
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        elif process.nice() < NICE:
            process.nice(NICE)
    with suppress(OSError):
        if AUTOGROUP.exists() and os.getsid(0) == os.getpid():  # else the group is a terminal's, with all that is in it
            AUTOGROUP.write_text(f"{NICE}\n", encoding="ascii")
