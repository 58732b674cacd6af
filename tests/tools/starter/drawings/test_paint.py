"""Augmentation: in range, a function of its generator, and as often this or that as it says."""

from __future__ import annotations

import pytest
import torch

from tools.starter.drawings.paint import make_backgrounds, paint, print_ink, recolour
from trainers.randomness import generator

COUNT = 3_000
NEAR = {"abs": 0.03}  # about three standard deviations of the shares below


def colourful(count: int, size: int = 4, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=generator("colours", size, channels))


def share(which: torch.Tensor) -> float:
    return float(which.float().mean())


def alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Which images are the same."""
    return (a - b).abs().amax((1, 2, 3)) < 1e-6


def test_half_of_the_drawings_keep_their_colours():
    colours = colourful(COUNT)
    found = recolour(colours, generator("recolour"))
    assert found.min() >= 0 and found.max() <= 1
    assert share(alike(found, colours)) == pytest.approx(0.5, **NEAR)


def test_backgrounds_are_white_dark_plain_shaded_or_shapes():
    shapes = colourful(COUNT, 8)
    found = make_backgrounds(COUNT, 8, shapes, generator("backgrounds"))
    even, bare = alike(found, found[..., :1, :1]), alike(found, shapes)
    white = even & (found[:, :, 0, 0] == 1).all(1)
    dark = even & (found[:, :, 0, 0] <= 0.15).all(1)
    shares = [share(white), share(dark), share(even & ~white & ~dark), share(~even & ~bare), share(bare)]
    assert shares == pytest.approx([0.5, 0.12, 0.13, 0.15, 0.1], **NEAR)


def test_a_print_has_two_tones_mostly_black_on_white():
    ramp = torch.linspace(0, 1, 64).expand(COUNT, 3, 1, 64)
    found = print_ink(ramp, generator("ink"))
    ink, ground = found[..., :1], found[..., -1:]  # the ends of the ramp are beyond every threshold
    assert share(((ink == 0) & (ground == 1)).flatten(1).all(1)) == pytest.approx(0.75, **NEAR)
    assert share(((found == ink) | (found - ground).abs().lt(1e-6)).all(1)) > 0.85  # few pixels lie between the tones


def test_a_covering_drawing_is_itself_a_negative_or_replaced_by_shapes():
    drawings, shapes = colourful(COUNT, 4, 4), colourful(COUNT).flip(0)
    drawings[:, 3] = 1
    found = (paint(drawings, shapes, 0.0, generator("paint")) + 1) / 2
    near = [alike(found, target) for target in (drawings[:, :3], 1 - drawings[:, :3], shapes)]
    assert [share(which) for which in near] == pytest.approx([0.5 * 0.9 * 0.88, 0.5 * 0.1 * 0.88, 0.12], **NEAR)
    printed = paint(drawings * 0.05 + torch.tensor([0, 0, 0, 0.95]).view(4, 1, 1), shapes, 1.0, generator("paint"))
    assert share((printed == -1).flatten(1).all(1)) == pytest.approx(0.75, **NEAR)  # dark: its print is the ink alone
