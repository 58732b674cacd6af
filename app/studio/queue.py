"""The queue as the studio's pages use it: what there is, what is asked for, and what a run has said over time."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs import actions
from app.jobs.dispatcher import Dispatcher
from app.jobs.losses import Losses
from app.jobs.permissions import Actor
from app.jobs.repair import Repair, repair
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN, Store
from app.jobs.trash.trash import TrashItem
from app.jobs.views import View, Watcher
from app.studio.paths import Paths
from trainers.errors import VelaturaError

LONGEST_NAME = 200
"""In bytes; no file system takes more than 255."""
SMALL_JOB = "job:"


@dataclass(frozen=True)
class Seen:
    """The queue at one moment."""

    views: tuple[View, ...]
    """Of all jobs and runs; the same object as before where nothing has changed."""
    problem: VelaturaError | None = None
    """Why the rows of the queue cannot be read."""

    @property
    def runs(self) -> list[View]:
        """Every run: what goes on, then the line, then the rest, newest first."""
        return [view for view in self.views if view.job.kind == TRAIN]

    @property
    def small(self) -> list[View]:
        """What else uses the computer, or waits for it."""
        return [view for view in self.views if view.job.kind != TRAIN and view.state not in ENDED]


@dataclass(frozen=True)
class Activity:
    """What the computer does at one moment."""

    view: View | None = None
    """The job at work; of several one."""
    more: int = 0
    """How many others are at work."""
    waiting: int = 0
    is_known: bool = True
    """Whether the queue can be read."""


class Queue:
    """One a server. Every look at a run goes through here, so that its events are read once whoever looks."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.store = Store(paths.runs)
        self.watcher = Watcher(self.store)
        self._lock = threading.Lock()
        self._losses: dict[Path, Losses] = {}
        self._secret = hashlib.sha256(paths.secret()).digest()

    def dispatcher(self) -> Dispatcher:
        """What gives the jobs of this queue to the devices of this machine."""
        return Dispatcher(self.store)

    def look(self) -> Seen:
        """Every job and run as they are now."""
        try:
            return Seen(self.watcher.history())
        except VelaturaError as error:
            return Seen(self.watcher.history(rows=False), error)

    def runs(self) -> list[View]:
        """Every run: what goes on, then the line, then the rest, newest first."""
        return self.look().runs

    def small_jobs(self) -> list[View]:
        """What else uses the computer, or waits for it."""
        return self.look().small

    def jobs(self) -> Sequence[View]:
        """Every job that has a row; none where the rows cannot be read, of which `problem` says why."""
        try:
            return self.watcher.views()
        except VelaturaError:
            return ()

    def problem(self) -> VelaturaError | None:
        """Why the rows of the queue cannot be read; None where they can."""
        return self.look().problem

    def repair(self) -> Repair:
        """Make a damaged queue anew."""
        return repair(self.store)

    def run(self, name: str) -> View | None:
        """The run with this name; None where there is none. The name comes from outside."""
        if not name or len(name.encode()) > LONGEST_NAME or Path(name).name != name or "\\" in name:
            return None
        try:
            return self.watcher.view_of(name)
        except VelaturaError:  # of which every page's bar and the list of runs say why
            return self.watcher.view_of(name, rows=False)

    def find(self, name: str) -> View:
        """The run with this name, which comes from outside. VelaturaError where there is none."""
        view = self.run(name)
        if view is None:
            raise VelaturaError(f"there is no run {name[:LONGEST_NAME]} any more")
        return view

    def number(self, name: str, *, actor: Actor) -> int:
        """The number of a run's job, which it is given if it has none, or of a small job, called `job:` and its number.

        VelaturaError where there is no such run, or where it has no job and is not the actor's to change.
        """
        if name.startswith(SMALL_JOB) and name.removeprefix(SMALL_JOB).isdecimal():
            return self.store.job(int(name.removeprefix(SMALL_JOB))).id
        view = self.find(name)
        return view.job.id or actions.adopt(self.store, view.job.folder, actor=actor).id

    def losses(self, folder: Path) -> Losses:
        """The losses of a run so far."""
        with self._lock:
            losses = self._losses.setdefault(folder, Losses(folder))
        losses.read()
        return losses

    def public(self, view: View) -> Path:
        """The folder of what browsers may see of a run; its name cannot be guessed, and another run's is another."""
        return self.public_of(view.job.folder)

    def public_of(self, folder: Path) -> Path:
        """The folder of what browsers may see of another folder."""
        public = self.paths.public / self.public_name(folder)
        public.mkdir(mode=0o700, exist_ok=True)
        return public

    def public_name(self, folder: Path) -> str:
        """What the public folder of another one is called."""
        inode = folder.stat().st_ino if folder.is_dir() else 0  # a run whose folder is gone has a page, too
        key = f"{folder.name}|{inode}".encode()
        return hashlib.blake2b(key, key=self._secret, digest_size=16).hexdigest()

    def withdraw(self, folder: Path) -> None:
        """Delete the files of a folder that were made for downloads; pictures that pages show stay."""
        for offered in self.public_of(folder).iterdir():
            if offered.is_dir():
                shutil.rmtree(offered, ignore_errors=True)

    def delete(self, number: int, *, actor: Actor) -> TrashItem | None:
        """Move a run to the trash, delete a small job, and all that browsers could see of it."""
        folder = self.store.job(number).folder
        public = self.public_of(folder) if folder.is_dir() else None
        thrown = actions.delete(self.store, number, actor=actor)
        if public is not None:
            shutil.rmtree(public, ignore_errors=True)
        return thrown

    def activity(self) -> Activity:
        """What the computer does now."""
        seen = self.look()
        if seen.problem is not None:
            return Activity(is_known=False)
        busy = [view for view in seen.views if view.state not in ENDED and view.state != State.QUEUED]
        waiting = sum(view.state == State.QUEUED for view in seen.views)
        return Activity(busy[0] if busy else None, max(0, len(busy) - 1), waiting)


def share(view: View) -> float:
    """How much of a job is done, 0 to 1."""
    summary = view.summary
    if view.state == State.FINISHED:
        return 1.0
    if view.job.kind != TRAIN:
        return summary.share[0] / summary.share[1] if summary.share[1] else 0.0
    return min(1.0, summary.step / summary.steps) if summary.steps else 0.0
