"""Moving runs to the trash and back: deleted and replaced runs, and the state of a run before a restart from zero."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.dispatcher import kill, settle
from app.jobs.job import Job
from app.jobs.permissions import Actor
from app.jobs.processes.devices import wanted_again
from app.jobs.processes.process import own_identity
from app.jobs.states import is_alive
from app.jobs.store import Store
from app.jobs.trash.trash import CONTENT, REPLACED, RESTARTED, RUN, Trash, TrashItem, new_item
from trainers.atomic_files import link_tree
from trainers.errors import VelaturaError
from trainers.runs.events import Recorder, read_events
from trainers.runs.run import HEARTBEAT, LOCK, RANK_MAP, STOP, Run, free_name, write_config
from trainers.runs.threads import FILE as THREADS

if TYPE_CHECKING:
    from trainers.config.config import Config

LEARNED = ("checkpoints", "samples", "snapshots", "style")
"""What a run has of its training: it goes to the trash when the run is restarted."""
ALIAS = ".style-name"
"""File in a run's folder with what its style is called, where somebody has renamed it; the run keeps its name."""
CHOSEN = "chosen.json"
"""File in a run's folder with the step that a person has starred: its snapshot is the run's style."""
LEFT_BEHIND = {*LEARNED, ALIAS, CHOSEN, RANK_MAP, THREADS, STOP, LOCK, HEARTBEAT}
"""What a restarted run does not take over."""
SHARED = ("dataset", "cache", "prior")
"""Folders in which no file is ever changed, only replaced: a restarted run has the same files."""
ENDING = 20.0
"""Seconds in which a process that was killed is gone."""


class ChangedError(VelaturaError):
    """A job's row is no longer what was looked at: a dispatcher or another person was faster."""


def began(folder: Path, job: Job | None) -> float:
    """When a run was created, in Unix seconds; 0 if unknown."""
    first = next(read_events(folder), {}).get("time", job.added if job is not None else 0.0)
    return float(first)


def check_done(done: bool, job: Job) -> None:
    """Raise ChangedError if a change of a job's row was not done, since the row is no longer what was looked at."""
    if not done:
        raise ChangedError("{name} has just changed; look again", name=job.name)


@contextmanager
def held(store: Store, job: Job) -> Iterator[None]:
    """Keep a job from dispatchers and other actions for as long as its folder is changed."""
    holder = own_identity()
    check_done(store.hold(job, holder), job)
    try:
        yield
    finally:
        store.release(job, holder)


def throw_away(store: Store, job: Job, kind: str = RUN) -> TrashItem:
    """Move a held run and its row to the trash, where it is of this kind."""
    with Run(job.folder).training():  # not from under a process that trains it
        pass
    item = new_item(kind, job.name, job.owner, {CONTENT: job.folder}, store.runs, _row(store, job))
    return Trash(store).put(item, {"remove": job.id})


def put_aside(store: Store, folder: Path) -> TrashItem:
    """Move a run whose place another one takes to the trash, with its row, where it has one.

    VelaturaError if it is still in the queue.
    """
    if store.exists():
        settle(store)
    job = store.job_in(folder)
    if job is None:
        return Trash(store).put(new_item(REPLACED, folder.name, "", {CONTENT: folder}, store.runs))
    if job.phase != "ended":
        raise VelaturaError(
            "“{name}” is in the queue; `velatura queue cancel {quoted}` removes it",
            name=job.name,
            quoted=shlex.quote(job.name),
        )
    with held(store, job):
        return throw_away(store, job, REPLACED)


def start_over(store: Store, job: Job, config: Config) -> TrashItem | None:
    """Let a held run wait to be trained from zero with a config, what it was before in the trash.

    None if it had learned nothing yet, so that there is nothing to keep.
    """
    run, trash = Run(job.folder), Trash(store)
    with run.training():
        pass
    item = new_item(RESTARTED, job.name, job.owner, {CONTENT: job.folder}, store.runs, _row(store, job))
    wants = wanted_again(config.train, job.wants)

    def build(fresh: Path) -> None:
        store.check_waiting(job.owner, job.kind)  # in turn with others that start over
        _build(run, fresh, config)

    item = trash.put(item, {"wait": job.id, "wants": wants}, build)
    if has_learned(Run(trash.path(item))):
        return item
    trash.remove([item])
    return None


def has_learned(run: Run) -> bool:
    """Whether a run has a checkpoint, a snapshot, a style or pictures drawn after its first step."""
    drawn = run.samples.is_dir() and any(path.name != "step-00000000" for path in run.samples.iterdir())
    return bool(run.checkpoint_steps() or run.list_snapshots()) or run.style.is_dir() or drawn


def bring_back(store: Store, item: TrashItem, *, actor: Actor, instead: bool = False) -> str:
    """Bring a run back from the trash exactly as it was, under another name where its own was taken; that name.

    One that was restarted takes the place of what became of it, which goes to the trash; while that is at work, it is
    restored beside it, unless it is to take its place `instead`: then what is at work is ended first.
    """
    trash, place = Trash(store), store.runs / item.parts[CONTENT]
    there = store.job_in(place) if place.exists() else None
    if item.kind == RESTARTED and there is not None and there.id == (item.row or {}).get("id"):
        actor.check(there.name, there.owner)
        if instead:
            _end(store, there)
            there = store.job(there.id)
        if there.phase in ("waiting", "ended") and not is_alive(there):
            return _swap(store, trash, item, there)
    name = item.name if not place.exists() else free_name(store.runs, item.name)
    row = dict(item.row or {})
    jobs = store.jobs() if store.exists() else []
    if any(job.id == row.get("id") for job in jobs):  # that job stays what it is, and this is another one
        del row["id"]
    if (name,) != item.names:
        item = _called(trash, item, name)
    row["folder"] = place.with_name(name).relative_to(store.runs).as_posix()
    trash.bring_back(item, place.with_name(name), {"put": row} if item.row else None)
    return name


def _swap(store: Store, trash: Trash, item: TrashItem, there: Job) -> str:
    """Let a run that was restarted and what became of it change places."""
    with held(store, there):
        with Run(there.folder).training():
            pass
        aside = new_item(RESTARTED, there.name, there.owner, {CONTENT: there.folder}, store.runs, _row(store, there))
        trash.bring_back(item, there.folder, {"put": dict(item.row or {})}, aside)
        if not has_learned(Run(trash.path(aside))):
            trash.remove([aside])
    return there.name


def _end(store: Store, job: Job) -> None:
    """End a run at once, wherever it is, and wait until it has no process any more."""
    if job.phase == "claimed":
        store.end(job)
    if job.phase == "running":
        store.request(job, "cancel")  # or it would continue by itself
    if job.phase == "running" and not kill(job):
        raise VelaturaError("{name} is training on another computer; stop it first", name=job.name)
    end = time.monotonic() + ENDING
    while is_alive(now := store.job(job.id)) and time.monotonic() < end:
        time.sleep(0.05)
    settle(store)
    if store.job(job.id).phase not in ("waiting", "ended"):
        raise VelaturaError("{name} is still running; try again in a moment", name=now.name)


def _row(store: Store, job: Job) -> dict[str, object]:
    """A held job's row as it was before it was held."""
    return store.row(job.id) | {"phase": job.phase, "pid": 0, "started": 0}


def _build(run: Run, fresh: Path, config: Config) -> None:
    """Make the folder of a run that begins from zero: the same pictures and history, a config, nothing learned."""
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for path in run.folder.iterdir():
        if path.name in LEFT_BEHIND:
            continue
        if path.is_dir():
            (link_tree if path.name in SHARED else shutil.copytree)(path, fresh / path.name)
        else:  # what is added to, as the record of events, must not be the same file
            shutil.copy2(path, fresh / path.name)
    write_config(Run(fresh), config)
    Recorder(fresh)("anew")


def _called(trash: Trash, item: TrashItem, name: str) -> TrashItem:
    """The item, whose run in the trash is called `name` from now on: in its config, and in the names of its files."""
    item = replace(item, names=tuple(dict.fromkeys((*item.names, name))))
    trash.write(item)  # first: after a kill it is still known what to look for
    run = Run(trash.path(item))
    try:
        config = run.config()
        write_config(run, config.model_copy(update={"name": name}))
    except (OSError, VelaturaError):
        pass  # a config that cannot be read names nothing
    for file in sorted(path for path in run.style.glob("*") if path.suffix != ".txt"):
        for old in sorted(item.names, key=len, reverse=True):
            if file.name.startswith((f"{old}.", f"{old}-")):
                file.rename(file.with_name(f"{name}{file.name.removeprefix(old)}"))
                break
    return item
