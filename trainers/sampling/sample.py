"""Image generation: fixed prompts and seeds during training, and on demand afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.adapters.context import ForwardContext
from trainers.composition.styling import Styling
from trainers.config.limits import Sampler
from trainers.models.model import Model
from trainers.models.pipeline import make_pipeline
from trainers.models.samplers import keep_prediction, spacing, step_of_call
from trainers.models.text import Conditioning, encode_captions
from trainers.randomness import generator
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

    @property
    def pictures(self) -> list[tuple[str, int]]:
        """Prompt and seed of each picture, in order."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]

    @property
    def context(self) -> ForwardContext:
        """The context of its forward passes; with guidance an image without caption precedes each."""
        return ForwardContext(uncaptioned=(True, False) if self.guidance > 1 else ())


@dataclass(frozen=True)
class Picture:
    """A picture to draw, with one of the batch's styles, or as the network is."""

    prompt: str
    seed: int
    style: int | None = None


@torch.no_grad()
def draw(
    model: Model,
    params: SamplingParams,
    on_step: OnStep | None = None,
    styling: Styling | None = None,
    on_rough: OnRough | None = None,
) -> Iterator[Image]:
    """Generate pictures, one by one.

    Each is a function of its prompt, seed and style, independent of earlier pictures and, up to rounding, of its batch.

    Args:
        model: The base, with any styles applied.
        params: Prompts, seeds, steps, guidance and size.
        on_step: Called after each step.
        styling: How styles act; with several variants, the pictures of a prompt and seed follow one another.
        on_rough: Called from the third step on with small pictures of what is drawn, in a twentieth of the time.

    Yields:
        One RGB image per prompt, seed and variant.
    """
    styling = styling or Styling()
    pipeline = make_pipeline(model, params.sampler)
    wanted = [Picture(prompt, seed, style) for prompt, seed in params.pictures for style in styling.variants]
    texts = Texts(model, params, styling)
    most = max(1, params.batch // styling.copies)
    rough = None if on_rough is None else RoughPictures(model, on_rough)
    prediction = keep_prediction(pipeline.scheduler) if rough else None

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
            for latents in _draw_batch(pipeline, texts, batch, partial(after_step, first, len(batch))):
                yield to_image(decode(model, latents))
    finally:
        styling.set_step(0, ())


def _draw_batch(
    pipeline: Any, texts: Texts, pictures: Sequence[Picture], on_step: Callable[[int], None]
) -> tuple[Tensor, ...]:
    """Latents `(1, c, h, w)` of each picture of a batch, with one call of the network per step."""
    model, params, styling = texts.model, texts.params, texts.styling
    rows = [(picture, copy) for picture in pictures for copy in range(styling.copies)]
    width, height = params.size
    present: list[int | None] = []

    def text_of(call: int) -> Conditioning | None:
        """Set the styles for a call of the network; returns the rows' text if it has changed."""
        step = step_of_call(pipeline.scheduler, call)
        styles = [styling.style_at(step, picture.style, copy) for picture, copy in rows]
        changed = styles != present
        text = texts.of_rows([picture.prompt for picture, _ in rows], styles) if changed else None
        styling.set_step(step, styles, (True,) * len(rows) + (False,) * len(rows) if params.guidance > 1 else ())
        present[:] = styles
        return text

    def after_call(pipeline: Any, call: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        step, calls = step_of_call(pipeline.scheduler, call), len(pipeline.scheduler.timesteps)
        is_done = call + 1 == calls or step_of_call(pipeline.scheduler, call + 1) > step
        if is_done:
            on_step(step + 1)
        text = text_of(call + 1)
        return {} if text is None else _step_tensors(text, pipeline.do_classifier_free_guidance)

    timing = spacing(model.schedule, params.sampler, params.steps)
    pipeline.scheduler.set_timesteps(**timing)  # as the pipeline will, which asks for the first text before that
    text = text_of(0)
    assert text is not None
    with averaged(model.unet, styling.copies):
        result = pipeline(
            **_prompt_arguments(text),
            latents=torch.cat([_initial_noise(model, picture.seed, height, width) for picture, _ in rows]),
            generator=[generator(picture.seed, "sampler") for picture, _ in rows],
            **timing,
            guidance_scale=params.guidance,
            width=width,
            height=height,
            output_type="latent",
            callback_on_step_end=after_call,
            callback_on_step_end_tensor_inputs=[],
        )
    latents: Tensor = result.images[:: styling.copies]
    return latents.split(1)


class Texts:
    """The prompts, each encoded under its style, since styles may change the encoders."""

    def __init__(self, model: Model, params: SamplingParams, styling: Styling) -> None:
        self.model, self.params, self.styling = model, params, styling
        self._known: dict[tuple[str, int | None], Conditioning] = {}

    def of_rows(self, prompts: Sequence[str], styles: Sequence[int | None]) -> Conditioning:
        """`(2n, …)`: the negative prompt under each row's style, then each row's prompt under it."""
        pairs = [self._of(prompt, style) for prompt, style in zip(prompts, styles, strict=True)]
        context = torch.cat([pair.context[side : side + 1] for side in (0, 1) for pair in pairs])
        pooled = [pair.pooled[side : side + 1] for side in (0, 1) for pair in pairs if pair.pooled is not None]
        return Conditioning(context, torch.cat(pooled) if pooled else None)

    def _of(self, prompt: str, style: int | None) -> Conditioning:
        """The negative prompt and a prompt under one style."""
        if (prompt, style) not in self._known:
            params = self.params
            self.styling.set_step(0, (style,))
            text = encode_captions(self.model, [params.negative, prompt], params.clip_skip, params.chunks)
            self._known[prompt, style] = text.to(self.model.dtype)
        return self._known[prompt, style]


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


@contextmanager
def averaged(unet: Any, copies: int) -> Iterator[None]:
    """Average the predictions of groups of neighbouring rows, temporarily."""
    if copies == 1:
        yield
        return

    def mean(unet: Any, args: Any, output: Any) -> Any:
        own = output[0].unflatten(0, (-1, copies))  # (m, copies, c, h, w)
        return (own.mean(1, keepdim=True).expand_as(own).flatten(0, 1), *output[1:])

    handle = unet.register_forward_hook(mean)
    try:
        yield
    finally:
        handle.remove()


def decode(model: Model, latents: Tensor) -> Tensor:
    """Latents `(1, c, h, w)` of a pipeline as pixels `(3, 8h, 8w)` in [−1, 1]."""
    from trainers.models.images import decode_latents

    return decode_latents(model, latents)[0]


def to_image(pixels: Tensor) -> Image:
    """Pixels `(3, h, w)` in [−1, 1] as an 8-bit picture."""
    from PIL import Image

    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(array.permute(1, 2, 0).cpu().numpy())


def largest_difference(left: Sequence[Image], right: Sequence[Image]) -> int:
    """The largest difference of any channel of any pixel, 0 … 255."""
    return max(int(each.max()) for each in _differences(left, right))


def mean_difference(left: Sequence[Image], right: Sequence[Image]) -> float:
    """The mean difference of all channels of all pixels, 0 … 255."""
    found = [float(each.mean()) for each in _differences(left, right)]
    return sum(found) / len(found)


def _differences(left: Sequence[Image], right: Sequence[Image]) -> list[Any]:
    import numpy as np

    pairs = zip(left, right, strict=True)
    return [np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)) for a, b in pairs]


def _initial_noise(model: Model, seed: int, height: int, width: int) -> Tensor:
    channels = model.unet.config.in_channels
    shape = (1, int(channels), height // model.vae_factor, width // model.vae_factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return noise.to(model.device, model.dtype)


def _prompt_arguments(text: Conditioning) -> dict[str, Any]:
    """A pipeline's arguments for `(2n, …)` text: the negative prompts, then the prompts."""
    negative, context = text.context.chunk(2)
    arguments = {"negative_prompt_embeds": negative, "prompt_embeds": context}
    if text.pooled is not None:
        negative, pooled = text.pooled.chunk(2)
        arguments |= {"negative_pooled_prompt_embeds": negative, "pooled_prompt_embeds": pooled}
    return arguments


def _step_tensors(text: Conditioning, guided: bool) -> dict[str, Any]:
    """The same text as the pipeline's own variables within its loop: both halves under guidance, else the prompts."""
    own = {"prompt_embeds": text.context, "add_text_embeds": text.pooled}
    return {name: t if guided else t.chunk(2)[1] for name, t in own.items() if t is not None}
