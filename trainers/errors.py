"""What goes wrong: what the user can mend, and the kind of everything else."""

from __future__ import annotations

import errno
import re

DIVERGED, OUT_OF_MEMORY, DISK_FULL, UNEXPECTED = "diverged", "out_of_memory", "disk_full", "unexpected"
"""The kinds of failure on which something can be done, as an event `error` names them in `code`."""
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|alloc_cpu|bad_alloc|could not (create|execute) a primitive",
    re.IGNORECASE,
)


class VelaturaError(Exception):
    """One sentence for the user: what was wrong, what was found, what is allowed or what to do."""

    def __init__(self, *sentence: object, code: str = "") -> None:
        super().__init__(*sentence)
        self.code = code
        """The kind of failure, "" where the sentence says all there is to know."""


class BusyError(VelaturaError):
    """Another process has what is needed just now."""


def failure_code(error: Exception) -> str:
    """The kind of a failure: DIVERGED, OUT_OF_MEMORY, DISK_FULL, UNEXPECTED, or "" for what the user can mend."""
    if isinstance(error, VelaturaError):
        return error.code
    if isinstance(error, OSError) and error.errno in FULL:
        return DISK_FULL
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return OUT_OF_MEMORY
    return "" if isinstance(error, OSError) and error.errno in FORBIDDEN else UNEXPECTED
