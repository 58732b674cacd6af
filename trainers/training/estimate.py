"""Estimate of a run by measurement: a few real steps, one real picture, one real file.

It uses the run's base, images and settings in a temporary folder. One-off costs (loading the base, preparing images)
are measured once; the rest is extrapolated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import torch

from trainers.config.config import Config
from trainers.data.dataset import CENTRE, Dataset, Draw, Item, pixels
from trainers.distributed.launch import Work
from trainers.memory import free_memory, peak_memory
from trainers.models.images import encode_images
from trainers.planning.forecast import Forecast
from trainers.planning.plan import card_lines
from trainers.runs.event_lines import Event
from trainers.runs.events import Listener
from trainers.runs.run import Run
from trainers.sampling.sample import SamplingParams, draw, evaluating
from trainers.training.briefly import Opened, no_samples, open_briefly
from trainers.training.export import export_style
from trainers.training.loop import take_steps
from trainers.training.opening import open_dataset
from trainers.training.prior import class_counts, class_params, one_class_image
from trainers.training.session import Session

STEPS = 5
"""Number of real steps; the first is a warm-up and does not count."""
PICTURE_STEPS = 4
"""Maximum denoising steps of the measured picture."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a run on this machine."""

    seconds: float
    """Seconds from start to style file, with all samples."""
    seconds_a_step: float
    seconds_a_picture: float
    pictures: int
    memory: int
    """Peak bytes, on the graphics card or in main memory."""
    free: int
    """Free bytes there before."""
    file: int
    """Bytes of the style file."""
    at_most: bool
    """Whether `file` is an upper bound (methods that adapt their rank)."""
    parameters: int
    """Number of trained parameters."""
    steps: int
    measured: int
    """Number of measured steps."""
    device: str
    cards: tuple[str, ...] = ()
    """The sizes of graphics cards that the run fits, and how, as computed; only for transformers."""


def measure(config: Config, listener: Listener | None = None, steps: int = STEPS) -> Estimate:
    """Measure a run; `listener` receives each real step. VelaturaError if it cannot be trained."""
    ends = list[float]()

    def note(run: Run, event: Event) -> None:
        if event["type"] in ("step", "skipped"):
            ends.append(time.monotonic())
            if len(ends) >= steps:
                run.ask_to_stop("cancel")
        if listener is not None:
            listener(event)

    with open_briefly(config, note) as opened:
        return replace(_measured(opened, ends), cards=card_lines(config))


def _measured(opened: Opened, ends: list[float]) -> Estimate:
    session, filling, reading = opened.session, opened.filling, opened.reading
    config, device = session.config, session.accelerator.device
    free, began = free_memory(device), time.monotonic()
    dataset, plan = open_dataset(session)
    looking = time.monotonic() - began
    # One image of the largest size: its latents are cached from the second step on, as in most of a run.
    alone = dataset.largest_alone()
    largest = alone.items[0]
    session.devices.broadcast_object(Work(str(session.run.folder.absolute()), resume=False, measured=True))
    began = time.monotonic()
    progress = take_steps(session, alone, False, no_samples, one_class_image(config, largest))
    session.devices.leave()
    step = median([after - before for before, after in pairwise(ends)] or [ends[0] - began])
    for method in session.network.methods:
        method.hooks.grow_to_max(session.network)
    began = time.monotonic()
    style = export_style(session, dataset, progress, time.time())
    exporting = time.monotonic() - began
    forecast = Forecast(plan, session.loading)
    forecast.note_step(step)
    forecast.note_file(exporting)
    pictures, drawing = _drawing(session, dataset, forecast, largest)
    encoding = _encodings(config, dataset) * _seconds_to_encode(session, largest)
    once = filling + 2 * reading + looking + encoding + (1 + plan.sampled_after(0)) * exporting
    return Estimate(
        seconds=round(once + config.train.steps * step + drawing, 2),
        seconds_a_step=round(step, 4),
        seconds_a_picture=round(drawing / pictures, 4),
        pictures=pictures,
        memory=peak_memory(device) * (session.devices.count if device.type == "cpu" else 1),
        free=free,
        file=style.stat().st_size,
        at_most=any(m.about.ranks is not None and m.about.ranks.moves for m in session.network.methods),
        parameters=sum(p.numel() for p in session.network.parameters()),
        steps=config.train.steps,
        measured=len(ends),
        device=str(device),
    )


def _drawing(session: Session, dataset: Dataset, forecast: Forecast, largest: Item) -> tuple[int, float]:
    """Number of pictures (samples and class images), and seconds for all of them."""
    classes = sum(class_counts(session.config, dataset).values())
    seconds_a_sample = _seconds_a_picture(session, forecast.plan.params)
    forecast.note_picture(seconds_a_sample)
    forecast.spent = 0.0
    samples = forecast.count_all()
    seconds = samples * seconds_a_sample
    if classes:
        seconds += classes * _seconds_a_picture(session, class_params(session.config, largest.bucket.shape))
    return samples + classes, seconds


def _seconds_a_picture(session: Session, params: SamplingParams) -> float:
    steps = min(params.steps, PICTURE_STEPS)
    single, ends = replace(params, prompts=params.prompts[:1], seeds=params.seeds[:1], steps=steps), list[float]()

    def note(picture: int, step: int) -> None:
        ends.append(time.monotonic())

    began = time.monotonic()
    with evaluating(session.model):
        list(draw(session.model, single, note))
    total = time.monotonic() - began
    seconds = median([after - before for before, after in pairwise(ends)] or [total])
    return total + (params.steps - steps) * seconds


def _encodings(config: Config, dataset: Dataset) -> int:
    """Number of images encoded for the cache; without a cache, encoding is part of every step."""
    if not config.data.cache or any(settings.crop == "random" for settings in config.data.of_folders):
        return 0
    train, views = config.train, 1 + any(settings.flip for settings in config.data.of_folders)
    drawn = train.steps * train.batch_size * train.accumulation
    classes = sum(class_counts(config, dataset).values())
    return min(len(dataset.items) * views, drawn) + min(classes * views, drawn)


@torch.no_grad()
def _seconds_to_encode(session: Session, item: Item) -> float:
    began = time.monotonic()
    encode_images(session.model, pixels(item, Draw(0, False, CENTRE, ""))[None])
    return time.monotonic() - began
