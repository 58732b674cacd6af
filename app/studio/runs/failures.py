"""Why a run has failed, and the change with which it is worth another try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.jobs.restarts import low_memory_changes
from app.jobs.states import State
from app.jobs.views import View
from trainers.errors import DISK_FULL, DIVERGED, OUT_OF_MEMORY, UNEXPECTED
from trainers.runs.run import Run

HALF, LOW, GO_ON = "retry-half", "retry-low", "resume"
WORDS: Mapping[str, str] = {
    DIVERGED: "train.learning_rate",
    OUT_OF_MEMORY: "not enough memory",
    DISK_FULL: "the disk is full",
    UNEXPECTED: "something unexpected went wrong",
}
"""By these words the sentences of events are known that name no code, as older versions wrote them."""


def failure_of(view: View) -> str:
    """The kind of failure of a run that has failed: a code of `trainers.errors`, "" for one that is its sentence."""
    if view.state != State.FAILED:
        return ""
    return view.summary.code or next((code for code, words in WORDS.items() if words in view.line), "")


def offer(view: View) -> str:
    """What helps a run that has failed, by the name of its button; empty where nothing is known."""
    match failure_of(view):
        case "diverged":
            return HALF
        case "disk_full" if view.summary.saved:
            return GO_ON
        case "out_of_memory" if not _is_low(view):
            return LOW
    return ""


def changes(what: str, view: View) -> Mapping[str, Any] | None:
    """What an offered change lays over a run's settings; None for a try with the same ones."""
    if what == HALF:
        return {"train": {"learning_rate": Run(view.job.folder).config().train.learning_rate / 2}}
    return low_memory_changes(Run(view.job.folder).table()) if what == LOW else None


def _is_low(view: View) -> bool:
    table = Run(view.job.folder).table()
    return not table or not low_memory_changes(table)
