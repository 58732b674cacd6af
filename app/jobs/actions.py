"""Actions on jobs for the browser and the command line, each allowed in some states."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs.accounts.audit import audited, note_job
from app.jobs.database.order import rank
from app.jobs.dispatcher import DELETED, kill, note_cancelled, settle
from app.jobs.events.summary import read_summary
from app.jobs.job import Job, NewJob
from app.jobs.permissions import COPYING, Actor, NotOwnerError
from app.jobs.processes.devices import wanted_again, wanted_by
from app.jobs.run_trash import (
    ALIAS,
    CHOSEN,
    ChangedError,
    began,
    bring_back,
    check_done,
    held,
    put_aside,
    start_over,
    throw_away,
)
from app.jobs.settings import changed, check_run, laid_over
from app.jobs.states import IN_WORDS, REFUSED, State
from app.jobs.store import ALREADY_QUEUED, SMALL, TRAIN, YIELD, Store
from app.jobs.trash.trash import CONTENT, DAMAGED, DRAWING, NEWER, RUNS, STYLE, Trash, TrashItem, new_id, new_item
from app.jobs.view import View
from app.jobs.views import Watcher
from trainers.errors import VelaturaError
from trainers.messages import Message as _
from trainers.runs.events import Recorder
from trainers.runs.manifest import accept_images
from trainers.runs.run import Run, Stop, free_name, is_run, open_run, write_config

if TYPE_CHECKING:
    from trainers.config.config import Config

PASSED = _("“{name}” belongs to {owner}; you can only move a run past your own")
PASSED_STUDIOS = _("“{name}” belongs to the owner of this studio; you can only move a run past your own")
UNFINISHED = (State.PAUSED, State.INTERRUPTED)
"""Ended states of runs that may continue; clearing the queue keeps them."""


# ---------------------------------------------------------------- new jobs
def add(
    store: Store,
    config: Config,
    *,
    actor: Actor,
    owner: str = "",
    priority: int = 0,
    first: bool = False,
    overwrite: bool = False,
    replaced: Callable[[TrashItem], object] = lambda _item: None,
    expected: float | None = None,
    labels: Mapping[str, str] | None = None,
    memory: float = 0.0,
) -> Job:
    """Prepare a run with copies of its images and add it to the queue; its folder exists on return.

    It belongs to the actor, unless the machine's owner makes it for `owner`. `replaced` receives the trash item of a
    replaced run; `expected` is its duration in seconds. On a cluster it gets a node with these `labels` and a device
    with at least this `memory` in GB.
    """
    from trainers.training.prepare import prepare

    check_run(config, actor)
    store.check_waiting(actor.name or owner, TRAIN)
    existing = store.job_in(store.runs / config.name)
    if overwrite and (store.runs / config.name).exists():
        actor.check(config.name, existing.owner if existing is not None else "")
    if existing is not None and existing.phase != "ended":
        raise VelaturaError(ALREADY_QUEUED.format(name=config.name))
    run = prepare(config, store.runs, overwrite, put_away=lambda old: replaced(put_aside(store, old)))
    try:
        if expected is not None:
            Recorder(run.folder)("expected", seconds=round(expected, 1))
        wants = wanted_by(config.train, labels, memory)
        job = store.add(NewJob(TRAIN, run.folder, (), Path.cwd(), actor.name or owner, wants, priority))
    except BaseException:
        shutil.rmtree(run.folder)
        raise
    if first:
        store.move(job, _first_place(store, job, actor))
    note_job(store, "start", actor, TRAIN, job.name, job.owner)
    return store.job(job.id)


def new_folder(store: Store, name: str) -> Path:
    """A new, empty folder for a small job."""
    folder = store.runs / SMALL / free_name(store.runs / SMALL, name)
    folder.mkdir(parents=True)
    return folder


def adopt(store: Store, folder: Path, *, actor: Actor) -> Job:
    """Add an ended job for a run made outside the queue."""
    existing = store.job_in(folder)
    if existing is not None:
        return existing
    run = open_run(folder)
    actor.check(run.folder.name, "")
    wants, attempts = wanted_by(run.config().train), read_summary(run.folder).attempt
    return store.add(NewJob(TRAIN, run.folder, (), Path.cwd(), "", wants, attempts=attempts), phase="ended")


def clone(
    store: Store,
    number: int,
    name: str = "",
    changes: Mapping[str, Any] | None = None,
    *,
    actor: Actor,
) -> Job:
    """Add a job with the images and settings of another one and `changes` to them.

    It belongs to the actor; a clone made by the machine's owner keeps the original's owner.
    """
    job = _allowed(store, number, "clone", actor=actor).job
    pictures_of(job.folder)
    config = changed(Run(job.folder).config(), changes or {})
    config = laid_over(config, {"name": name or free_name(store.runs, job.name)})
    priority = job.priority if actor.owns(job.owner) else 0
    return add(store, config, actor=actor, owner=job.owner, priority=priority)


def pictures_of(run: Path) -> list[Path]:
    """The images of a run, for a clone. VelaturaError if they no longer exist."""
    from trainers.data.source import split_masks

    files, _ = split_masks(sorted(Run(run).dataset.glob("*.png")))
    if not files:
        raise VelaturaError("the images of {name} no longer exist, so it cannot be cloned", name=run.name)
    return files


# ---------------------------------------------------------------- ending
@audited("stop")
def stop(store: Store, number: int, how: Stop = "save", *, actor: Actor) -> State:
    """Ask a job to end: save and export, save only, or at once. A waiting one ends at once. Returns its state."""
    for is_last in (False, False, True):
        try:
            _ask_to_end(store, _allowed(store, number, {"save": "stop"}.get(how, how), actor=actor), how, actor)
            break
        except ChangedError:  # a dispatcher has just claimed or started it
            if is_last:
                raise
    settle(store)
    return Watcher(store).view_alone(number).state


@audited("draw")
def draw_now(store: Store, number: int, *, actor: Actor) -> None:
    """Ask a training run for pictures of its next step."""
    Run(_allowed(store, number, "draw", actor=actor).job.folder).ask_to_draw()


def _ask_to_end(store: Store, view: View, how: Stop, actor: Actor) -> None:
    """End a job as its state allows; ChangedError if its state has changed."""
    job = view.job
    if view.state == State.PAUSED:  # its style is exported from its checkpoint, which takes a device
        store.check_waiting(job.owner, job.kind)
        with held(store, job):
            Run(job.folder).ask_to_stop("save")
        _put_first(store, job, actor)
    elif view.state == State.QUEUED or job.phase == "claimed":
        check_done(store.end(job), job)
        note_cancelled(job)
    elif job.phase != "running":  # it trains without the queue
        Run(job.folder).ask_to_stop(how)
    else:
        check_done(store.request(job, how), job)
        at_once = view.state in (State.PREPARING, State.WORKING, State.STOPPING, State.HANGING)
        # Partial files are rebuilt, and its checkpoints stay.
        if not (how == "cancel" and at_once and kill(job)):
            Run(job.folder).ask_to_stop(how)


@audited("pause")
def preempt(store: Store, number: int, first: int, *, actor: Actor) -> None:
    """Pause a run for a waiting job, which goes `first`; the run then continues by itself, ahead of every other run."""
    job = _allowed(store, number, "pause", actor=actor).job
    waiting = store.job(first)
    store.move(waiting, _first_place(store, waiting, actor))
    check_done(store.request(job, YIELD), job)
    Run(job.folder).ask_to_stop("pause")


# ---------------------------------------------------------------- going on
@audited("resume")
def resume(store: Store, number: int, steps: int | None = None, accept: bool = False, *, actor: Actor) -> Job:
    """Queue a job again to continue from its newest checkpoint.

    A paused or interrupted job goes first; on a shared studio, before its owner's other jobs.
    `steps` trains it longer, even if it has finished; `accept` takes changed images as they are.
    """
    view = _allowed(store, number, "resume" if steps is None else "longer", "resume", actor=actor)
    store.check_waiting(view.job.owner, view.job.kind)
    run = Run(view.job.folder)
    with held(store, view.job):
        run.clear_stop()
        if accept:
            accept_images(run)
        if steps is not None:
            if steps <= view.summary.step:
                raise VelaturaError(
                    "{name} is at step {step}; give more --steps", name=view.job.name, step=view.summary.step
                )
            write_config(run, laid_over(run.config(), {"train": {"steps": steps}}))
    if view.state in UNFINISHED:
        _put_first(store, view.job, actor)
    else:
        check_done(store.put_in_line(view.job), view.job)
    return store.job(number)


@audited("retry")
def retry(store: Store, number: int, changes: Mapping[str, Any] | None = None, *, actor: Actor) -> Job:
    """Queue a job again from zero, with `changes` to its settings.

    The run's previous state, with its checkpoints, goes to the trash.
    """
    job = _allowed(store, number, "retry", actor=actor).job
    store.check_waiting(job.owner, job.kind)
    run = Run(job.folder)
    with held(store, job):
        if job.kind == TRAIN:
            start_over(store, job, changed(run.config(), changes or {}))
            return store.job(number)
        run.clear_stop()
        Recorder(job.folder)("anew")
    check_done(store.put_in_line(job), job)
    return store.job(number)


@audited("change")
def change(store: Store, number: int, changes: Mapping[str, Any], *, actor: Actor) -> Job:
    """Change the settings of a waiting job; it keeps its place."""
    job = _allowed(store, number, "change", actor=actor).job
    run = Run(job.folder)
    if run.checkpoint_steps():
        raise VelaturaError(
            "{name} is partly trained with its current settings; clone it to change them", name=job.name
        )
    with held(store, job):
        config = changed(run.config(), changes)
        write_config(run, config)
        store.want(job, wanted_again(config.train, job.wants))
    return store.job(number)


@audited("give")
def give(store: Store, number: int, owner: str, *, actor: Actor) -> None:
    """Give a run and its style to another owner: a login, or empty for the machine's owner."""
    job = store.job(number)
    actor.check(job.name, job.owner)
    store.give(job, owner)


# ---------------------------------------------------------------- order and tidying
@audited("move")
def move(store: Store, number: int, where: str | int, *, actor: Actor) -> list[Job]:
    """Move a waiting job `up`, `down`, `first`, `last` or to a position from 1; returns the new order.

    Raises NotOwnerError if it would pass another owner's job.
    """
    view = _allowed(store, number, "move", actor=actor)
    places = {"up": view.place - 1, "down": view.place + 1, "first": 1, "last": len(store.line())}
    try:
        place = places[where] if where in places else int(where)
    except ValueError:
        raise VelaturaError(
            "{where!r} is not a position; use up, down, first, last or a number from 1", where=where
        ) from None
    for other in store.line()[max(place, 1) - 1 : view.place - 1]:
        if not actor.may_change(other.owner):
            raise NotOwnerError((PASSED if other.owner else PASSED_STUDIOS).format(name=other.name, owner=other.owner))
    check_done(store.move(view.job, place), view.job)
    return store.line()


def style_item(store: Store, run: Path, name: str, owner: str) -> TrashItem:
    """A run's style as a trash item, with its display name and its snapshots."""
    snapshots, style = Run(run).snapshots, Run(run).style
    parts = {CONTENT: style, "snapshots": snapshots} if style.exists() else {CONTENT: snapshots}
    return new_item(STYLE, name, owner, parts | {"alias": run / ALIAS, "chosen": run / CHOSEN}, store.runs)


def clear(store: Store, *, actor: Actor) -> list[Job]:
    """Remove ended jobs that cannot continue; run folders stay, folders of small jobs are deleted."""
    settle(store)
    ended = [view for view in Watcher(store).views() if view.job.phase == "ended" and actor.owns(view.job.owner)]
    removed = [view.job for view in ended if view.state not in UNFINISHED and store.remove(view.job)]
    for job in removed:
        if job.folder.parent == store.runs / SMALL:
            shutil.rmtree(job.folder, ignore_errors=True)
    return removed


@audited("delete")
def delete(store: Store, number: int, *, actor: Actor) -> TrashItem | None:
    """Move a run with its folder (images, samples, checkpoints, style file) to the trash; a small job is deleted.

    Returns None if there is nothing to restore.
    """
    job = _allowed(store, number, "delete", actor=actor).job
    with held(store, job):
        if job.folder.is_dir():
            if job.kind == TRAIN:
                return throw_away(store, job)
            with Run(job.folder).training():  # raises BusyError while a process trains it
                pass
            # Renamed at once, so that a kill leaves no partial run.
            hidden = job.folder.with_name(DELETED.format(f"{job.name}.{job.id}"))
            job.folder.rename(hidden)
            shutil.rmtree(hidden)
    store.remove(job)
    return None


def restore(store: Store, id: str, *, actor: Actor, instead: bool = False) -> str:
    """Restore a trash item, under another name if its own was taken; returns the name.

    A restarted run is exchanged with its previous state; if it is running, only with `instead`, which ends it.
    """
    if store.exists():  # runs may exist without a queue
        settle(store)
    trash = Trash(store)
    item = trash.item(id, actor)
    name = _restore(store, trash, item, actor, instead)
    note_job(store, "restore", actor, TRAIN, name, item.owner, item=item.id)
    return name


def _restore(store: Store, trash: Trash, item: TrashItem, actor: Actor, instead: bool) -> str:
    if item.kind == DAMAGED:
        raise VelaturaError("this item is damaged; its files are in {item}", item=trash.path(item))
    if item.kind == NEWER:
        raise VelaturaError(
            "“{name}” was deleted by a newer Velatura, and only that can restore it: update Velatura; its "
            "files are in {item}",
            name=item.name,
            item=trash.path(item),
        )
    place = store.runs / item.parts[CONTENT]
    if item.kind in RUNS:
        return bring_back(store, item, actor=actor, instead=instead)
    if item.kind == STYLE and trash.path(item).is_dir():
        _restore_style(store, trash, item, actor)
        return item.name
    if item.kind == DRAWING:  # as the newest, or the next drawing would push it out again
        place = place.with_name(f"{place.name.partition('-')[0]}-{new_id()}")
    for number in range(2, 10_000):
        if not place.exists():
            break
        place = place.with_name(f"{item.name} {number}{place.suffix}")
    trash.bring_back(item, place)
    return place.stem if item.kind == STYLE else item.name


# ---------------------------------------------------------------- within
def _restore_style(store: Store, trash: Trash, item: TrashItem, actor: Actor) -> None:
    """Restore a run's style; the current style of the run goes to the trash."""
    place = store.runs / item.parts[CONTENT]
    job = store.job_in(place.parent)
    if not is_run(place.parent) or began(place.parent, job) > item.deleted:  # another run has its name now
        raise VelaturaError("the run of “{name}” is not here; restore the run first", name=item.name)
    owner = job.owner if job is not None else ""
    actor.check(place.parent.name, owner)
    with Run(place.parent).training():
        has_style = place.exists() or Run(place.parent).snapshots.exists()
        aside = style_item(store, place.parent, item.name, owner) if has_style else None
        trash.bring_back(item, place, aside=aside)


def _allowed(store: Store, number: int, *actions: str, actor: Actor) -> View:
    """The job, if its state allows one of the actions, else VelaturaError.

    Raises NotOwnerError if the actor may not change it.
    """
    settle(store)
    view = Watcher(store).view_alone(number)
    if actions[0] not in COPYING:
        actor.check(view.job.name, view.job.owner)
    if not set(actions) & set(view.actions):
        raise VelaturaError(REFUSED[actions[0]].format(name=view.job.name, reason=IN_WORDS[view.state]))
    return view


def _put_first(store: Store, job: Job, actor: Actor) -> None:
    """Put an ended job before all waiting ones; on a shared studio only before its owner's other jobs."""
    check_done(store.put_in_line(job, first=actor.owns_machine), job)
    if not actor.owns_machine:
        store.move(job, _first_place(store, job, actor))


def _first_place(store: Store, job: Job, actor: Actor) -> int:
    """The first position that a job may get: 1, or on a shared studio behind the last job of another owner."""
    line = [other.owner for other in store.line() if other.id != job.id and not rank(other.kind)]
    passed = (place for place, owner in enumerate(line, 1) if not actor.owns_machine and owner != job.owner)
    return 1 + max(passed, default=0)
