"""What a base's own network sees in pictures: their style and their content, without another model.

A picture's latents get the fixed noise of the timestep T/2; the denoiser runs on them with an empty text up to the end
of a block in its middle, whose activations x have the shape (channels, places).

* The *style* of a picture is the vector (μ, σ) of each channel's mean and deviation over the places, and that of a set
  its mean over the pictures. The distance of a set from the training pictures is ‖((μ, σ) − (μ', σ')) / s‖ / √d, where
  s is the training pictures' standard deviation in each of the d numbers, plus a tenth of its mean over them. Without
  any deviation s = 1; then it is W₂ / √d between Gaussians with diagonal covariance (IntroStyle, Kumar et al. 2024,
  arXiv 2412.14432, section 3.2).
* The *change* between two pictures is the mean over the places of ‖x/‖x‖ − x'/‖x'‖‖ (0 to 2): LPIPS (Zhang et al.
  2018, arXiv 1801.03924, equation 1) without its learned weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.models.images import encode_images
from trainers.models.model import Model
from trainers.models.text import Conditioning
from trainers.randomness import generator

TIME = 0.5
"""Share of the schedule's timesteps at which pictures are looked at."""
BATCH = 8
FLOOR = 0.1
"""Share of the mean spread that is added to the spread of each number."""


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of n pictures of one size."""

    style: Tensor
    """Means and deviations `(n, 2·channels)`, fp32."""
    content: Tensor
    """Unit vectors at each place `(n, channels, places)`, fp32."""

    @staticmethod
    def cat(parts: Sequence[Activations]) -> Activations:
        """The activations of several batches."""
        return Activations(torch.cat([part.style for part in parts]), torch.cat([part.content for part in parts]))


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass after the block that is looked at."""


@torch.no_grad()
def observe(model: Model, images: Tensor) -> Activations:
    """The activations of pictures `(n, 3, h, w)` in [−1, 1] in the denoiser as it is: without a style if none acts."""
    text = model.encode([""])
    parts = []
    for batch in images.split(BATCH):
        latents = encode_images(model, batch)[0]
        parts.append(describe(_activations(model, latents, text)))
    return Activations.cat(parts)


def style_distance(drawn: Tensor, trained: Tensor) -> float:
    """The distance of a set of styles `(n, 2c)` from the training pictures' `(m, 2c)`, in units of their spread."""
    spread = trained.std(0, correction=0)
    spread = spread + FLOOR * spread.mean() if spread.any() else torch.ones_like(spread)
    return float(((drawn.mean(0) - trained.mean(0)) / spread).norm() / spread.numel() ** 0.5)


def change(a: Activations, b: Activations) -> Tensor:
    """The change `(n,)` of each of n pictures from another of the same prompt and seed."""
    return (a.content - b.content).norm(dim=1).mean(1)


def changes(a: Activations, b: Activations) -> Tensor:
    """The change `(n, m)` between each of n pictures and each of m others of the same size."""
    return torch.stack([(picture - b.content).norm(dim=1).mean(1) for picture in a.content])


def variety(drawn: Activations, prompts: Sequence[str]) -> float | None:
    """The mean change between two of n pictures of different prompts, one of each picture; None without two."""
    apart = torch.tensor([[prompt != other for other in prompts] for prompt in prompts])
    return float(changes(drawn, drawn)[apart].mean()) if apart.any() else None


def _activations(model: Model, latents: Tensor, text: Conditioning) -> Tensor:
    """The activations `(n, channels, places)` of latents `(n, c, h, w)` at `TIME`."""
    count, (height, width) = len(latents), latents.shape[2:]
    t = torch.full((count,), int(TIME * model.schedule.steps), dtype=torch.long)
    noise = torch.randn((1, *latents.shape[1:]), generator=generator(0, "what a base sees")).to(latents)
    side = (height * model.vae_factor, width * model.vae_factor)
    time_ids = model.time_ids([side] * count, [(0, 0)] * count, [side] * count)
    noisy = model.schedule.add_noise(latents, noise.expand_as(latents), t).to(model.device)
    with _output_of(model.family.middle_block(model.denoiser)) as seen:
        model.predict(noisy, t.to(model.device), Conditioning.cat([text] * count), time_ids)
    return model.family.image_activations(seen[0])


@contextmanager
def _output_of(block: nn.Module) -> Iterator[list[object]]:
    """Collect a block's output within; the forward pass ends there."""
    seen: list[object] = []

    def keep(_block: nn.Module, _inputs: object, output: object) -> None:
        seen.append(output)
        raise _Reached

    handle = block.register_forward_hook(keep)
    try:
        yield seen
    except _Reached:
        pass
    finally:
        handle.remove()


def describe(features: Tensor) -> Activations:
    """Style and content of features `(n, channels, places)`."""
    x = features.float().cpu()
    style = torch.cat([x.mean(2), x.std(2, correction=0)], dim=1)
    return Activations(style, F.normalize(x, dim=1))
