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
from app.jobs.database.order import BACKGROUND
from app.jobs.events.follow import Follower
from app.jobs.events.summary import Summary
from app.jobs.job import Job
from app.jobs.processes.devices import AND, AUTO, DeviceOffer, DeviceRequest, fits, is_remote
from app.jobs.processes.process import Identity
from app.jobs.states import ENDED, State, is_alive, silence
from app.jobs.store import HERE, TRAIN, Store
from app.jobs.view import Probe, View, view_of
from trainers.runs.event_lines import is_text
from trainers.runs.run import is_run

SMALL_JOB = 20.0
"""Assumed seconds of a picture, an estimate or captions."""


@dataclass(frozen=True)
class Snapshot:
    """The probes of all jobs and their views."""

    begun: float = 0.0
    """Monotonic time at which it began."""
    probes: tuple[Probe, ...] = ()
    view_by_probe: Mapping[int, View] = field(default_factory=dict)
    """Views by the `id()` of their probes."""
    views: tuple[View, ...] = ()


class Watcher:
    """Reads each job's events once for any number of callers; thread-safe.

    Each call probes every job and rebuilds only views that have changed; if none has, it returns the same object as
    before. Calls during a probe share the next one.
    """

    def __init__(self, store: Store):
        self.store = store
        self._lock = threading.Lock()
        self._followed: dict[tuple[int, Path], tuple[Follower, Probe]] = {}
        self._rows: tuple[tuple[int, ...], list[Job]] = (), []
        self._shown: dict[tuple[bool, bool], Snapshot] = {}
        self._offer: DeviceOffer | None = None

    def views(self) -> tuple[View, ...]:
        """Every job: running ones, then waiting ones in order, then ended ones, newest first."""
        return self._together(rows=True, bare=False)

    def history(self, rows: bool = True) -> tuple[View, ...]:
        """Every job and every run without a job, in the order of `views`.

        Without `rows`, if these cannot be read, every run by its folder alone.
        """
        return self._together(rows, bare=True)

    def view(self, number: int) -> View:
        """One job; VelaturaError if there is none with this number."""
        job = self.store.job(number)
        if job.phase == "waiting":  # its place and wait depend on the others
            for view in self.views():
                if view.job.id == number:
                    return view
        with self._lock:
            return view_of(self._probe(job), 0, None)

    def view_alone(self, number: int) -> View:
        """One job without its expected start, which needs no other job's events."""
        job = self.store.job(number)
        line = [other.id for other in self.store.line()] if job.phase == "waiting" else []
        with self._lock:
            return view_of(self._probe(job), line.index(number) + 1 if number in line else 0, None)

    def view_of(self, name: str, rows: bool = True) -> View | None:
        """The run of this name, with or without a job; None if it does not exist."""
        folder = self.store.runs / name
        if folder.parent != self.store.runs or name.startswith(".") or not is_text(name):
            return None
        job = self.store.job_in(folder) if rows else None
        if job is not None:
            return self.view(job.id)
        if not is_run(folder):
            return None
        with self._lock:
            return view_of(self._probe(_without_row(folder)), 0, None)

    # ---------------------------------------------------------------- within
    def _together(self, rows: bool, bare: bool) -> tuple[View, ...]:
        asked = time.monotonic()
        with self._lock:
            shown = self._shown.get((rows, bare), Snapshot())
            if shown.begun <= asked:  # else another thread has probed meanwhile
                shown = self._shown[rows, bare] = self._probe_all(rows, bare, shown)
            return shown.views

    def _probe_all(self, rows: bool, bare: bool, before: Snapshot) -> Snapshot:
        begun = time.monotonic()
        self._offer = self._offered()
        jobs = self._jobs() if rows else []
        probes = [self._probe(job) for job in jobs]
        probes += self._bare({job.folder for job in jobs}) if bare else []
        seen = {(probe.job.id, probe.job.folder) for probe in probes}
        for key in [key for key in self._followed if key not in seen and (rows if key[0] else bare)]:
            del self._followed[key]
        if len(probes) == len(before.probes) and all(map(is_, probes, before.probes)):
            return replace(before, begun=begun)
        view_by_probe = _views(probes, before)
        views = tuple(view_by_probe.values())
        return Snapshot(begun, tuple(probes), view_by_probe, tuple(sorted(views, key=_turn)) if bare else views)

    def _jobs(self) -> list[Job]:
        """Every row, read again after a change."""
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

    def _offered(self) -> DeviceOffer | None:
        """The devices of a cluster and its head; None without a cluster, where every job gets a device."""
        seen = read_seen(self.store.runs)
        if seen is None or not self.store.exists():
            return None
        devices = (device for offered in self.store.workers().values() for device in offered)
        return seen.offer(sorted({device for device in devices if not is_remote(device)}))

    def _bare(self, known: set[Path]) -> list[Probe]:
        """Probes of every run without a row."""
        probes: list[Probe] = []
        for folder in self.store.runs.iterdir() if self.store.runs.is_dir() else ():
            if folder not in known and not folder.name.startswith(".") and is_text(folder.name):
                with suppress(OSError):  # it was deleted meanwhile, or is unreadable
                    probes += [self._probe(_without_row(folder))] if is_run(folder) else []
        return probes

    def _probe(self, job: Job) -> Probe:
        """The probe of a job; the previous object if nothing has changed."""
        key = (job.id, job.folder)
        follower, before = self._followed.get(key) or (Follower(job.folder), None)
        alive = is_alive(job)  # before its events: a process records its end before it exits
        summary = (before.summary if before is not None else Summary()).followed(follower)
        silent = silence(job) if alive else 0.0
        probe = Probe(job, alive, summary, silent, not job.folder.is_dir(), self._is_unserved(job))
        if before is not None and probe == before:
            probe = before
        self._followed[key] = follower, probe
        return probe


def _views(probes: Sequence[Probe], before: Snapshot) -> dict[int, View]:
    """The view of each probe, by its `id()`; the previous object if it is equal."""
    line = [probe.job for probe in probes if probe.job.phase == "waiting"]
    places = {job.id: place for place, job in enumerate(line, 1)}
    # Small jobs go first and take seconds, so that runs are counted without them.
    turns = places | {job.id: turn for turn, job in enumerate((job for job in line if job.kind == TRAIN), 1)}
    waits = _waits(probes)
    view_by_probe: dict[int, View] = {}
    for probe in probes:
        view, place = before.view_by_probe.get(id(probe)), places.get(probe.job.id, 0)
        if view is None or view.place or place:
            now = view_of(probe, place, waits.get(probe.job.id), turns.get(probe.job.id, 0))
            view = now if now != view else view
        view_by_probe[id(probe)] = view
    return view_by_probe


def _without_row(folder: Path) -> Job:
    """The ended job of a run without a row; its number is 0."""
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
    """Sort key: running, then waiting in order, then ended, newest first."""
    if view.state == State.QUEUED:
        return 1, view.place
    ended = view.state in ENDED
    return (2 if ended else 0), -max(view.job.begun, view.job.added, view.summary.time if ended else 0)


def _waits(probes: Sequence[Probe]) -> dict[int, float]:
    """Seconds until each waiting job can start, by number: when all jobs before it on its devices are done."""
    free: list[tuple[str, float | None]] = [
        (probe.job.device, 0.0 if probe.job.kind in BACKGROUND else probe.summary.seconds_left)  # it yields
        for probe in probes
        if probe.job.phase == "running" and probe.alive
    ]
    waits: dict[int, float] = {}
    for probe in probes if free else ():
        if probe.job.phase != "waiting":
            continue
        wants = DeviceRequest.parse(probe.job.wants).device
        places = [
            place
            for place, (devices, _) in enumerate(free)
            if any(wants == AUTO or fits(wants, device, ()) for device in devices.split(AND))
        ]
        starts = {place: start for place in places if (start := free[place][1]) is not None}
        if not starts or len(starts) < len(places):  # it may start at any time
            for place in places:
                free[place] = free[place][0], None
            continue
        place = min(starts, key=starts.__getitem__)
        waits[probe.job.id] = starts[place]
        duration = probe.summary.duration if probe.job.kind == TRAIN else SMALL_JOB
        free[place] = free[place][0], None if duration is None else starts[place] + duration
    return waits
