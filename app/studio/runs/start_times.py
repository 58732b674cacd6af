"""When a waiting run starts, as far as the runs before it have been measured."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.jobs.processes.devices import Wish
from app.jobs.states import ENDED, State
from app.jobs.store import TRAIN
from app.jobs.views import View
from app.studio.runs.costs import Measured
from app.studio.studio_queue import StudioQueue
from trainers.config.config import Config
from trainers.errors import VelaturaError
from trainers.runs.run import Run


def seconds_until_start(queue: StudioQueue, view: View) -> float | None:
    """Seconds until a waiting run starts; None if the time of a run before it is not known, or several run at once."""
    if view.state != State.QUEUED:
        return None
    views, measured = queue.jobs(), Measured(queue.paths)
    running = [each for each in views if each.state not in ENDED and each.state != State.QUEUED]
    before = [each for each in views if each.state == State.QUEUED and each.place < view.place]
    if len(running) > 1 or any(_device(each) != _device(view) for each in before):
        return None
    left = [each.summary.seconds_left for each in running]
    left += [_duration(each, measured) for each in before if each.job.kind == TRAIN]
    known = [seconds for seconds in left if seconds is not None]
    return sum(known) if left and len(known) == len(left) else None


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
