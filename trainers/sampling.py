"""Drawing pictures: fixed prompts and seeds while training, and on demand afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.adapters.method import Now
from trainers.models.model import Model
from trainers.models.pipeline import make_pipeline
from trainers.models.schedule import Sampler
from trainers.models.text import Conditioning, encode_captions

if TYPE_CHECKING:
    from PIL.Image import Image

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """What to draw and how: one picture for each prompt and seed, `size` (width, height) in pixels."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...] = (1,)
    negative: str = ""
    steps: int = 25
    guidance: float = 7.0
    size: tuple[int, int] = (512, 512)
    sampler: Sampler = "ddim"
    clip_skip: int = 1
    chunks: int = 1

    @property
    def pictures(self) -> list[tuple[str, int]]:
        """Prompt and seed of each picture, in the order they are drawn."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]

    @property
    def now(self) -> Now:
        """The moment of its forward passes: with guidance an image without caption lies before each."""
        return Now(uncaptioned=(True, False) if self.guidance > 1 else ())


@torch.no_grad()
def draw(model: Model, order: Order, told: Told | None = None) -> Iterator[Image]:
    """Yield the pictures of an order one by one; `told(picture, step)`, from 1 each, is called after each step.

    Each is a function of its prompt and seed alone, so it does not change with the others drawn beside it.
    """
    pipeline = make_pipeline(model, order.sampler)
    for number, (prompt, seed) in enumerate(order.pictures, 1):
        text = encode_captions(model, [order.negative, prompt], order.clip_skip, order.chunks).to(model.dtype)
        width, height = order.size
        result = pipeline(
            **_prompt_arguments(text),
            latents=_initial_noise(model, seed, height, width),
            num_inference_steps=order.steps,
            guidance_scale=order.guidance,
            width=width,
            height=height,
            output_type="latent",
            callback_on_step_end=None if told is None else _telling(told, number),
        )
        yield to_image(decode(model, result.images))


def _telling(told: Told, number: int) -> Callable[..., dict[str, Any]]:
    def after_step(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        told(number, step + 1)
        return tensors

    return after_step


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
    """A pipeline's arguments for the negative prompt and the prompt, in this order along dim 0."""
    arguments = {"negative_prompt_embeds": text.context[:1], "prompt_embeds": text.context[1:]}
    if text.pooled is not None:
        arguments |= {"negative_pooled_prompt_embeds": text.pooled[:1], "pooled_prompt_embeds": text.pooled[1:]}
    return arguments
