"""Expected start of waiting runs, from the times of the runs before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from app.jobs.database.order import BACKGROUND
from app.jobs.processes.devices import DeviceRequest
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN
from app.jobs.view import View
from app.studio.paths import Paths
from app.studio.runs.estimates import Measured
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run


class StartTimes:
    """Expected starts at one moment, computed as far down the queue as requested."""

    def __init__(self, paths: Paths, jobs: Callable[[], Sequence[View]]) -> None:
        """`jobs` returns the views of all jobs; it is called once, for the first waiting run."""
        self._paths, self._jobs = paths, jobs
        self._known: dict[int, float | None] = {}
        self._ahead = self._look_ahead()

    def seconds_until(self, view: View) -> float | None:
        """Seconds until a waiting run starts; None if a time before it is unknown, or several runs train at once."""
        if view.state != State.QUEUED:
            return None
        while view.job.id not in self._known:
            number, seconds = next(self._ahead, (view.job.id, None))
            self._known[number] = seconds
        return self._known[view.job.id]

    def _look_ahead(self) -> Iterator[tuple[int, float | None]]:
        """Waiting jobs in the queue's order and the seconds until each starts; ends at the first unknown time."""
        views, measured = self._jobs(), Measured(self._paths)
        running = [
            view for view in views if view.state not in (*ENDED, State.QUEUED) and view.job.kind not in BACKGROUND
        ]
        waiting = sorted((view for view in views if view.state == State.QUEUED), key=lambda view: view.place)
        if len(running) > 1:
            return
        left = [view.summary.seconds_left for view in running]
        for place, view in enumerate(waiting):
            known = [seconds for seconds in left if seconds is not None]
            if len(known) < len(left) or (place and _device(view) != _device(waiting[place - 1])):
                return
            yield view.job.id, sum(known) if left else None
            if view.job.kind == TRAIN:
                left.append(_duration(view, measured))


def _device(view: View) -> str:
    return DeviceRequest.parse(view.job.wants).device


def _duration(view: View, measured: Measured) -> float | None:
    """Seconds that a waiting run will take: those it has left, or a measurement of its settings or of its base."""
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
    """A run's config, cached by `stamp`, since pages request it every few seconds."""
    return Run(run).config()
