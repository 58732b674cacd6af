"""Codes of failed runs, and changes that may help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.jobs.processes.devices import is_remote
from app.jobs.restarts import low_memory_changes
from app.jobs.states import State
from app.jobs.store import TRAIN
from app.jobs.view import View
from app.studio.settings.plan import nested
from trainers.errors import DISK_FULL, DIVERGED, OUT_OF_MEMORY, UNEXPECTED, VelaturaError
from trainers.planning.findings import Finding, changes_of, find_ahead
from trainers.runs.run import Run

HALF, LOW, REPAIRED = "retry-half", "retry-low", "retry-repaired"
GO_ON, CHANGE, ACCEPT = "resume", "clone", "resume-changed"
WORDS: Mapping[str, str] = {
    DIVERGED: "train.learning_rate",
    OUT_OF_MEMORY: "not enough memory",
    DISK_FULL: "the disk is full",
    UNEXPECTED: "something unexpected went wrong",
}
"""Phrases of errors in older versions, whose events have no code."""


def failure_of(view: View) -> str:
    """A failed run's code from `trainers.errors`; empty if unknown."""
    if view.state != State.FAILED:
        return ""
    return view.summary.code or next((code for code, words in WORDS.items() if words in view.line), "")


def offer(view: View) -> str:
    """The action for a failed run: a known change, or changing the settings; empty for other jobs."""
    if view.state != State.FAILED or view.job.kind != TRAIN:
        return ""
    match failure_of(view):
        case "diverged":
            return HALF
        case "disk_full" | "lost_process" if view.summary.saved:
            return GO_ON
        case "out_of_memory" if not _is_low(view):
            return LOW
        case "changed_images":
            return ACCEPT
        case "disk_full":
            return ""  # the disk is full
    return REPAIRED if repairs(view) else CHANGE


def repairs(view: View) -> tuple[Finding, ...]:
    """The settings that stopped a run before its first step, with their repairs."""
    if view.summary.step or failure_of(view) not in ("", "refused"):
        return ()
    try:
        config = Run(view.job.folder).config()
    except (OSError, VelaturaError):
        return ()
    return tuple(each for each in find_ahead(config, not is_remote(view.job.device)) if each.stops)


def changes(what: str, view: View) -> Mapping[str, Any] | None:
    """The settings changes of an action; None to retry unchanged."""
    if what == HALF:
        return {"train": {"learning_rate": Run(view.job.folder).config().train.learning_rate / lower_by(view)}}
    if what == REPAIRED:
        return nested(changes_of(repairs(view)))
    return low_memory_changes(Run(view.job.folder).table()) if what == LOW else None


def lower_by(view: View) -> int:
    """Divisor of a diverged run's learning rate, larger if the run has tried the half."""
    return 4 if any(view.summary.rollback) else 2


def _is_low(view: View) -> bool:
    table = Run(view.job.folder).table()
    return not table or not low_memory_changes(table)
