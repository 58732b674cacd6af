"""What cannot be kept is said where it was asked for."""

from __future__ import annotations

import errno
import inspect
from typing import Any

import gradio as gr

from app.ui.components.errors import error_line, reason, with_error_line
from trainers.errors import VelaturaError


def test_a_full_disk_is_said_and_what_can_be_kept_again_clears_it():
    with gr.Blocks():
        line, other = error_line(), gr.HTML()
    errors: list[Exception] = [OSError(errno.ENOSPC, "No space left"), VelaturaError("the name is taken")]

    def keep(request: gr.Request) -> dict[Any, Any]:
        """Keep it."""
        if errors:
            raise errors.pop(0)
        return {other: "kept"}

    handled = with_error_line(keep, line)
    assert inspect.signature(handled) == inspect.signature(keep), "Gradio gives what the annotations ask for"
    full, taken = (handled(None)[line] for _ in range(2))
    assert "The disk is full" in full and 'href="runs"' in full
    assert "The name is taken." in taken and "href" not in taken
    assert handled(None) == {line: "", other: "kept"}


def test_reasons():
    assert reason(VelaturaError("the disk is full: no room to write x")).startswith("The disk is full, so")
    assert reason(PermissionError(errno.EACCES, "Permission denied")) == (
        "This could not be saved ([Errno 13] Permission denied)."
    )
