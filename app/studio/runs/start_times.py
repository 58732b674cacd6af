"""When a waiting run starts, as far as the runs before it have been measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from app.jobs.processes.devices import Wish
from app.jobs.states import ENDED, State
from app.jobs.store import ESTIMATE, TRAIN
from app.jobs.view import View
from app.studio.paths import Paths
from app.studio.runs.estimates import Measured
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run


class StartTimes:
    """When waiting runs start, as the queue is at one moment; worked out as far down the queue as it is asked for."""

    def __init__(self, paths: Paths, jobs: Callable[[], Sequence[View]]) -> None:
        """`jobs` gives the views of all jobs; it is asked for a run that waits, and once."""
        self._paths, self._jobs = paths, jobs
        self._known: dict[int, float | None] = {}
        self._ahead = self._look_ahead()

    def seconds_until(self, view: View) -> float | None:
        """Seconds until a waiting run starts; None if the time of a run before it is not known, or several run at
        once."""
        if view.state != State.QUEUED:
            return None
        while view.job.id not in self._known:
            number, seconds = next(self._ahead, (view.job.id, None))
            self._known[number] = seconds
        return self._known[view.job.id]

    def _look_ahead(self) -> Iterator[tuple[int, float | None]]:
        """Waiting jobs in the queue's order, and the seconds until each starts; ends where that is not known."""
        views, measured = self._jobs(), Measured(self._paths)
        running = [each for each in views if each.state not in (*ENDED, State.QUEUED) and each.job.kind != ESTIMATE]
        waiting = sorted((each for each in views if each.state == State.QUEUED), key=lambda each: each.place)
        if len(running) > 1:
            return
        left = [each.summary.seconds_left for each in running]
        for place, view in enumerate(waiting):
            known = [seconds for seconds in left if seconds is not None]
            if len(known) < len(left) or (place and _device(view) != _device(waiting[place - 1])):
                return
            yield view.job.id, sum(known) if left else None
            if view.job.kind == TRAIN:
                left.append(_duration(view, measured))


def _device(view: View) -> str:
    return Wish.parse(view.job.wants).device


def _duration(view: View, measured: Measured) -> float | None:
    """Seconds that a waiting run will take: what it has left, or what was measured of its settings, or of others on the
    same base."""
    if view.summary.seconds_left is not None:
        return view.summary.seconds_left
    run = Run(view.job.folder)
    try:
        config = _config(run.folder, (run.folder / "config.toml").stat().st_mtime_ns)
        pictures = sum(1 for _ in run.dataset.glob("*.png"))
    except (OSError, VelaturaError):
        return None
    return measured.seconds(config, pictures)


@lru_cache(200)
def _config(run: Path, stamp: int) -> Config:
    """A run's config, read once for each `stamp` of it: a page asks every few seconds."""
    return Run(run).config()
