"""One job for display: `View`."""

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
    """One job as it is now."""

    job: Job
    state: State
    summary: Summary
    place: int
    """In line, the first being 1; 0 if it does not wait."""
    line: str
    """A sentence, or nothing."""
    actions: tuple[str, ...]
    trouble: str = ""
    """What of that sentence does not follow from its state: something of it is damaged or missing."""


class Probe(NamedTuple):
    """What a look at one job has found."""

    job: Job
    alive: bool
    summary: Summary
    silent: float
    gone: bool
    """Whether its folder is not there."""
    unserved: bool = False
    """Whether it waits for what no machine of the cluster has."""


def view_now(job: Job) -> View:
    """A job of the queue that does not wait."""
    alive = is_alive(job)  # read before its events: a last word comes before the end
    summary, silent = read_summary(job.folder), silence(job) if alive else 0.0
    return view_of(Probe(job, alive, summary, silent, not job.folder.is_dir()))


def view_of(probe: Probe, place: int = 0, wait: float | None = None, turn: int = 0) -> View:
    """A job at a place in line, whose `turn` among its like is said."""
    job, alive, summary, silent, gone, unserved = probe
    state = find_state(job, alive, summary, silent > 0)
    if state == State.STOPPING and summary.phase != "after":  # it will not do the steps that its time left counts
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
    """The troubles that a run survived, in words; empty if there were none."""
    fell_back, (failed, saved) = summary.fallback, summary.rollback
    return joined(
        " ",
        (
            FELL_BACK.format(*fell_back) if fell_back[0] else "",
            WENT_BACK.format(step=failed, saved=saved) if failed else "",
            SKIPPED.format(count=summary.skipped) if summary.skipped else "",
        ),
    )
