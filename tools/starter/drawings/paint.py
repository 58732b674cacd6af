"""Augmentation of drawings with other colours and backgrounds, so that the autoencoder reconstructs other styles."""

from __future__ import annotations

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)


def choose(probability: float, count: int, generator: torch.Generator) -> Tensor:
    """`(count, 1, 1, 1)` booleans, true with that probability."""
    return torch.rand(count, 1, 1, 1, generator=generator) < probability


def recolour(colours: Tensor, generator: torch.Generator) -> Tensor:
    """Half of `(B, 3, H, W)` in 0 to 1 with other hues, saturations and contrasts; some grey, some negative."""
    count = len(colours)
    matrices = torch.eye(3).repeat(count, 1, 1)
    for index in range(count):
        if torch.rand((), generator=generator) < 0.5:
            matrices[index] = matrices[index][torch.randperm(3, generator=generator)]
    grey = torch.tensor(LUMINANCE).expand(3, 3)
    saturation = torch.empty(count, 1, 1).uniform_(0, 1.5, generator=generator)
    saturation[torch.rand(count, generator=generator) < 0.15] = 0
    matrices = saturation * matrices + (1 - saturation) * grey
    mixed = torch.einsum("bij,bjhw->bihw", matrices, colours)
    contrast = torch.empty(count, 1, 1, 1).uniform_(0.6, 1.3, generator=generator)
    brightness = torch.empty(count, 1, 1, 1).uniform_(-0.2, 0.2, generator=generator)
    mixed = ((mixed - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)
    mixed = torch.where(choose(0.15, count, generator), 1 - mixed, mixed)
    return torch.where(choose(0.5, count, generator), mixed, colours)


def make_backgrounds(count: int, size: int, shapes: Tensor, generator: torch.Generator) -> Tensor:
    """Backgrounds, `(count, 3, size, size)` in 0 to 1: white for half, else black, plain, shaded, or from `shapes`."""
    kind = torch.rand(count, 1, 1, 1, generator=generator)
    corners = torch.rand(count, 3, 2, 2, generator=generator)
    shaded = torch.nn.functional.interpolate(corners, size=(size, size), mode="bilinear", align_corners=True)
    plain = corners[:, :, :1, :1].expand_as(shaded)
    black = 0.15 * plain
    white = torch.ones_like(shaded)
    result = torch.where(kind < 0.9, shaded, shapes)
    result = torch.where(kind < 0.75, plain, result)
    result = torch.where(kind < 0.62, black, result)
    return torch.where(kind < 0.5, white, result)


def print_ink(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images `(B, 3, H, W)` in 0 to 1 in two tones, as a woodcut prints them: mostly black on white."""
    count = len(images)
    brightness = torch.einsum("c,bchw->bhw", torch.tensor(LUMINANCE), images)[:, None]
    threshold = torch.empty(count, 1, 1, 1).uniform_(0.3, 0.8, generator=generator)
    paper = ((brightness - threshold) * 8 + 0.5).clamp(0, 1)
    coloured = choose(0.25, count, generator)
    ink, ground = (torch.rand(count, 3, 1, 1, generator=generator) for _ in range(2))
    ink, ground = ink * coloured, torch.where(coloured, ground, torch.ones_like(ground))
    return ink + (ground - ink) * paper


def paint(drawings: Tensor, shapes: Tensor, inked: float, generator: torch.Generator) -> Tensor:
    """Drawings `(B, 4, H, W)` over backgrounds, partly recoloured, and some of `shapes` `(B, 3, H, W)` bare: −1 to 1.

    A share `inked` of them is printed in two tones.
    """
    count, size = len(drawings), drawings.shape[-1]
    colours, cover = drawings[:, :3], drawings[:, 3:]
    backgrounds = make_backgrounds(count, size, shapes, generator)
    painted = recolour(colours, generator) * cover + backgrounds * (1 - cover)
    painted = torch.where(choose(0.1, count, generator), 1 - painted, painted)
    painted = torch.where(choose(0.12, count, generator), shapes, painted)
    if inked:
        plain = colours * cover + 1 - cover
        painted = torch.where(choose(inked, count, generator), print_ink(plain, generator), painted)
    return painted * 2 - 1
