"""The queue as it is shown: every job with its state, its sentence, its place, and what one may do with it."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.jobs.devices import AUTO
from app.jobs.follow import Follower
from app.jobs.process import Identity
from app.jobs.states import ENDED, State, actions_for, describe, find_state, is_alive, silence
from app.jobs.store import TRAIN, Job, Store
from app.jobs.summary import Summary
from trainers.event_lines import is_text
from trainers.run import is_run

FELL_BACK = "The checkpoint of step {} was damaged, so it went on from step {}."


@dataclass(frozen=True)
class View:
    """One job as it is now."""

    job: Job
    state: State
    said: Summary
    place: int
    """In line, the first being 1; 0 where it does not wait."""
    line: str
    """A sentence, or nothing."""
    actions: tuple[str, ...]


class Watcher:
    """Follows each job's events once, whoever looks how often; safe to use from many threads."""

    def __init__(self, store: Store):
        self.store = store
        self._lock = threading.Lock()
        self._followed: dict[tuple[int, Path], tuple[Follower, Summary]] = {}

    def views(self) -> list[View]:
        """Every job: those that run, then those in line, then the others, newest first."""
        if not self.store.exists():
            return []
        jobs = self.store.jobs()
        seen = {job.id: self._look(job) for job in jobs}
        with self._lock:
            for key in [key for key in self._followed if key[0] and key[0] not in seen]:
                del self._followed[key]
        line = [job.id for job in jobs if job.phase == "waiting"]
        wait = _wait(jobs, {number: said for number, (alive, said) in seen.items() if alive})
        places = {number: place for place, number in enumerate(line, 1)}
        return [_view(job, *seen[job.id], places.get(job.id, 0), wait) for job in jobs]

    def view(self, number: int) -> View:
        """One job; VelaturaError where there is none with this number."""
        job = self.store.job(number)
        if job.phase == "waiting":  # its place and its wait are the others' matter, too
            for view in self.views():
                if view.job.id == number:
                    return view
        return _view(job, *self._look(job), 0, None)

    def history(self, rows: bool = True) -> list[View]:
        """Every job, and every run that was made without the queue, in the order of `views`.

        Without `rows`, as where these cannot be read, what the folders alone say of every run.
        """
        views = self.views() if rows else []
        known = {view.job.folder for view in views}
        folders = (path.parent for path in self.store.runs.glob("*/events.jsonl"))
        for folder in folders:
            if folder not in known and not folder.name.startswith(".") and is_text(folder.name):
                with suppress(OSError):  # it has just gone, or is not ours to look at
                    views += [self._bare(folder)] if is_run(folder) else []
        return sorted(views, key=_turn)

    def view_of(self, name: str, rows: bool = True) -> View | None:
        """The run with this name among the runs, whether it has a job or not; None where there is none."""
        folder = self.store.runs / name
        if folder.parent != self.store.runs or name.startswith(".") or not is_text(name):
            return None
        job = self.store.job_in(folder) if rows else None
        if job is not None:
            return self.view(job.id)
        return self._bare(folder) if is_run(folder) else None

    def _bare(self, folder: Path) -> View:
        job = _without_row(folder)
        return _view(job, *self._look(job), 0, None)

    def _look(self, job: Job) -> tuple[bool, Summary]:
        """Whether a job's process lives and what it has said, in this order: a last word comes before the end."""
        return is_alive(job), self.summary(job)

    def summary(self, job: Job) -> Summary:
        """What a job has said so far."""
        with self._lock:
            key = (job.id, job.folder)
            follower, summary = self._followed.get(key) or (Follower(job.folder), Summary())
            summary = summary.followed(follower)
            self._followed[key] = (follower, summary)
            return summary


def _without_row(folder: Path) -> Job:
    """A run that no queue knows as a job: one that has ended, whatever its process says; its number is 0."""
    return Job(
        id=0,
        kind=TRAIN,
        folder=folder,
        command=(),
        cwd=Path(),
        owner="",
        wants=AUTO,
        priority=0,
        position=0,
        phase="ended",
        requested="",
        device="",
        token="",
        process=Identity("", 0, 0.0),
        attempts=0,
        added=(folder / "config.toml").stat().st_mtime,
        begun=0.0,
        ended=0.0,
    )


def _turn(view: View) -> tuple[int, float]:
    """What runs first, then the line, then the rest, newest first."""
    if view.state == State.QUEUED:
        return 1, view.place
    ended = view.state in ENDED
    return (2 if ended else 0), -max(view.job.begun, view.job.added, view.said.time if ended else 0)


def _view(job: Job, alive: bool, said: Summary, place: int, wait: float | None) -> View:
    silent = silence(job) if alive else 0.0
    state = find_state(job, alive, said, silent > 0)
    line = describe(state, said, place, wait if place == 1 else None, job.restarts + job.low_memory, silent)
    if said.fallback[0] and state not in (State.QUEUED, State.FAILED):
        line = f"{line} {FELL_BACK.format(*said.fallback)}".strip()
    if not job.folder.is_dir():
        line = "Its folder is gone."
    elif said.unread:
        line = f"What it has said cannot be read: {said.unread}."
    return View(job, state, said, place, line, actions_for(job, state, said.saved))


def _wait(jobs: list[Job], said: dict[int, Summary]) -> float | None:
    """Seconds until the first in line can start, as far as is known: when the first device that it may have is free.

    `said` is what those say whose process lives.
    """
    first = next((job for job in jobs if job.phase == "waiting"), None)
    there = [job for job in jobs if job.phase == "running" and job.id in said]
    if first is None:
        return None
    fitting = [job for job in there if first.wants in (AUTO, job.device, job.device.partition(":")[0])]
    left = [said[job.id].seconds_left for job in fitting]
    known = [seconds for seconds in left if seconds is not None]
    return min(known) if known and len(known) == len(left) else None
