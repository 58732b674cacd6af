"""A job's state, its allowed actions, and its sentence.

The state is not stored: it follows from the row, the process and the events.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum

from app.jobs.database.order import BACKGROUND
from app.jobs.events.summary import Summary
from app.jobs.job import Job
from app.jobs.store import TRAIN, YIELD
from app.units import ordinal, readable_time
from trainers.messages import Message, joined
from trainers.messages import Message as _
from trainers.process.heartbeat import Beat
from trainers.runs.run import Run

LONGEST_STEP = 3600.0
"""Seconds without progress after which a run is killed, if no step has been timed."""
LOST = 60.0
"""Seconds without a heartbeat after which a process on another machine counts as dead."""
SOON = 5.0
"""Waiting times below this many seconds are not shown."""


class State(StrEnum):
    """The displayed state of a job."""

    QUEUED = "queued"
    PREPARING = "preparing"
    TRAINING = "training"
    SAMPLING = "sampling"
    WORKING = "working"
    """A running small job."""
    SAVING = "saving"
    HANGING = "hanging"
    """Alive, without progress for a long time."""
    STOPPING = "stopping"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


ENDED = (State.PAUSED, State.STOPPED, State.FINISHED, State.FAILED, State.INTERRUPTED, State.CANCELLED)
_WHILE_TRAINING = ("stop", "draw", "pause", "clone", "cancel")
_TRAIN_ACTIONS: Mapping[State, tuple[str, ...]] = {
    State.QUEUED: ("move", "change", "cancel"),
    State.PREPARING: ("cancel",),
    State.TRAINING: _WHILE_TRAINING,
    State.SAMPLING: _WHILE_TRAINING,
    State.HANGING: ("cancel",),
    State.STOPPING: ("cancel",),  # a step may take minutes, or hang
    State.PAUSED: ("resume", "stop", "clone", "retry", "delete"),
    State.STOPPED: ("resume", "clone", "retry", "delete"),
    State.FINISHED: ("longer", "clone", "delete"),
    State.FAILED: ("retry", "resume", "clone", "delete"),
    State.INTERRUPTED: ("resume", "retry", "clone", "delete"),
    State.CANCELLED: ("resume", "retry", "clone", "delete"),
}
_SMALL_ACTIONS: Mapping[State, tuple[str, ...]] = {
    State.QUEUED: ("move", "cancel"),
    State.PREPARING: ("cancel",),
    State.WORKING: ("cancel",),
    State.HANGING: ("cancel",),
    State.STOPPING: ("cancel",),
    State.FINISHED: ("delete",),
    **dict.fromkeys((State.FAILED, State.INTERRUPTED, State.CANCELLED), ("retry", "delete")),
}

IN_WORDS: Mapping[State, str] = {
    State.QUEUED: _("it is waiting"),
    State.PREPARING: _("it is being prepared"),
    State.TRAINING: _("it is training"),
    State.SAMPLING: _("it is drawing samples"),
    State.WORKING: _("it is working"),
    State.SAVING: _("it is being saved"),
    State.HANGING: _("it is hanging; it can be cancelled"),
    State.STOPPING: _("it is already stopping"),
    State.PAUSED: _("it is paused"),
    State.STOPPED: _("it was stopped"),
    State.FINISHED: _("it has already finished"),
    State.FAILED: _("it has failed"),
    State.INTERRUPTED: _("it was interrupted"),
    State.CANCELLED: _("it was cancelled"),
}

REFUSED: Mapping[str, Message] = {
    "stop": _("{name} cannot be stopped: {reason}"),
    "draw": _("{name} cannot draw now: {reason}"),
    "pause": _("{name} cannot be paused: {reason}"),
    "cancel": _("{name} cannot be cancelled: {reason}"),
    "resume": _("{name} cannot be resumed: {reason}"),
    "longer": _("{name} cannot be trained longer: {reason}"),
    "retry": _("{name} cannot be tried again: {reason}"),
    "clone": _("{name} cannot be cloned: {reason}"),
    "change": _("{name} cannot be changed: {reason}"),
    "move": _("{name} cannot be moved: {reason}"),
    "delete": _("{name} cannot be deleted: {reason}"),
}
"""Refusals of each action."""

IN_LINE = (
    _("{place} in line."),
    _("{place} in line, starts soon."),
    _("{place} in line, starts in about {time}."),
)
"""Sentences of a waiting job: without a known time, next in line, and with a time."""
IN_LINE_PAUSED = (
    _("{place} in line, paused at step {step}."),
    _("{place} in line, starts soon, paused at step {step}."),
    _("{place} in line, starts in about {time}, paused at step {step}."),
)
SAVED_UP_TO, STARTING, WRITING = _("Saved up to step {step}."), _("Starting …"), _("Writing the file …")
RESTARTED = {
    1: _("It had already restarted by itself once."),
    2: _("It had already restarted by itself twice."),
}


def is_alive(job: Job) -> bool:
    """Whether a job's process is alive, by its id or lock, or from another machine by its heartbeat."""
    run = Run(job.folder)
    match job.phase:
        case "claimed" | "held":
            since = job.held_since if job.phase == "held" else job.begun
            return job.process.is_alive() if job.process.is_here else time.time() - since < LOST
        case "running" if job.process.is_here:
            return job.process.is_alive() or (job.folder.is_dir() and run.is_training())
        case "running":
            return run.last_beat() < LOST
        case _:  # the run may be trained without the queue
            return run.last_beat() < LOST and run.is_training()


def silence(job: Job) -> float:
    """Seconds without progress of a hanging job; 0 if it does not hang, or if unknown.

    Measured by the monotonic clock; an earlier attempt's heartbeat is ignored.
    """
    beat = Run(job.folder).beat()
    return 0.0 if beat is None else _silence_in(beat, job)


def _silence_in(beat: Beat, job: Job) -> float:
    if job.phase == "running" and beat.pid != job.process.pid:
        return 0.0
    seconds = beat.silence(here=job.process.is_here or job.phase != "running")
    return seconds if seconds > beat.patience else 0.0


def hangs_for_good(job: Job) -> bool:
    """Whether a job has been hanging long enough to be killed."""
    beat = Run(job.folder).beat()
    return beat is not None and _silence_in(beat, job) > (0 if beat.usual else LONGEST_STEP)


def is_silent(job: Job, summary: Summary) -> bool:
    """Whether a job's latest attempt has recorded no events, so all are from earlier ones."""
    if job.attempts and summary.attempt:
        return summary.attempt != job.attempts
    return summary.time < job.begun  # versions without attempts in events


def find_state(job: Job, alive: bool, summary: Summary, hangs: bool = False) -> State:
    """The state that follows from a job's row, its process and its events.

    `hangs`: it has made no progress for long.
    """
    if job.phase == "waiting" or (job.phase == "held" and job.held_from == "waiting"):
        return State.QUEUED
    if job.phase == "claimed":
        return State.PREPARING
    silent = is_silent(job, summary)
    ended = "" if silent else summary.ended
    if alive and ended and job.phase == "running":  # it has recorded its end and releases its device
        return State.STOPPING if ended == State.FAILED else State.SAVING
    if alive and ended:
        return State(ended)
    if alive:
        if job.requested and (silent or summary.doing != "saving"):
            return State.STOPPING
        if hangs:
            return State.HANGING
        return State.PREPARING if silent else State(summary.doing or State.PREPARING)
    if yields(job, ended):
        return State.STOPPING
    if ended:
        return State(ended)
    return State.CANCELLED if job.requested == "cancel" else State.INTERRUPTED


def yields(job: Job, ended: str) -> bool:
    """Whether a job without a process paused for others: a paused run, or interrupted work in the background.

    `ended` is the recorded end of its latest attempt.
    """
    return job.requested == YIELD and ended == ("" if job.kind in BACKGROUND else State.PAUSED)


def actions_for(job: Job, state: State, saved: int = 0, phase: str = "") -> tuple[str, ...]:
    """The allowed actions, most likely first; `saved` is the newest checkpoint, `phase` the phase of the run."""
    if phase == "after" and state in (State.SAMPLING, State.STOPPING):  # the style is written, without all pictures
        return ("stop",)
    if state == State.PREPARING and saved:  # it continues from a checkpoint, which can be exported or kept
        return ("stop", "pause", "cancel")
    actions = (_TRAIN_ACTIONS if job.kind == TRAIN else _SMALL_ACTIONS).get(state, ())
    if job.kind in BACKGROUND:  # always last in line
        actions = tuple(action for action in actions if action != "move")
    has_nothing = not saved and state in (State.FAILED, State.CANCELLED)
    return tuple(action for action in actions if not (has_nothing and action == "resume"))


def describe(
    state: State, summary: Summary, place: int = 0, wait: float | None = None, restarts: int = 0, silent: float = 0.0
) -> str:
    """A sentence about a state; may be empty.

    `place` in the queue, `wait` seconds until it starts, `restarts` without progress, `silent` seconds of a hanging
    job.
    """
    match state:
        case State.QUEUED:
            return _queued(summary, place, wait, restarts)
        case State.PREPARING:
            return summary.message if summary.doing == "preparing" and not summary.ended else STARTING
        case State.TRAINING:
            return _training(summary)
        case State.SAMPLING:
            return _sampling(summary)
        case State.WORKING | State.FAILED:
            return summary.message
        case State.SAVING:
            return WRITING
        case State.HANGING:
            return _hanging(summary, silent)
        case State.STOPPING:
            return _stopping(summary)
        case State.PAUSED:
            return _("Saved at step {step}.", step=summary.saved)
        case State.STOPPED:
            return _("Stopped at step {step} and saved.", step=summary.step)
        case State.FINISHED if summary.seconds >= 1:
            return _("Done in {time}.", time=readable_time(summary.seconds))
        case State.FINISHED:
            return _("Done.")
        case State.INTERRUPTED:
            return _interrupted(summary, restarts)
        case State.CANCELLED if summary.saved:
            return SAVED_UP_TO.format(step=summary.saved)
    return ""


def _queued(summary: Summary, place: int, wait: float | None, restarts: int) -> Message:
    is_paused = summary.ended == State.PAUSED and summary.saved and not restarts
    unknown, soon, later = IN_LINE_PAUSED if is_paused else IN_LINE
    template = unknown if wait is None else soon if wait < SOON else later
    line = template.format(place=ordinal(place), time=readable_time(wait or 0.0), step=summary.saved)
    if not restarts:
        return line
    if not summary.saved:
        return joined(" ", (line, _("It was interrupted and continues from the beginning by itself.")))
    goes_on = _("It was interrupted and continues from step {step} by itself.", step=summary.saved)
    return joined(" ", (line, goes_on))


def _training(summary: Summary) -> Message:
    step, steps, left = summary.step, summary.steps, summary.seconds_left
    if left is None:
        return _("Step {step} of {steps}.", step=step, steps=steps)
    return _("Step {step} of {steps}, {time} left.", step=step, steps=steps, time=readable_time(left))


def _sampling(summary: Summary) -> Message:
    number, count = summary.pictures
    if summary.left is None:
        return _("Drawing picture {number} of {count} …", number=number, count=count)
    left = readable_time(summary.left)
    return _("Drawing picture {number} of {count}, {time} left.", number=number, count=count, time=left)


def _hanging(summary: Summary, silent: float) -> Message:
    time = readable_time(silent)
    problem = _("Nothing has happened for {time}.", time=time)
    if summary.step:
        problem = _("Nothing has happened for {time} at step {step}.", time=time, step=summary.step)
    advice = _("Stop it, then start it again.")
    if summary.saved:
        advice = _("Stop it, then continue from step {step}.", step=summary.saved)
    return joined(" ", (problem, advice))


def _interrupted(summary: Summary, restarts: int) -> Message:
    count = RESTARTED.get(restarts, _("It had already restarted by itself {count} times.", count=restarts))
    again = count if restarts else ""
    if not summary.step:
        return joined(" ", (_("The computer or the program stopped before the first step."), again))
    where = _("The computer or the program stopped at step {step}.", step=summary.step)
    saved = SAVED_UP_TO.format(step=summary.saved) if summary.saved else _("Nothing was saved yet.")
    return joined(" ", (where, saved, again))


def _stopping(summary: Summary) -> str:
    if summary.ended == State.FAILED:
        return summary.message
    if summary.phase == "after":
        number, count = summary.pictures
        if not count:
            return _("Its style is saved. Drawing the last pictures …")
        return _("Its style is saved. Drawing picture {number} of {count} …", number=number, count=count)
    return WRITING if summary.phase == "export" else _("Finishing this step …")
