"""Image generation: fixed prompts and seeds during training, and on demand afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.adapters.context import ForwardContext
from trainers.composition.schedule import StyleSchedule
from trainers.config.limits import Sampler
from trainers.errors import check_argument
from trainers.models.model import Model
from trainers.models.samplers import keep_prediction, make_scheduler, spacing, step_of_call
from trainers.models.text import Conditioning
from trainers.randomness import generator
from trainers.sampling.denoise import denoise, has_two_passes
from trainers.sampling.rough import FIRST, OnRough, RoughPictures

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[int, int], None]
"""Called after each denoising step with the number of the picture and of the step, both from 1."""


@dataclass(frozen=True)
class SamplingParams:
    """Generation parameters: one picture per prompt and seed, `size` (width, height) in pixels."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (1,)
    negative: str = ""
    steps: int = 25
    guidance: float = 7.0
    size: tuple[int, int] = (512, 512)
    sampler: Sampler = "ddim"
    clip_skip: int = 1
    chunks: int = 1
    batch: int = 1
    """Batch size; larger is faster and needs more memory."""

    def __post_init__(self) -> None:
        texts, numbers = _are(str, self.prompts), _are(Integral, self.seeds)
        check_argument("prompts", self.prompts, texts, '("a lighthouse",)')
        check_argument("seeds", self.seeds, numbers, "(3,)")
        check_argument("size", self.size, _are(Integral, self.size) and len(self.size) == 2, "(512, 512)")
        check_argument("steps", self.steps, isinstance(self.steps, Integral) and self.steps > 0, "25")

    @property
    def pictures(self) -> list[tuple[str, int]]:
        """Prompt and seed of each picture, in order."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]


def _are(kind: type, values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(v, kind) for v in values)


@dataclass(frozen=True)
class Picture:
    """A picture to draw, with one of the batch's styles; None leaves the network unchanged."""

    prompt: str
    seed: int
    style: int | None = None


@torch.no_grad()
def draw(
    model: Model,
    params: SamplingParams,
    on_step: OnStep | None = None,
    styling: StyleSchedule | None = None,
    on_rough: OnRough | None = None,
) -> Iterator[Image]:
    """Generate pictures, one by one.

    Each is a function of its prompt, seed and style, independent of earlier pictures and, up to rounding, of its batch.

    Args:
        model: The base, with any styles applied.
        params: Prompts, seeds, steps, guidance and size.
        on_step: Called after each step.
        styling: How styles act; with several variants, the pictures of a prompt and seed follow one another.
        on_rough: Called from the third step on with small versions of the pictures, in a twentieth of the time.

    Yields:
        One RGB image per prompt, seed and variant.
    """
    check_argument("model", model, isinstance(model, Model), "load_model(…)")
    check_argument("params", params, isinstance(params, SamplingParams), 'SamplingParams(("a lighthouse",))')
    styling = styling or StyleSchedule()
    scheduler = make_scheduler(model.schedule, params.sampler, params.size[0] * params.size[1])
    wanted = [Picture(prompt, seed, style) for prompt, seed in params.pictures for style in styling.variants]
    texts = Texts(model, params, styling)
    most = max(1, params.batch // styling.copies)
    rough = None if on_rough is None else RoughPictures(model, on_rough)
    prediction = keep_prediction(scheduler, model.schedule) if rough else None

    def after_step(first: int, count: int, step: int) -> None:
        numbers = range(first + 1, first + count + 1)
        if on_step is not None:
            for number in numbers:
                on_step(number, step)
        if rough and prediction and FIRST <= step < params.steps:
            rough.show(numbers, prediction()[:: styling.copies])

    try:
        for first in range(0, len(wanted), most):
            batch = wanted[first : first + most]
            for latents in _draw_batch(scheduler, texts, batch, partial(after_step, first, len(batch))):
                yield to_image(decode(model, latents))
    finally:
        styling.set_step(0, ())


def _draw_batch(
    scheduler: Any, texts: Texts, pictures: Sequence[Picture], on_step: Callable[[int], None]
) -> tuple[Tensor, ...]:
    """Latents `(1, c, h, w)` of each picture of a batch, with one call of the network per step."""
    model, params, styling = texts.model, texts.params, texts.styling
    rows = [(picture, copy) for picture in pictures for copy in range(styling.copies)]
    width, height = params.size
    present: list[int | None] = []

    def text_of(call: int) -> Conditioning | None:
        """Set the styles for a call of the network; returns the rows' text if it has changed."""
        step = step_of_call(scheduler, call)
        styles = [styling.style_at(step, picture.style, copy) for picture, copy in rows]
        changed = styles != present
        text = texts.of_rows([picture.prompt for picture, _ in rows], styles) if changed else None
        bare = (True,) * len(rows) + (False,) * len(rows) if has_two_passes(model, params.guidance) else ()
        styling.set_step(step, styles, bare)
        present[:] = styles
        return text

    def after_call(call: int) -> None:
        step, calls = step_of_call(scheduler, call), len(scheduler.timesteps)
        if call + 1 == calls or step_of_call(scheduler, call + 1) > step:
            on_step(step + 1)

    latents = denoise(
        model,
        scheduler,
        spacing(model.schedule, params.sampler, params.steps),
        torch.cat([_initial_noise(model, picture.seed, height, width) for picture, _ in rows]),
        text_of,
        [generator(picture.seed, "sampler") for picture, _ in rows],
        params.guidance,
        after_call,
        partial(averaged, copies=styling.copies) if styling.copies > 1 else None,
    )
    return latents[:: styling.copies].split(1)


class Texts:
    """The prompts, each encoded under its style, since styles may change the encoders."""

    def __init__(self, model: Model, params: SamplingParams, styling: StyleSchedule) -> None:
        self.model, self.params, self.styling = model, params, styling
        self._known: dict[tuple[str, int | None], Conditioning] = {}

    def of_rows(self, prompts: Sequence[str], styles: Sequence[int | None]) -> Conditioning:
        """`(2n, …)`: the negative prompt under each row's style, then each row's prompt; with one pass only those."""
        pairs = [self._of(prompt, style) for prompt, style in zip(prompts, styles, strict=True)]
        sides = (0, 1) if has_two_passes(self.model, self.params.guidance) else (1,)
        return Conditioning.cat([pair.row(side) for side in sides for pair in pairs])

    def _of(self, prompt: str, style: int | None) -> Conditioning:
        """The negative prompt and a prompt under one style."""
        if (prompt, style) not in self._known:
            params = self.params
            self.styling.set_step(0, (style,))
            text = self.model.encode([params.negative, prompt], params.clip_skip, params.chunks)
            self._known[prompt, style] = text.to(self.model.device, self.model.dtype)
        return self._known[prompt, style]


def drawing_context(model: Model, params: SamplingParams) -> ForwardContext:
    """The context of a picture's forward passes; with two per step, the one without caption comes first."""
    return ForwardContext(uncaptioned=(True, False) if has_two_passes(model, params.guidance) else ())


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The networks in evaluation mode, temporarily (gradient checkpointing needs training mode)."""
    modes = [(net, net.training) for net in (model.denoiser, *model.text_encoders)]
    for net, _ in modes:
        net.eval()
    try:
        yield
    finally:
        for net, mode in modes:
            net.train(mode)


def averaged(prediction: Tensor, copies: int) -> Tensor:
    """Predictions `(m·copies, c, h, w)` with those of each group of neighbours averaged."""
    groups = prediction.unflatten(0, (-1, copies))  # (m, copies, c, h, w)
    return groups.mean(1, keepdim=True).expand_as(groups).flatten(0, 1)


def decode(model: Model, latents: Tensor) -> Tensor:
    """Latents `(1, c, h, w)` as pixels `(3, 8h, 8w)` in [−1, 1]."""
    from trainers.models.images import decode_latents

    return decode_latents(model, latents)[0]


def to_image(pixels: Tensor) -> Image:
    """Pixels `(3, h, w)` in [−1, 1] as an 8-bit picture."""
    from PIL import Image

    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(array.permute(1, 2, 0).cpu().numpy())


def largest_difference(left: Sequence[Image], right: Sequence[Image]) -> int:
    """The largest difference of any channel of any pixel, 0 … 255."""
    return max(int(difference.max()) for difference in _differences(left, right))


def mean_difference(left: Sequence[Image], right: Sequence[Image]) -> float:
    """The mean difference of all channels of all pixels, 0 … 255."""
    means = [float(difference.mean()) for difference in _differences(left, right)]
    return sum(means) / len(means)


def _differences(left: Sequence[Image], right: Sequence[Image]) -> list[Any]:
    import numpy as np

    pairs = zip(left, right, strict=True)
    return [np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)) for a, b in pairs]


def _initial_noise(model: Model, seed: int, height: int, width: int) -> Tensor:
    shape = (1, model.latent_channels, height // model.vae_factor, width // model.vae_factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(model.device, model.dtype)
