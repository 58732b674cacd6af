"""Moves runs to the trash and back: deleted and replaced runs, and the state of a run before a restart from zero."""

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
"""Results of a training, which go to the trash when the run is restarted."""
ALIAS = ".style-name"
"""File in a run's folder with the name of a renamed style; the run keeps its name."""
CHOSEN = "chosen.json"
"""File in a run's folder with the starred step, whose snapshot is the run's style, and candidates."""
VOTES = "votes.jsonl"
"""File in a run's folder with blind votes on its pictures."""
LEFT_BEHIND = {*LEARNED, ALIAS, CHOSEN, VOTES, RANK_MAP, THREADS, STOP, LOCK, HEARTBEAT}
"""Files that a restarted run does not take over."""
SHARED = ("dataset", "cache", "prior")
"""Folders whose files are replaced and never changed, so a restarted run links them."""
ENDING = 20.0
"""Seconds to wait for the end of a killed process."""


class ChangedError(VelaturaError):
    """A job's row has changed since it was read: a dispatcher or another person was faster."""


def began(folder: Path, job: Job | None) -> float:
    """When a run was created, in Unix seconds; 0 if unknown."""
    first = next(read_events(folder), {}).get("time", job.added if job is not None else 0.0)
    return float(first)


def check_done(done: bool, job: Job) -> None:
    """Raise ChangedError if a change of a job's row was not made because the row had changed."""
    if not done:
        raise ChangedError("{name} has just changed; look again", name=job.name)


@contextmanager
def held(store: Store, job: Job) -> Iterator[None]:
    """Keep dispatchers and other actions from a job while its folder is changed."""
    holder = own_identity()
    check_done(store.hold(job, holder), job)
    try:
        yield
    finally:
        store.release(job, holder)


def throw_away(store: Store, job: Job, kind: str = RUN) -> TrashItem:
    """Move a held run and its row to the trash, as an item of this kind."""
    with Run(job.folder).training():  # raises BusyError while a process trains it
        pass
    item = new_item(kind, job.name, job.owner, {CONTENT: job.folder}, store.runs, _row(store, job))
    return Trash(store).put(item, {"remove": job.id})


def put_aside(store: Store, folder: Path) -> TrashItem:
    """Move a run that another one replaces to the trash, with its row if it has one.

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
    """Queue a held run to train from zero with a config; its previous state goes to the trash.

    Returns None if it had learned nothing.
    """
    run, trash = Run(job.folder), Trash(store)
    with run.training():
        pass
    item = new_item(RESTARTED, job.name, job.owner, {CONTENT: job.folder}, store.runs, _row(store, job))
    wants = wanted_again(config.train, job.wants)

    def build(fresh: Path) -> None:
        store.check_waiting(job.owner, job.kind)  # in the lock of the trash
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
    """Restore a run from the trash, under another name if its own is taken; returns the name.

    A restarted run is exchanged with its previous state. While it runs, the previous state is restored beside it, or
    with `instead` the run is ended first.
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
    if any(job.id == row.get("id") for job in jobs):  # the number belongs to another job now
        del row["id"]
    if (name,) != item.names:
        item = _renamed(trash, item, name)
    row["folder"] = place.with_name(name).relative_to(store.runs).as_posix()
    trash.bring_back(item, place.with_name(name), {"put": row} if item.row else None)
    return name


def _swap(store: Store, trash: Trash, item: TrashItem, there: Job) -> str:
    """Exchange a restarted run with its previous state."""
    with held(store, there):
        with Run(there.folder).training():
            pass
        aside = new_item(RESTARTED, there.name, there.owner, {CONTENT: there.folder}, store.runs, _row(store, there))
        trash.bring_back(item, there.folder, {"put": dict(item.row or {})}, aside)
        if not has_learned(Run(trash.path(aside))):
            trash.remove([aside])
    return there.name


def _end(store: Store, job: Job) -> None:
    """End a run at once and wait until its process is gone."""
    if job.phase == "claimed":
        store.end(job)
    if job.phase == "running":
        store.request(job, "cancel")  # or it would restart
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
    """Make the folder of a run that begins from zero: the same pictures and history, a config, no results."""
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for path in run.folder.iterdir():
        if path.name in LEFT_BEHIND:
            continue
        if path.is_dir():
            (link_tree if path.name in SHARED else shutil.copytree)(path, fresh / path.name)
        else:  # copied, since events are appended to it
            shutil.copy2(path, fresh / path.name)
    write_config(Run(fresh), config)
    Recorder(fresh)("anew")


def _renamed(trash: Trash, item: TrashItem, name: str) -> TrashItem:
    """The item with its run renamed to `name`, in the config and in the names of its files."""
    item = replace(item, names=tuple(dict.fromkeys((*item.names, name))))
    trash.write(item)  # first, so that the old names are known after a kill
    run = Run(trash.path(item))
    try:
        config = run.config()
        write_config(run, config.model_copy(update={"name": name}))
    except (OSError, VelaturaError):
        pass  # an unreadable config has no name
    for file in sorted(path for path in run.style.glob("*") if path.suffix != ".txt"):
        for old in sorted(item.names, key=len, reverse=True):
            if file.name.startswith((f"{old}.", f"{old}-")):
                file.rename(file.with_name(f"{name}{file.name.removeprefix(old)}"))
                break
    return item
