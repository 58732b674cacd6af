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
    return (a == b).flatten(1).all(1)


def flat(images: torch.Tensor) -> torch.Tensor:
    """Which images have one colour."""
    return (images == images[..., :1, :1]).flatten(1).all(1)


def test_half_of_the_drawings_keep_their_colours():
    colours = colourful(COUNT)
    found = recolour(colours, generator("recolour"))
    assert found.shape == colours.shape and found.min() >= 0 and found.max() <= 1
    changed = ~alike(found, colours)
    assert share(changed) == pytest.approx(0.5, **NEAR)
    grey = (found - found.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert share(grey[changed]) == pytest.approx(0.15, **NEAR)


def test_backgrounds_are_white_dark_plain_shaded_or_shapes():
    shapes = colourful(COUNT, 8)
    found = make_backgrounds(COUNT, 8, shapes, generator("backgrounds"))
    assert found.shape == (COUNT, 3, 8, 8) and found.min() >= 0 and found.max() <= 1
    even, bare = flat(found), alike(found, shapes)
    white = even & (found[:, :, 0, 0] == 1).all(1)
    dark = even & (found[:, :, 0, 0] <= 0.15).all(1)
    shares = [share(white), share(dark), share(even & ~white & ~dark), share(~even & ~bare), share(bare)]
    assert shares == pytest.approx([0.5, 0.12, 0.13, 0.15, 0.1], **NEAR)


def test_a_print_has_two_tones_mostly_black_on_white():
    ramp = torch.linspace(0, 1, 64).expand(COUNT, 3, 1, 64)
    found = print_ink(ramp, generator("ink"))
    ink, ground = found[..., :1], found[..., -1:]  # the ends of the ramp are beyond every threshold
    black_on_white = ((ink == 0) & (ground == 1)).flatten(1).all(1)
    assert share(black_on_white) == pytest.approx(0.75, **NEAR)
    pure = ((found == ink) | (found - ground).abs().lt(1e-6)).all(1)
    assert share(pure) > 0.85  # few pixels lie between the tones
    along = (found[black_on_white].diff(dim=-1) >= 0).all()
    assert along  # bright stays paper, dark becomes ink
    cut = (found[black_on_white][:, 0, 0] > 0.5).float().argmax(-1) / 63
    assert cut.min() >= 0.3 and cut.max() <= 0.83 and float(cut.mean()) == pytest.approx(0.55, **NEAR)


def test_a_covering_drawing_is_itself_a_negative_or_replaced_by_shapes():
    drawings, shapes = colourful(COUNT, 4, 4), colourful(COUNT).flip(0)
    drawings[:, 3] = 1
    found = (paint(drawings, shapes, 0.0, generator("paint")) + 1) / 2
    near = [(found - target).abs().amax((1, 2, 3)) < 1e-6 for target in (drawings[:, :3], 1 - drawings[:, :3], shapes)]
    assert [share(which) for which in near] == pytest.approx([0.5 * 0.9 * 0.88, 0.5 * 0.1 * 0.88, 0.12], **NEAR)


def test_a_share_is_printed():
    drawings, shapes = colourful(COUNT, 4, 4), colourful(COUNT)
    drawings[:, :3], drawings[:, 3] = 0.05, 1  # dark all over: its print is the ink alone
    black = {}
    for inked in (0.0, 0.4, 1.0):
        found = paint(drawings, shapes, inked, generator("paint"))
        black[inked] = share((found == -1).flatten(1).all(1))
    assert black[0.0] < 0.2  # recoloured darker, by chance
    assert black[0.4] == pytest.approx(0.6 * black[0.0] + 0.4 * 0.75, **NEAR)
    assert black[1.0] == pytest.approx(0.75, **NEAR)
