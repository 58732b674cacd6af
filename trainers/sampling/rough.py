"""Small, rough pictures of latents, while they are denoised.

A picture's colours are nearly a linear function of its latents, so a 4 × 3 matrix approximates the decoder for a
thousandth of its work. The matrix is the least-squares fit for each VAE on an image of squares, half of them white, as
many backgrounds are. On the bundled images its colours are off by 14 of 255 on average; a matrix fitted to these images
themselves is off by 11.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from trainers.models.images import encode_images
from trainers.models.model import Model
from trainers.randomness import generator

if TYPE_CHECKING:
    from PIL.Image import Image

OnRough = Callable[[int, "Image"], None]
"""Called with the number of a picture, from 1, and a small version of it."""
FIRST = 3
"""The first step after which something can be seen."""
SHARE = 0.05
"""Share of the time that rough pictures may take."""
SQUARES, LATENTS = 4, 8
"""Sides of the fitted image: in squares, and in latents."""


class RoughPictures:
    """Sends rough pictures, in at most `SHARE` of the time."""

    def __init__(self, model: Model, on_rough: OnRough) -> None:
        self._model, self._on_rough = model, on_rough
        self._colours: Tensor | None = None
        self._next = 0.0

    def show(self, numbers: Iterable[int], latents: Tensor) -> None:
        """Send the predicted latents `(n, c, h, w)` of pictures with these numbers, unless the last were just sent."""
        began = time.monotonic()
        if began < self._next:
            return
        if self._colours is None:
            self._colours = fit_colours(self._model)
        for number, pixels in zip(numbers, rough_pixels(latents, self._colours), strict=True):
            self._on_rough(number, _image(pixels))
        now = time.monotonic()
        self._next = now + (now - began) / SHARE


@torch.no_grad()
def fit_colours(model: Model) -> Tensor:
    """The matrix `(c + 1, 3)` from latents and a constant to colours in [−1, 1], fp32 on the CPU."""
    draw, shape = generator("rough pictures"), (SQUARES, SQUARES)
    squares = torch.rand((1, 3, *shape), generator=draw) * 2 - 1
    squares = squares.where(torch.rand(shape, generator=draw) < 0.5, 1.0)
    side = LATENTS * model.vae_factor
    pixels = functional.interpolate(squares, (side, side))
    latents, _ = encode_images(model, pixels)
    wanted = functional.avg_pool2d(pixels, model.vae_factor)
    return torch.linalg.lstsq(_rows(latents.float().cpu()), wanted[0].flatten(1).T).solution


def rough_pixels(latents: Tensor, colours: Tensor) -> Tensor:
    """Pixels `(n, 3, h, w)` in [−1, 1] of latents `(n, c, h, w)`, one for each latent."""
    latents = latents.float().cpu()
    values = _rows(latents) @ colours
    return values.view(len(latents), *latents.shape[2:], 3).permute(0, 3, 1, 2).clamp(-1, 1)


def _rows(latents: Tensor) -> Tensor:
    """One row per latent, with a constant at its end."""
    rows = latents.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _image(pixels: Tensor) -> Image:
    from PIL import Image

    return Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy())
