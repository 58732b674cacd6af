"""Errors as one sentence for users."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from app.language import OneLine, Sentence
from trainers.errors import DISK_FULL, FORBIDDEN, OUT_OF_MEMORY, VelaturaError, failure_code
from trainers.messages import Message as _


class FieldErrors(VelaturaError):  # noqa: N818 - it holds one problem per field
    """Invalid form fields: one sentence per field, by field name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(next(iter(problems.values())))
        self.problems = dict(problems)


def sentence(error: Exception) -> OneLine:
    """One sentence about an error: its own message if it is expected, otherwise its type and first line."""
    return OneLine.of(error.message if isinstance(error, VelaturaError) else _about(error))


def _about(error: Exception) -> _:
    code = failure_code(error)
    if code == DISK_FULL:
        return _("the disk is full: free some space; `velatura resume` continues a run that has a checkpoint")
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        if not error.filename:
            return _("no permission to use a file; choose another place or change its permissions")
        if error.errno == errno.EROFS:
            return _("the disk of {file} is read-only; check it, or choose another place", file=error.filename)
        return _("no permission to use {file}; choose another place or change its permissions", file=error.filename)
    if code == OUT_OF_MEMORY:
        return _(
            "not enough memory: lower train.batch_size or data.resolution, or set train.gradient_checkpointing = true "
            "(`--preset low-memory` does); for generation use a smaller --size or --batch 1"
        )
    first = (str(error).strip().splitlines() or [""])[0]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return _("something unexpected went wrong ({what}); --debug shows the traceback", what=what)


def message_of(error: Exception) -> str:
    """The message of an error, for use in another sentence."""
    return error.message if isinstance(error, VelaturaError) else str(error)


def as_sentence(error: Exception) -> Sentence:
    """An error as a full sentence: capitalised, unless it starts with a name, and ending with a full stop."""
    return Sentence.of(message_of(error))
