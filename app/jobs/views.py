"""The queue for display: every job with its state, sentence, place and allowed actions."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import is_
from pathlib import Path

from app.jobs.cluster.nodes import read_seen
from app.jobs.events.follow import Follower
from app.jobs.events.summary import Summary
from app.jobs.job import Job
from app.jobs.processes.devices import AND, AUTO, Offer, Wish, fits, is_remote
from app.jobs.processes.process import Identity
from app.jobs.states import ENDED, State, is_alive, silence
from app.jobs.store import ESTIMATE, HERE, TRAIN, Store
from app.jobs.view import Probe, View, view_of
from trainers.runs.event_lines import is_text
from trainers.runs.run import is_run

SMALL_JOB = 20.0
"""Seconds that a picture, an estimate or captions are taken to need; runs are what one waits for."""


@dataclass(frozen=True)
class Snapshot:
    """What a look at all jobs has found, and what is shown of it."""

    begun: float = 0.0
    """When the look began, by the clock that nobody sets."""
    looks: tuple[Probe, ...] = ()
    made: Mapping[int, View] = field(default_factory=dict)
    """The views by what they were made from."""
    views: tuple[View, ...] = ()


class Watcher:
    """Follows each job's events once, whoever looks how often; safe to use from many threads.

    Each look sees what is there, and rebuilds only what has changed; where nothing has, its answer is the same object
    as before. All who ask while somebody looks share the next look.
    """

    def __init__(self, store: Store):
        self.store = store
        self._lock = threading.Lock()
        self._followed: dict[tuple[int, Path], tuple[Follower, Probe]] = {}
        self._rows: tuple[tuple[int, ...], list[Job]] = (), []
        self._shown: dict[tuple[bool, bool], Snapshot] = {}
        self._offer: Offer | None = None

    def views(self) -> tuple[View, ...]:
        """Every job: those that run, then those in the queue, then the others, newest first."""
        return self._together(rows=True, bare=False)

    def history(self, rows: bool = True) -> tuple[View, ...]:
        """Every job, and every run that was made without the queue, in the order of `views`.

        Without `rows`, as where these cannot be read, what the folders alone say of every run.
        """
        return self._together(rows, bare=True)

    def view(self, number: int) -> View:
        """One job; VelaturaError if there is none with this number."""
        job = self.store.job(number)
        if job.phase == "waiting":  # its place and its wait are the others' matter, too
            for view in self.views():
                if view.job.id == number:
                    return view
        with self._lock:
            return view_of(self._look(job), 0, None)

    def view_alone(self, number: int) -> View:
        """The same without looking at any other job, so that it does not say when the job can start."""
        job = self.store.job(number)
        line = [other.id for other in self.store.line()] if job.phase == "waiting" else []
        with self._lock:
            return view_of(self._look(job), line.index(number) + 1 if number in line else 0, None)

    def view_of(self, name: str, rows: bool = True) -> View | None:
        """The run with this name among the runs, whether it has a job or not; None if there is none."""
        folder = self.store.runs / name
        if folder.parent != self.store.runs or name.startswith(".") or not is_text(name):
            return None
        job = self.store.job_in(folder) if rows else None
        if job is not None:
            return self.view(job.id)
        if not is_run(folder):
            return None
        with self._lock:
            return view_of(self._look(_without_row(folder)), 0, None)

    # ---------------------------------------------------------------- within
    def _together(self, rows: bool, bare: bool) -> tuple[View, ...]:
        asked = time.monotonic()
        with self._lock:
            shown = self._shown.get((rows, bare), Snapshot())
            if shown.begun <= asked:  # else somebody has looked while this one waited
                shown = self._shown[rows, bare] = self._look_at_all(rows, bare, shown)
            return shown.views

    def _look_at_all(self, rows: bool, bare: bool, before: Snapshot) -> Snapshot:
        begun = time.monotonic()
        self._offer = self._offered()
        jobs = self._jobs() if rows else []
        looks = [self._look(job) for job in jobs]
        looks += self._bare({job.folder for job in jobs}) if bare else []
        seen = {(look.job.id, look.job.folder) for look in looks}
        for key in [key for key in self._followed if key not in seen and (rows if key[0] else bare)]:
            del self._followed[key]
        if len(looks) == len(before.looks) and all(map(is_, looks, before.looks)):
            return replace(before, begun=begun)
        made = _views(looks, before)
        views = tuple(made.values())
        return Snapshot(begun, tuple(looks), made, tuple(sorted(views, key=_turn)) if bare else views)

    def _jobs(self) -> list[Job]:
        """Every row, read again where one has changed."""
        if not self.store.exists():
            return []
        revision = self.store.revision()
        if revision != self._rows[0]:
            self._rows = revision, self.store.jobs()
        return self._rows[1]

    def _is_unserved(self, job: Job) -> bool:
        if job.phase != "waiting" or self._offer is None:
            return False
        return self._offer.choose(job.wants, frozenset(), job.kind in HERE) is None

    def _offered(self) -> Offer | None:
        """What a cluster and its head offer; None without a cluster, where every job gets some device."""
        seen = read_seen(self.store.runs)
        if seen is None or not self.store.exists():
            return None
        devices = (device for offered in self.store.workers().values() for device in offered)
        return seen.offer(sorted({device for device in devices if not is_remote(device)}))

    def _bare(self, known: set[Path]) -> list[Probe]:
        """What there is to see of every run that has no row."""
        found: list[Probe] = []
        for folder in self.store.runs.iterdir() if self.store.runs.is_dir() else ():
            if folder not in known and not folder.name.startswith(".") and is_text(folder.name):
                with suppress(OSError):  # it has just gone, or is not ours to look at
                    found += [self._look(_without_row(folder))] if is_run(folder) else []
        return found

    def _look(self, job: Job) -> Probe:
        """What there is to see of a job; what was seen last where that is the same."""
        key = (job.id, job.folder)
        follower, before = self._followed.get(key) or (Follower(job.folder), None)
        alive = is_alive(job)  # and only then what it has said: a last word comes before the end
        summary = (before.summary if before is not None else Summary()).followed(follower)
        silent = silence(job) if alive else 0.0
        look = Probe(job, alive, summary, silent, not job.folder.is_dir(), self._is_unserved(job))
        if before is not None and look == before:
            look = before
        self._followed[key] = follower, look
        return look


def _views(looks: Sequence[Probe], before: Snapshot) -> dict[int, View]:
    """What is shown of each look, by the look itself; the same as before where nothing in it has changed."""
    line = [look.job for look in looks if look.job.phase == "waiting"]
    places = {job.id: place for place, job in enumerate(line, 1)}
    # Small jobs go first and take seconds, so that runs are counted without them.
    turns = places | {job.id: turn for turn, job in enumerate((job for job in line if job.kind == TRAIN), 1)}
    waits = _waits(looks)
    made: dict[int, View] = {}
    for look in looks:
        view, place = before.made.get(id(look)), places.get(look.job.id, 0)
        if view is None or view.place or place:
            now = view_of(look, place, waits.get(look.job.id), turns.get(look.job.id, 0))
            view = now if now != view else view
        made[id(look)] = view
    return made


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
    return (2 if ended else 0), -max(view.job.begun, view.job.added, view.summary.time if ended else 0)


def _waits(looks: Sequence[Probe]) -> dict[int, float]:
    """Seconds until each waiting job can start, by number, as far as is known: when everything before it is done on a
    device that it may have."""
    free: list[tuple[str, float | None]] = [
        (look.job.device, 0.0 if look.job.kind == ESTIMATE else look.summary.seconds_left)  # it lets others go first
        for look in looks
        if look.job.phase == "running" and look.alive
    ]
    waits: dict[int, float] = {}
    for look in looks if free else ():
        if look.job.phase != "waiting":
            continue
        wants = Wish.parse(look.job.wants).device
        places = [
            place
            for place, (devices, _) in enumerate(free)
            if any(wants == AUTO or fits(wants, device, ()) for device in devices.split(AND))
        ]
        starts = {place: start for place in places if (start := free[place][1]) is not None}
        if not starts or len(starts) < len(places):  # on one of them it may start at any time
            for place in places:
                free[place] = free[place][0], None
            continue
        place = min(starts, key=starts.__getitem__)
        waits[look.job.id] = starts[place]
        duration = look.summary.duration if look.job.kind == TRAIN else SMALL_JOB
        free[place] = free[place][0], None if duration is None else starts[place] + duration
    return waits
