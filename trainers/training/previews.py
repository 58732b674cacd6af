"""A run's samples: before the first step, during training, and from the exported file."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainers.atomic_files import whole_file
from trainers.composition.apply import apply_styles
from trainers.config.config import Config
from trainers.config.sections import Base
from trainers.data.captions import full_caption
from trainers.data.dataset import Dataset
from trainers.data.decode import UnreadableError, flatten, open_image
from trainers.formats.embedding import embedding_of
from trainers.formats.read import read_style
from trainers.models.load import load_model
from trainers.models.model import Model
from trainers.sampling.grid import make_grid
from trainers.sampling.sample import OnStep, SamplingParams, draw, largest_difference, mean_difference
from trainers.training.loop import Session

if TYPE_CHECKING:
    from PIL.Image import Image


ON_WHOLE_BASE = (
    "the final pictures use the file on the unquantised base, as users of the style will; pictures on the base in {} "
    "that was trained on differ by {:.1f} of 255 on average"
)
NO_ROOM = (
    "the unquantised base does not fit into this device's memory, so the final pictures use the file on the base in "
    "{}; elsewhere they will differ slightly"
)


@dataclass(frozen=True)
class Finals:
    """The final samples: the before/after grid, and the difference between live adapter and file (0–255).

    The difference is None if the live adapter used a quantised base and the file the unquantised one.
    """

    grid: Path
    difference: int | None


def preview_params(config: Config, dataset: Dataset, side: int) -> SamplingParams:
    """The run's sample prompts and seeds at `side` pixels; without prompts, four captions."""
    captions = dict.fromkeys(
        full_caption(item.caption, config.data, config.tokens.word) or config.name for item in dataset.items
    )
    settings = config.sample
    return SamplingParams(
        prompts=settings.prompts or tuple(captions)[:4],
        seeds=settings.seeds,
        negative=settings.negative,
        steps=settings.steps,
        guidance=settings.guidance,
        size=(side, side),
        sampler=settings.sampler,
        clip_skip=config.base.clip_skip,
        chunks=config.data.chunks,
    )


def draw_previews(session: Session, params: SamplingParams, step: int) -> list[Image]:
    """Generate samples with the live adapter into the run folder."""
    session.network.holder.context = params.context
    with evaluating(session.model):
        pictures = list(
            _announced(session, draw(session.model, params, showing_life(session)), len(params.pictures), step)
        )
    _keep(pictures, session.run.samples / f"step-{step:08d}")
    session.record("sample", step=step, pictures=len(pictures))
    return pictures


def draw_final(session: Session, params: SamplingParams, style: Path, step: int) -> Finals:
    """Generate with the live adapter, then with the exported file on a freshly loaded, unquantised base, and compare.

    The training base is freed in between, so that only one is in memory.
    """
    live, trained_on = draw_previews(session, params, step), session.config.base
    after, same = _draw_file(session, params, style, step)
    folder = session.run.samples / "final"
    _keep(after, folder)
    difference = largest_difference(live, after) if same else None
    if not same:
        session.record("note", message=ON_WHOLE_BASE.format(trained_on.storage.upper(), mean_difference(live, after)))
    before = _before(session, params)
    rows = [("before", before), (f"after {step} steps", after)] if before else [(f"after {step} steps", after)]
    heads = [prompt if len(params.seeds) == 1 else f"{prompt} · {seed}" for prompt, seed in params.pictures]
    grid = session.run.samples / "before-after.png"
    with whole_file(grid) as building:
        make_grid(rows, heads, session.config.name).save(building)
    session.record("final", step=step, difference=difference, pictures=len(after))
    return Finals(grid, difference)


def showing_life(session: Session) -> OnStep:
    """Reports progress after each denoising step, so that the run does not count as hanging."""
    return lambda _picture, _step: session.record.show_life()


def _announced(session: Session, pictures: Iterator[Image], total: int, step: int) -> Iterator[Image]:
    """Yields pictures, with an event before each: on a large base one takes a while."""
    for number in range(1, total + 1):
        session.record("drawing", step=step, picture=number, pictures=total)
        yield next(pictures)


def _draw_file(session: Session, params: SamplingParams, style: Path, step: int) -> tuple[list[Image], bool]:
    """The file's pictures on a freshly loaded base, and whether that has the storage of the training base."""
    trained_on, model = session.config.base, session.model
    facts = (model.dtype, model.device, model.sha256)
    del model
    session.release()

    def draw_on(settings: Base) -> list[Image]:
        gc.collect()
        fresh = load_model(settings, *facts)
        files = [(read_style(path), 1.0) for path in (style, embedding_of(style)) if path is not None]
        network = apply_styles(fresh.parts, fresh.family.name, files, fresh.words)
        network.holder.context = params.context
        return list(_announced(session, draw(fresh, params, showing_life(session)), len(params.pictures), step))

    try:
        return draw_on(trained_on.whole()), trained_on.storage == "full"
    except torch.OutOfMemoryError:
        if trained_on.storage == "full":
            raise
        session.record("warning", message=NO_ROOM.format(trained_on.storage.upper()))
    return draw_on(trained_on), True


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The networks in evaluation mode, temporarily (gradient checkpointing needs training mode)."""
    modes = [(net, net.training) for net in (model.unet, *model.text_encoders)]
    for net, _ in modes:
        net.eval()
    try:
        yield
    finally:
        for net, mode in modes:
            net.train(mode)


def _keep(pictures: list[Image], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        with whole_file(folder / f"{number:02d}.png") as building:
            picture.save(building)


def _before(session: Session, params: SamplingParams) -> list[Image]:
    """The samples from before training; none if missing or damaged, with a note."""
    try:
        return read_pictures(session.run.samples / "step-00000000", params)
    except UnreadableError as error:
        session.record(
            "warning", message=f"the pictures from before training are not shown next to the final ones: {error}"
        )
        return []


def read_pictures(folder: Path, params: SamplingParams) -> list[Image]:
    """The pictures drawn with these parameters, from a run folder. Raises UnreadableError."""
    width, height = params.size
    places = (folder / f"{number:02d}.png" for number in range(len(params.pictures)))
    return [flatten(open_image(place, keep_pixels=width * height)) for place in places if place.is_file()]
