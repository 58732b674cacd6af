"""Error messages of the pages' handlers, such as on a full disk."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr
from markupsafe import Markup

from app.errors import as_sentence
from app.ui.components import text as words
from app.ui.components.controls import Link, banner
from app.ui.components.live import block
from trainers.errors import FULL, VelaturaError

UNWRITABLE = (errno.EROFS, errno.EIO)
"""Errors of a read-only or damaged disk."""
Handler = Callable[..., dict[Any, Any]]


def error_line() -> gr.HTML:
    """The part for errors of a step, above its footer, which is always visible."""
    return block("", elem_classes="trouble")


def with_error_line(handler: Handler, line: gr.HTML) -> Handler:
    """Wrap a handler: errors are shown in `line`, which a success clears."""

    @wraps(handler)
    def handled(*values: Any) -> dict[Any, Any]:
        try:
            return {line: "", **handler(*values)}
        except (OSError, VelaturaError) as error:
            return {line: in_a_banner(error)}

    return handled


def in_a_banner(error: Exception) -> Markup:
    """The error as a banner, on a full disk with a link to old runs."""
    ways_out = (Link(words.DELETE_OLD, "runs", "small"),) if _is_full(error) else ()
    return banner(reason(error), *ways_out, kind="problem")


def reason(error: Exception) -> str:
    """The error in one or two sentences."""
    if _is_full(error):
        return words.DISK_FULL
    if _number(error) in UNWRITABLE:
        return words.DISK_READ_ONLY
    return as_sentence(error) if isinstance(error, VelaturaError) else words.NOT_KEPT.format(error)


def is_of_the_disk(error: Exception) -> bool:
    """Whether a full, read-only or damaged disk caused the error."""
    return _is_full(error) or _number(error) in UNWRITABLE


def _is_full(error: Exception) -> bool:
    return _number(error) in FULL or "disk is full" in str(error)


def _number(error: Exception) -> int | None:
    """The system's number of an error, or of the one that a sentence was made of."""
    cause = error.__cause__ if isinstance(error, VelaturaError) else error
    return cause.errno if isinstance(cause, OSError) else None
