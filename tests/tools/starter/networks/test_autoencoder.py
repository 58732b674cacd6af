"""The autoencoder: what it is shown and how it is scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.tools.starter.small import TAUGHT, make_small_autoencoder, noise
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.networks.autoencoder import (
    LATE,
    Canvas,
    cut,
    make_autoencoder,
    on_white,
    plain,
    psnr,
    reconstruction_loss,
    reference_images,
    shrink,
    turn,
)
from trainers.randomness import generator

WAYS = range(8)


def test_the_latents_are_eight_times_smaller_and_of_four_channels():
    with torch.no_grad():
        model = make_autoencoder()
        latents = model.encode(noise(1, 3, 128, 128)).latent_dist.mode()
        assert latents.shape == (1, 4, 16, 16)
        assert model.decode(latents).sample.shape == (1, 3, 128, 128)


def test_adamw_trains_the_ends_of_the_network():
    by_adamw = {name for name, p in make_small_autoencoder().named_parameters() if p.ndim > 1 and plain(name)}
    ends = ("encoder.conv_in", "encoder.conv_out", "decoder.conv_out", "quant_conv", "post_quant_conv")
    assert by_adamw == {f"{name}.weight" for name in ends}


def test_psnr_is_what_its_formula_says():
    true = torch.zeros(4, 3, 5, 5)
    found = torch.tensor([0.2, -0.02, 3.0, 0.0]).view(4, 1, 1, 1).expand_as(true)
    # 10 log₁₀(2² / error²); what is out of range counts as its end, and no error as 1e-10
    assert psnr(found, true).tolist() == pytest.approx([20, 40, 10 * np.log10(4), 10 * np.log10(4e10)], rel=1e-5)


def test_images_and_latents_are_turned_and_shrunk_alike():
    images = noise(2, 3, 16, 16)
    for way in WAYS:
        assert torch.allclose(F.avg_pool2d(turn(images, way), 8), turn(F.avg_pool2d(images, 8), way), atol=1e-6)
        assert torch.allclose(shrink(turn(images, way)), turn(shrink(images), way), atol=1e-6)
    assert len({tuple(turn(images, way).flatten().tolist()) for way in WAYS}) == 8 and torch.equal(
        turn(images, 0), images
    )


def test_a_cut_is_a_square_from_anywhere():
    images = np.stack(np.meshgrid(range(3), range(6), range(6), indexing="ij"), -1).astype(np.uint8)
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(400):
        square = cut(images, 4, rng)
        index, top, left = (int(value) for value in square[0, 0])
        assert np.array_equal(square, images[index, top : top + 4, left : left + 4])
        corners.add((index, top, left))
    assert len(corners) == 3 * 3 * 3


def test_a_canvas_paints_trained_drawings_and_outlines_by_its_generator(drawings):
    canvas = Canvas(drawings)
    names = [icon_set.name for icon_set in read_icon_sets() if icon_set.trained] + ["noto-outline", "twemoji-outline"]
    assert canvas.trained == 5 and len(canvas.sets) == len(names)
    first, again, other = (canvas.batch(6, 64, LATE, generator("canvas", seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 64, 64) and first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_loss_of_an_image_as_it_lies_is_l1_edges_squares_and_kl():
    torch.manual_seed(0)
    model, images = make_small_autoencoder(), noise(4, 3, 32, 32)
    with torch.no_grad():
        posterior = model.encode(images).latent_dist
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.var.log()).mean()
    drawn = []
    model.decoder.register_forward_hook(lambda *call: drawn.append(call[-1].detach()))
    in_fp32 = lambda: torch.autocast("cpu", torch.bfloat16, enabled=False)  # noqa: E731
    values = [reconstruction_loss(model, images, generator("loss", seed), in_fp32) for seed in range(24)]
    straight = 0
    for found, value in zip(drawn, values, strict=True):
        assert value["kl"].item() == pytest.approx(float(kl), rel=1e-5)
        if found.shape != images.shape:
            continue  # shrunk
        targets = [turn(images, way) for way in WAYS]
        target = min(targets, key=lambda target: abs((found - target).abs().mean() - value["l1"].detach()))
        error = found - target
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        expected = error.abs().mean() + edges + error.square().mean() + 1e-4 * kl
        assert float(value["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
        straight += torch.equal(target, images)
    shrunk = sum(found.shape != images.shape for found in drawn)
    assert shrunk >= 2 and straight >= 5 and straight + shrunk < 24


def test_references_are_evenly_chosen_drawings_of_every_set_on_white(drawings):
    found = reference_images(drawings, per_set=4)
    assert list(found) == [icon_set.name for icon_set in read_icon_sets()]
    pixels = open_drawings(drawings, "noto").pixels
    assert len(pixels) == len(TAUGHT) + 1 == 7
    assert torch.equal(found["noto"], on_white(pixels[[0, 2, 4, 6]]))
    corner = on_white(np.array([[[[255, 0, 51, 255], [255, 0, 51, 0], [255, 0, 51, 51]]]], np.uint8))[0, :, 0]
    assert corner.T.numpy() == pytest.approx(np.array([[1, -1, -0.6], [1, 1, 1], [1, 0.6, 0.68]]), abs=1e-6)
