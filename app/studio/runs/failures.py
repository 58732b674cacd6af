"""Why a run failed, and the change that may help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.jobs.restarts import low_memory_changes
from app.jobs.states import State
from app.jobs.views import View
from trainers.errors import DISK_FULL, DIVERGED, OUT_OF_MEMORY, UNEXPECTED
from trainers.runs.run import Run

HALF, LOW, GO_ON, CHANGE, ACCEPT = "retry-half", "retry-low", "resume", "clone", "resume-changed"
WORDS: Mapping[str, str] = {
    DIVERGED: "train.learning_rate",
    OUT_OF_MEMORY: "not enough memory",
    DISK_FULL: "the disk is full",
    UNEXPECTED: "something unexpected went wrong",
}
"""Phrases that identify errors of older versions, whose events have no code."""


def failure_of(view: View) -> str:
    """A failed run's code from `trainers.errors`; "" if only its sentence is known."""
    if view.state != State.FAILED:
        return ""
    return view.summary.code or next((code for code, words in WORDS.items() if words in view.line), "")


def offer(view: View) -> str:
    """The action that may help a failed run; empty if unknown."""
    match failure_of(view):
        case "diverged":
            return HALF
        case "disk_full" | "lost_process" if view.summary.saved:
            return GO_ON
        case "out_of_memory" if not _is_low(view):
            return LOW
        case "changed_images":
            return ACCEPT
        case "refused":
            return CHANGE
    return ""


def changes(what: str, view: View) -> Mapping[str, Any] | None:
    """The settings changes of an action; None to retry unchanged."""
    if what == HALF:
        return {"train": {"learning_rate": Run(view.job.folder).config().train.learning_rate / 2}}
    return low_memory_changes(Run(view.job.folder).table()) if what == LOW else None


def _is_low(view: View) -> bool:
    table = Run(view.job.folder).table()
    return not table or not low_memory_changes(table)
