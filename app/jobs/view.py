"""A job for display: `View`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from app.jobs.events.summary import Summary, read_summary
from app.jobs.job import Job
from app.jobs.states import State, actions_for, describe, find_state, is_alive, silence
from trainers.messages import Message, joined, plural
from trainers.messages import Message as _

FELL_BACK = _("The checkpoint at step {} was damaged, so it continued from step {}.")
WENT_BACK = _(
    "Up to step {step} too many losses were not finite, so it continued from step {saved} with half the learning rate."
)
SKIPPED = plural(
    "{count} step changed nothing, because its loss was not finite.",
    "{count} steps changed nothing, because their loss was not finite.",
    count=0,
)

UNSERVED = _("No machine of the cluster has what it wants: {wants}.")
GONE, UNREAD = _("Its folder is missing."), _("Its events cannot be read: {}.")


@dataclass(frozen=True)
class View:
    """A job for display."""

    job: Job
    state: State
    summary: Summary
    place: int
    """Place in line from 1; 0 if it does not wait."""
    line: str
    """A sentence; may be empty."""
    actions: tuple[str, ...]
    trouble: str = ""
    """The part of the sentence about something damaged or missing."""


class Probe(NamedTuple):
    """The facts behind a view."""

    job: Job
    alive: bool
    summary: Summary
    silent: float
    gone: bool
    """Whether its folder is missing."""
    unserved: bool = False
    """Whether no machine of the cluster has what it requests."""


def view_now(job: Job) -> View:
    """The view of a job that does not wait."""
    alive = is_alive(job)  # before its events: a process records its end before it exits
    summary, silent = read_summary(job.folder), silence(job) if alive else 0.0
    return view_of(Probe(job, alive, summary, silent, not job.folder.is_dir()))


def view_of(probe: Probe, place: int = 0, wait: float | None = None, turn: int = 0) -> View:
    """The view of a probed job; `turn` is its shown place, among the runs alone."""
    job, alive, summary, silent, gone, unserved = probe
    state = find_state(job, alive, summary, silent > 0)
    if state == State.STOPPING and summary.phase != "after":  # its time left counts steps that it will not do
        summary = replace(summary, left=None, speed=0.0)
    line, trouble = describe(state, summary, turn or place, wait, job.restarts + job.low_memory, silent), ""
    if gone:
        line = trouble = GONE
    elif summary.unread:
        line = trouble = UNREAD.format(summary.unread)
    elif unserved:
        line = trouble = UNSERVED.format(wants=job.wants)
    elif state not in (State.QUEUED, State.FAILED):
        trouble = _setbacks(summary)
        line = joined(" ", (line, trouble)) if trouble else line
    return View(job, state, summary, place, line, actions_for(job, state, summary.saved, summary.phase), trouble)


def _setbacks(summary: Summary) -> Message:
    """The problems that a run survived; empty without any."""
    fell_back, (failed, saved) = summary.fallback, summary.rollback
    return joined(
        " ",
        (
            FELL_BACK.format(*fell_back) if fell_back[0] else "",
            WENT_BACK.format(step=failed, saved=saved) if failed else "",
            SKIPPED.format(count=summary.skipped) if summary.skipped else "",
            *(message for _name, message in summary.problems),
        ),
    )
