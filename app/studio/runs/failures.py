"""What a run that has failed says on a page, and the change with which it is worth another try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.errors import as_sentence
from app.jobs.restarts import low_memory_changes
from app.jobs.states import State
from app.jobs.views import View
from app.ui.runs import text as words
from trainers.errors import VelaturaError
from trainers.runs.run import Run

RAN_AWAY, NO_MEMORY, NO_ROOM, UNFORESEEN = (
    "train.learning_rate",
    "not enough memory",
    "the disk is full",
    "something unexpected went wrong",
)
"""By these words the sentences of the library are known, which speak to people at a command line."""
HALF, LOW, GO_ON = "retry-half", "retry-low", "resume"


def line(view: View) -> str:
    """The sentence on a run; of one that has failed, what was wrong and what to change."""
    if view.state != State.FAILED:
        return view.line
    step = words.AT_STEP.format(view.summary.step) if view.summary.step else ""
    if RAN_AWAY in view.line:
        kept = words.KEPT.format(view.summary.saved) if view.summary.saved else words.NOTHING_KEPT
        return words.RAN_AWAY.format(step, kept)
    if NO_MEMORY in view.line:
        return words.NO_MEMORY.format(step, words.LOW_NEEDS_LESS if offer(view) else words.SMALLER_NEEDS_LESS)
    if NO_ROOM in view.line:
        return words.NO_ROOM.format(step, words.GOES_ON_FROM.format(view.summary.saved) if view.summary.saved else "")
    return words.UNFORESEEN.format(step) if UNFORESEEN in view.line else as_sentence(VelaturaError(view.line))


def offer(view: View) -> str:
    """What helps a run that has failed, by the name of its button; empty where nothing is known."""
    if view.state != State.FAILED:
        return ""
    if RAN_AWAY in view.line:
        return HALF
    if NO_ROOM in view.line and view.summary.saved:
        return GO_ON
    return LOW if NO_MEMORY in view.line and not _is_low(view) else ""


def changes(what: str, view: View) -> Mapping[str, Any] | None:
    """What an offered change lays over a run's settings; None for a try with the same ones."""
    if what == HALF:
        return {"train": {"learning_rate": Run(view.job.folder).config().train.learning_rate / 2}}
    return low_memory_changes(Run(view.job.folder).table()) if what == LOW else None


def _is_low(view: View) -> bool:
    table = Run(view.job.folder).table()
    return not table or not low_memory_changes(table)
