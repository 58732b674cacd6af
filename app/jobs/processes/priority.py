"""The priority of a job's process, below that of interactive programs."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

NICE = 10
"""Niceness of a job; that of the studio is 0."""
VARIABLE = "VELATURA_JOB_NICENESS"
"""Environment variable for another niceness, 0 to 19, on machines that only run jobs."""
AUTOGROUP = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """Lower the priority of this process below the studio's; a higher niceness stays unchanged.

    Linux may group processes by session and then weigh the groups alone, whatever the niceness of their processes
    (`man 7 sched`, "The autogroup feature"). A job is a session of its own, so its group is made nicer too.
    """
    import psutil

    nice, process = _wanted(), psutil.Process()
    if not nice:
        return
    with suppress(psutil.Error, OSError):  # the job runs in any case
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        elif process.nice() < nice:
            process.nice(nice)
    with suppress(OSError):
        if AUTOGROUP.exists() and os.getsid(0) == os.getpid():  # else the group is the terminal's
            AUTOGROUP.write_text(f"{nice}\n", encoding="ascii")


def _wanted() -> int:
    """The niceness of jobs on this machine."""
    value = os.environ.get(VARIABLE, "").strip()
    return min(int(value), 19) if value.isascii() and value.isdigit() else NICE
