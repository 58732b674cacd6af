"""Sessions of which nothing is kept: to measure a run, or to try it out."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.config.config import Config
from trainers.distributed.launch import Work, together
from trainers.errors import VelaturaError
from trainers.planning.plan import plan_memory
from trainers.process.threads import passing_threads
from trainers.runs.event_lines import Event
from trainers.runs.events import Listener, Recorder
from trainers.runs.run import Run
from trainers.sampling.sample import draw, evaluating
from trainers.training.loop import take_steps
from trainers.training.opening import open_dataset, open_first
from trainers.training.prepare import fill_folder
from trainers.training.prior import open_prior
from trainers.training.session import Session

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "velatura-"
"""The beginning of the names of temporary run folders."""
DENOISING_STEPS, SIDE = 12, 768
"""At most these of a trial's sample, which is to come soon."""


@dataclass(frozen=True)
class Opened:
    """A session in a temporary folder."""

    session: Session
    filling: float
    """Seconds to prepare the images."""
    reading: float
    """Seconds to read the base."""


@contextmanager
def open_briefly(
    config: Config, listener: Callable[[Run, Event], None], folder: Path | None = None
) -> Iterator[Opened]:
    """A session in a temporary run folder, in `folder` or the system's; `listener` receives each event."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as place, passing_threads(config.train.devices):
        run = Run(Path(place))
        record = Recorder(run.folder, partial(listener, run))
        began = time.monotonic()
        fill_folder(run, config, record)
        config = plan_memory(config, lambda message: record("note", message=message))
        opening = time.monotonic()
        with together(config) as join:
            session = open_first(run, config, record, join)
            try:
                with session.devices.explained(run, record):
                    yield Opened(session, opening - began, time.monotonic() - opening)
            finally:
                session.accelerator.end_training()


def no_samples(step: int) -> None:
    """Draws no samples before a step."""


def try_out(config: Config, seconds: float, least: int, listener: Listener, folder: Path | None = None) -> Image:
    """Train with these settings for at most so many seconds, and draw the first sample; nothing is kept.

    VelaturaError if fewer than `least` steps were taken.
    """
    times = list[float]()

    def note(run: Run, event: Event) -> None:
        if event["type"] in ("step", "skipped"):
            times.append(time.monotonic())
            if times[-1] - times[0] >= seconds:
                run.ask_to_stop("cancel")
        listener(event)

    with open_briefly(config, note, folder) as opened:
        session = opened.session
        dataset, plan = open_dataset(session)
        session.devices.broadcast_object(Work(str(session.run.folder.absolute()), resume=False))
        progress = take_steps(session, dataset, False, no_samples, open_prior(session, dataset))
        session.devices.leave()
        if progress.step < least:
            raise VelaturaError(
                "only {steps} steps in {seconds:g} s show nothing yet", steps=progress.step, seconds=seconds
            )
        params = plan.params
        first = replace(
            params,
            prompts=params.prompts[:1],
            seeds=params.seeds[:1],
            steps=min(params.steps, DENOISING_STEPS),
            size=(min(params.size[0], SIDE), min(params.size[1], SIDE)),
        )
        with session.as_exported(), evaluating(session.model):
            (picture,) = draw(session.model, first)
            return picture
