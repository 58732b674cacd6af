"""Starts, cancels, continues and moves sweeps, whose runs are ordinary jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs import actions
from app.jobs.accounts.audit import check_owner
from app.jobs.job import Job
from app.jobs.permissions import Actor
from app.jobs.states import ENDED, State
from app.jobs.store import Store
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.sweeps.batch import add_batch
from app.studio.sweeps.plan import SweepPlan
from app.studio.sweeps.sweep_file import (
    Sweep,
    check_free,
    new_name,
    new_sweep,
    reference_of,
    remove_sweep,
    write_sweep,
)
from trainers.errors import VelaturaError
from trainers.messages import Message, joined
from trainers.messages import Message as _
from trainers.runs.run import Stop

GONE = _("{name} is not there any more: it was deleted or renamed.")
REPLACED = _("{name} is another run by now, which does not belong to this sweep.")
RUNNING, WAITING = _("{count} running"), _("{count} waiting")
OTHER, DELETED = _("{count} ended otherwise"), _("{count} deleted")


@dataclass(frozen=True)
class Member:
    """The current state of a sweep's run."""

    name: str
    values: tuple[Any, ...]
    view: View | None
    """None if it was deleted."""
    problem: str = ""
    """Why it is missing."""


@dataclass(frozen=True)
class SweepProgress:
    """The progress of a sweep's runs."""

    done: int
    of: int
    running: int
    waiting: int
    missing: int

    @property
    def rest(self) -> int:
        """Number of other ended runs: stopped, cancelled, failed, interrupted."""
        return self.of - self.done - self.running - self.waiting - self.missing

    @property
    def line(self) -> Message:
        """The progress as text: `3 of 9 done, 1 running, 5 waiting`."""
        parts = [_("{count} of {total} done", count=self.done, total=self.of)]
        others = ((self.running, RUNNING), (self.waiting, WAITING), (self.rest, OTHER), (self.missing, DELETED))
        parts += [template.format(count=count) for count, template in others if count]
        return joined(", ", parts)


def start_sweep(
    store: Store,
    plan: SweepPlan,
    *,
    actor: Actor,
    owner: str = "",
    prepared: Callable[[Path], object] = lambda _folder: None,
) -> tuple[Sweep, list[Job]]:
    """Queue the runs of a sweep, all or none. `prepared` receives each folder before it waits. Raises VelaturaError."""
    check_free(store.runs, plan.name)
    sweep, is_written = new_sweep(plan, actor.name or owner), False

    def refer(folders: Sequence[Path]) -> None:
        nonlocal is_written
        for folder in folders:
            prepared(folder)
        with new_name(store.runs, sweep.name):
            is_written = True
            write_sweep(store.runs, sweep, folders)

    wanted = [run.wanted for run in plan.runs]
    try:
        return sweep, add_batch(store, wanted, actor=actor, owner=owner, prepared=refer)
    except BaseException:
        if is_written:  # or the file belongs to a concurrent start
            remove_sweep(store.runs, sweep.name)
        raise


def members(sweep: Sweep, views: Iterable[View]) -> list[Member]:
    """The runs of a sweep in order, from the views of all runs."""
    known = {view.job.folder.name: view for view in views}
    runs: list[Member] = []
    for run in sweep.runs:
        view = known.get(run.name)
        if view is None or not view.job.folder.is_dir():
            runs.append(Member(run.name, run.values, None, GONE.format(name=run.name)))
        elif (reference := reference_of(view.job.folder)) is None or reference.id != sweep.id:
            runs.append(Member(run.name, run.values, None, REPLACED.format(name=run.name)))
        else:
            runs.append(Member(run.name, run.values, view))
    return runs


def progress(runs: Sequence[Member]) -> SweepProgress:
    """The progress of these runs."""
    states = [member.view.state for member in runs if member.view is not None]
    return SweepProgress(
        done=sum(state == State.FINISHED for state in states),
        of=len(runs),
        running=sum(state not in ENDED and state != State.QUEUED for state in states),
        waiting=sum(state == State.QUEUED for state in states),
        missing=len(runs) - len(states),
    )


def end_sweep(store: Store, sweep: Sweep, how: Stop, *, actor: Actor) -> int:
    """Remove the waiting runs of a sweep from the queue and end the others by `how`; returns how many.

    Waiting runs go first, so that none of them takes a freed device.
    """
    check_owner(store.runs, "stop" if how == "save" else how, actor, "sweep", sweep.name, sweep.owner)
    changeable = _changeable(store, sweep, actor, lambda view: view.state not in ENDED)
    done = 0
    for view in sorted(changeable, key=lambda view: (view.state != State.QUEUED, -view.place)):
        wanted: Stop = "save" if how == "save" and "stop" in view.actions else "cancel"
        if wanted == "cancel" and "cancel" not in view.actions:
            continue
        try:
            actions.stop(store, view.job.id, wanted, actor=actor)
            done += 1
        except VelaturaError:
            if Watcher(store).view(view.job.id).state not in ENDED:  # or it has just ended
                raise
    return done


def continue_sweep(store: Store, sweep: Sweep, *, actor: Actor) -> int:
    """Queue the unfinished runs of a sweep again, from their newest checkpoint or from zero; returns how many."""
    check_owner(store.runs, "resume", actor, "sweep", sweep.name, sweep.owner)
    changeable = _changeable(store, sweep, actor, lambda view: view.state in ENDED and view.state != State.FINISHED)
    done = 0
    for view in sorted(changeable, key=lambda view: view.state in (State.PAUSED, State.INTERRUPTED)):
        number = view.job.id or actions.adopt(store, view.job.folder, actor=actor).id
        if "resume" in view.actions:
            actions.resume(store, number, actor=actor)
        elif "retry" in view.actions:
            actions.retry(store, number, actor=actor)
        else:
            continue
        done += 1
    return done


def move_sweep(store: Store, sweep: Sweep, place: str, *, actor: Actor) -> int:
    """Move the waiting runs of a sweep `first` or `last` in the queue, in their order; returns how many."""
    check_owner(store.runs, "move", actor, "sweep", sweep.name, sweep.owner)
    if place not in ("first", "last"):
        raise VelaturaError("{place!r} is not a place for a sweep; use first or last", place=place)
    waiting = _changeable(store, sweep, actor, lambda view: view.state == State.QUEUED)
    waiting.sort(key=lambda view: -view.place if place == "first" else view.place)
    for view in waiting:
        actions.move(store, view.job.id, place, actor=actor)
    return len(waiting)


def _changeable(store: Store, sweep: Sweep, actor: Actor, fits: Callable[[View], bool]) -> list[View]:
    """The fitting runs of a sweep that the actor may change; NotOwnerError if views are only others."""
    views = [member.view for member in members(sweep, Watcher(store).history()) if member.view is not None]
    fitting = [view for view in views if fits(view)]
    allowed = [view for view in fitting if actor.may_change(view.job.owner)]
    if fitting and not allowed:
        actor.check(fitting[0].job.name, fitting[0].job.owner)
    return allowed
