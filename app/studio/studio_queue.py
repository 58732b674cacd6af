"""The queue for pages: jobs and runs, their losses and public folders."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.jobs import actions
from app.jobs.cluster.cluster import Cluster
from app.jobs.cluster.nodes import read_seen
from app.jobs.dispatcher import Dispatcher, Ended
from app.jobs.events.losses import Losses
from app.jobs.permissions import Actor
from app.jobs.processes.devices import AND
from app.jobs.repair import Repair, repair
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN, Store
from app.jobs.trash.trash import TrashItem
from app.jobs.view import View
from app.jobs.views import Watcher
from app.studio.job_modules import JOB_MODULES, job_server
from app.studio.paths import Paths
from trainers.errors import VelaturaError

LONGEST_NAME = 200
"""Maximum name length in bytes; file systems allow 255."""
SMALL_JOB = "job:"


@dataclass(frozen=True)
class QueueSnapshot:
    """A snapshot of the queue."""

    views: tuple[View, ...]
    """All jobs and runs; the same object as before if nothing has changed."""
    problem: VelaturaError | None = None
    """Why the rows are unreadable."""

    @property
    def runs(self) -> list[View]:
        """All runs: active, then waiting, then the rest, newest first."""
        return [view for view in self.views if view.job.kind == TRAIN]

    @property
    def small(self) -> list[View]:
        """Other jobs that use the computer or wait for it."""
        return [view for view in self.views if view.job.kind != TRAIN and view.state not in ENDED]

    @property
    def activity(self) -> Activity:
        """The computer's current activity."""
        if self.problem is not None:
            return Activity(is_known=False)
        busy = [view for view in self.views if view.state not in ENDED and view.state != State.QUEUED]
        waiting = sum(view.state == State.QUEUED for view in self.views)
        return Activity(busy[0] if busy else None, max(0, len(busy) - 1), waiting)


@dataclass(frozen=True)
class Activity:
    """The computer's current activity."""

    view: View | None = None
    """The running job, or one of several."""
    more: int = 0
    """Number of other running jobs."""
    waiting: int = 0
    is_known: bool = True
    """Whether the queue can be read."""


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster, and the jobs of its devices."""

    name: str
    devices: Mapping[str, View | None]
    problem: str = ""
    """Why it is not used."""


class StudioQueue:
    """The queue of a server; all access to runs goes through it, so events are read once."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.store = Store(paths.runs)
        self.watcher = Watcher(self.store)
        self._lock = threading.Lock()
        self._losses: dict[Path, Losses] = {}
        self._secret = hashlib.sha256(paths.secret()).digest()

    def dispatcher(
        self,
        ended: Ended | None = None,
        cluster: Cluster | None = None,
        before: Callable[[], object] | None = None,
    ) -> Dispatcher:
        """The dispatcher of this queue."""
        return Dispatcher(
            self.store, JOB_MODULES, fork_server=job_server(), ended=ended, cluster=cluster, before=before
        )

    def look(self) -> QueueSnapshot:
        """The current jobs and runs."""
        try:
            return QueueSnapshot(self.watcher.history())
        except VelaturaError as error:
            return QueueSnapshot(self.watcher.history(rows=False), error)

    def machines(self) -> tuple[Machine, ...]:
        """The machines of the cluster that serves the queue; none without one. VelaturaError if it is lost."""
        seen = read_seen(self.store.runs)
        if seen is None:
            return ()
        if seen.problem:
            raise VelaturaError(seen.problem)
        views = [view for view in self.jobs() if view.job.phase in ("claimed", "running")]
        busy = {device: view for view in views for device in view.job.device.split(AND)}
        return tuple(
            Machine(
                node.name,
                {device.partition("@")[0]: busy.get(device) for device in node.devices},
                node.problem,
            )
            for node in seen.nodes
        )

    def runs(self) -> list[View]:
        """All runs: active, then waiting, then the rest, newest first."""
        return self.look().runs

    def small_jobs(self) -> list[View]:
        """Other jobs that use the computer or wait for it."""
        return self.look().small

    def jobs(self) -> Sequence[View]:
        """All jobs with a row; empty if the rows are unreadable, see `problem`."""
        try:
            return self.watcher.views()
        except VelaturaError:
            return ()

    def problem(self) -> VelaturaError | None:
        """Why the rows are unreadable; None if they are readable."""
        return self.look().problem

    def repair(self) -> Repair:
        """Repair a damaged queue."""
        return repair(self.store)

    def run(self, name: str) -> View | None:
        """The run of this untrusted name; None if there is none."""
        if not name or len(name.encode()) > LONGEST_NAME or Path(name).name != name or "\\" in name:
            return None
        try:
            return self.watcher.view_of(name)
        except VelaturaError:  # the bar of every page shows why
            return self.watcher.view_of(name, rows=False)

    def find(self, name: str) -> View:
        """The run of this untrusted name; VelaturaError if there is none."""
        view = self.run(name)
        if view is None:
            raise VelaturaError("the run {name} no longer exists", name=name[:LONGEST_NAME])
        return view

    def number(self, name: str, *, actor: Actor) -> int:
        """The job number of a run, created if needed, or of a small job called `job:NUMBER`.

        VelaturaError if there is no such run, or if it has no job and the actor may not change it.
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
        """The public folder of a run; its name is unguessable and unique."""
        return self.public_of(view.job.folder)

    def public_of(self, folder: Path) -> Path:
        """The public folder of another folder."""
        public = self.paths.public / self.public_name(folder)
        public.mkdir(mode=0o700, exist_ok=True)
        return public

    def public_name(self, folder: Path, name: str = "") -> str:
        """The name of a folder's public folder; `name` is that of a folder in the trash."""
        inode = folder.stat().st_ino if folder.is_dir() else 0  # runs without a folder have pages, too
        key = f"{name or folder.name}|{inode}".encode()
        return hashlib.blake2b(key, key=self._secret, digest_size=16).hexdigest()

    def withdraw(self, folder: Path) -> None:
        """Delete a public folder's downloads; pictures for pages stay."""
        for offered in self.public_of(folder).iterdir():
            if offered.is_dir():
                shutil.rmtree(offered, ignore_errors=True)

    def delete(self, number: int, *, actor: Actor) -> TrashItem | None:
        """Move a run to the trash, or delete a small job, with its public files."""
        folder = self.store.job(number).folder
        public = self.public_of(folder) if folder.is_dir() else None
        thrown = actions.delete(self.store, number, actor=actor)
        if public is not None:
            shutil.rmtree(public, ignore_errors=True)
        return thrown

    def activity(self) -> Activity:
        """The computer's current activity."""
        return self.look().activity


def share(view: View) -> float:
    """Progress of a job, 0 to 1."""
    summary = view.summary
    if view.state == State.FINISHED:
        return 1.0
    if view.job.kind != TRAIN:
        return summary.share[0] / summary.share[1] if summary.share[1] else 0.0
    if view.state in ENDED and view.state != State.PAUSED:  # an ended job is not in progress
        return min(1.0, summary.step / summary.steps) if summary.steps else 0.0
    return summary.reached
