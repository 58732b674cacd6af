"""Errors that users can fix, and codes for all others."""

from __future__ import annotations

import errno
import re

from trainers.messages import Message

DIVERGED, OUT_OF_MEMORY, DISK_FULL, UNEXPECTED = "diverged", "out_of_memory", "disk_full", "unexpected"
REFUSED, LOST_PROCESS, CHANGED_IMAGES = "refused", "lost_process", "changed_images"
"""Codes of failures with a known remedy, in `code` of an event `error`; `refused` settings fail in every attempt."""
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|alloc_cpu|bad_alloc|could not (create|execute) a primitive",
    re.IGNORECASE,
)


class VelaturaError(Exception):
    """An error for the user in one sentence: what was wrong, what was found, what to do.

    `sentence` is a template with named parameters, so that it can be translated.
    """

    def __init__(self, sentence: str = "", /, *, code: str = "", **parameters: object) -> None:
        self.message = sentence if isinstance(sentence, Message) and not parameters else Message(sentence, **parameters)
        super().__init__(self.message)
        self.code = code
        """The failure code; "" if the sentence is enough."""


def check_argument(name: str, value: object, fits: bool, example: str) -> None:
    """Raise VelaturaError for an argument that does not fit; `example` is one that does."""
    if fits:
        return
    shown = repr(value)[:80] if isinstance(value, str | int | float) else type(value).__name__
    if isinstance(value, type):
        shown = f"the class {value.__name__}"
    raise VelaturaError(
        "{argument} must be like {example}, and is {found}", argument=name, example=example, found=shown
    )


class BusyError(VelaturaError):
    """Another process holds the required resource."""


def said_by(error: Exception) -> str:
    """An error's text, as a Message if it was raised with one."""
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def failure_code(error: Exception) -> str:
    """The code of a failure: one of the above, or "" for other errors that users can fix."""
    if isinstance(error, VelaturaError):
        return error.code
    if isinstance(error, OSError) and error.errno in FULL:
        return DISK_FULL
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return OUT_OF_MEMORY
    return "" if isinstance(error, OSError) and error.errno in FORBIDDEN else UNEXPECTED
