"""The autoencoder: what it is shown, how it is scored, and that training it helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.tools.starter.small import SCHEDULE, TAUGHT, make_small_autoencoder, read_log
from tools.starter.drawings.render import open_drawings
from tools.starter.drawings.sets import read_icon_sets
from tools.starter.networks import autoencoder
from tools.starter.networks.autoencoder import (
    EARLY,
    LATE,
    Canvas,
    Mix,
    cut,
    make_autoencoder,
    on_white,
    plain,
    psnr,
    reconstruct,
    reconstruction_loss,
    reference_images,
    shrink,
    to_channels,
    train_autoencoder,
    turn,
)
from trainers.randomness import generator

WAYS = range(8)


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=False)


def small_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return make_small_autoencoder()


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator("noise", *shape)) * 2 - 1


def test_the_latents_are_eight_times_smaller_and_of_four_channels():
    with torch.no_grad():
        model = make_autoencoder()
        latents = model.encode(noise(1, 3, 128, 128)).latent_dist.mode()
        assert latents.shape == (1, 4, 16, 16)
        assert model.decode(latents).sample.shape == (1, 3, 128, 128)
    assert not any("attentions.0" in name for name, _ in model.named_modules())


def test_adamw_trains_the_ends_of_the_network():
    names = [name for name, parameter in make_small_autoencoder().named_parameters() if parameter.ndim > 1]
    ends = ("encoder.conv_in", "encoder.conv_out", "decoder.conv_out", "quant_conv", "post_quant_conv")
    assert [name for name in names if plain(name)] == [f"{name}.weight" for name in sorted(ends, key=order_in(names))]


def order_in(names: list[str]):
    return lambda name: names.index(f"{name}.weight")


def test_psnr_is_what_its_formula_says():
    true = torch.zeros(4, 3, 5, 5)
    found = torch.tensor([0.2, -0.02, 3.0, 0.0]).view(4, 1, 1, 1).expand_as(true)
    # 10 log₁₀(2² / error²); what is out of range counts as its end, and no error as 1e-10
    assert psnr(found, true).tolist() == pytest.approx([20, 40, 10 * np.log10(4), 10 * np.log10(4e10)], rel=1e-5)
    half = torch.zeros(1, 3, 4, 4)
    half[..., :2] = 0.2
    assert psnr(half, torch.zeros_like(half)).item() == pytest.approx(20 + 10 * np.log10(2), rel=1e-5)


def test_there_are_eight_ways_to_lay_a_square():
    square = torch.arange(9.0).view(1, 1, 3, 3)
    expected = {
        tuple(torch.rot90(image, quarter, (2, 3)).flatten().tolist())
        for image in (square, square.flip(3))
        for quarter in range(4)
    }
    assert {tuple(turn(square, way).flatten().tolist()) for way in WAYS} == expected
    assert len(expected) == 8
    assert torch.equal(turn(square, 0), square)


@pytest.mark.parametrize("way", WAYS)
def test_images_and_latents_are_turned_alike(way):
    images = noise(2, 3, 16, 16)
    assert torch.allclose(F.avg_pool2d(turn(images, way), 8), turn(F.avg_pool2d(images, 8), way), atol=1e-6)
    assert torch.allclose(shrink(turn(images, way)), turn(shrink(images), way), atol=1e-6)


def test_shrinking_averages_four_pixels():
    assert shrink(torch.arange(16.0).view(1, 1, 4, 4)).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_a_cut_is_a_square_from_anywhere():
    count, side = 3, 6
    images = np.stack(np.meshgrid(range(count), range(side), range(side), indexing="ij"), -1).astype(np.uint8)
    rng = np.random.default_rng(0)
    corners = set()
    for _ in range(400):
        square = cut(images, 4, rng)
        index, top, left = (int(value) for value in square[0, 0])
        assert np.array_equal(square, images[index, top : top + 4, left : left + 4])
        corners.add((index, top, left))
    assert len(corners) == count * 3 * 3
    assert np.array_equal(cut(images[:1], side, rng), images[0])


def test_drawings_are_laid_on_white():
    pixels = np.array([[[[255, 0, 51, 255], [255, 0, 51, 0], [255, 0, 51, 51]]]], np.uint8)
    assert to_channels(pixels)[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2, 1])
    found = on_white(pixels)
    assert found.shape == (1, 3, 1, 3)
    assert found[0, :, 0].T.numpy() == pytest.approx(np.array([[1, -1, -0.6], [1, 1, 1], [1, 0.6, 0.68]]), abs=1e-6)


def test_reconstructing_is_encoding_to_the_mean_and_decoding():
    model, images = small_model().eval(), noise(5, 3, 32, 32)
    with torch.no_grad():
        expected = model.decode(model.encode(images).latent_dist.mean).sample
        for batch in (2, 16):
            assert torch.allclose(reconstruct(model, images, batch), expected, atol=1e-5)


def test_a_canvas_paints_trained_drawings_and_outlines_by_its_generator(drawings):
    canvas = Canvas(drawings)
    names = [icon_set.name for icon_set in read_icon_sets() if icon_set.trained] + ["noto-outline", "twemoji-outline"]
    assert canvas.trained == 5 and len(canvas.sets) == len(names)
    assert all(
        np.array_equal(s.pixels, open_drawings(drawings, n).pixels) for s, n in zip(canvas.sets, names, strict=True)
    )
    first, again, other = (canvas.batch(6, 64, LATE, generator("canvas", seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 64, 64) and first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert canvas.batch(2, 128, EARLY, generator("canvas")).shape == (2, 3, 128, 128)


def test_a_mix_says_how_often_outlines_are_shown(drawings):
    canvas = Canvas(drawings)
    for index, stored in enumerate(canvas.sets):  # outlines black all over, sets white all over
        shown = np.full_like(stored.pixels, 0 if index >= canvas.trained else 255)
        shown[..., 3] = 255
        object.__setattr__(stored, "pixels", shown)
    count = 1_500
    for outlines, expected in ((0.0, 0.0), (0.5, 1 / 6), (1e6, 1.0)):
        batch = canvas.batch(count, 8, Mix(outlines, 0.0), generator("mix"))
        corners = batch.flatten(1)
        dark, bright = ((corners == tone).all(1).sum().item() for tone in (-1, 1))
        # As likely as not a drawing is recoloured, which makes neither extreme likely, and a tenth are negatives.
        assert dark / (dark + bright) == pytest.approx(0.1 + 0.8 * expected, abs=0.06)


def test_the_loss_is_made_of_its_parts():
    model, images = small_model(), noise(4, 3, 32, 32)
    losses = [reconstruction_loss(model, images, generator("loss", seed), autocast) for seed in range(24)]
    assert all(set(values) == {"loss", "l1", "kl"} for values in losses)
    with torch.no_grad():
        posterior = model.encode(images).latent_dist
    mean, variance = posterior.mean, posterior.var
    kl = 0.5 * (mean.square() + variance - 1 - variance.log()).mean()
    assert [values["kl"].item() for values in losses] == pytest.approx([float(kl)] * 24, rel=1e-5)
    assert all(values["loss"] > values["l1"] + 1e-4 * kl for values in losses)
    first, again = (reconstruction_loss(model, images, generator("loss", 3), autocast)["loss"] for _ in range(2))
    assert torch.equal(first, again) and len({values["loss"].item() for values in losses}) == 24


def test_the_loss_of_an_image_as_it_lies_is_l1_edges_and_squares(monkeypatch):
    model, images = small_model(), noise(4, 3, 32, 32)
    drawn = []
    model.decoder.register_forward_hook(lambda *call: drawn.append(call[-1].detach()))
    values = [reconstruction_loss(model, images, generator("loss", seed), autocast) for seed in range(24)]
    straight = 0
    for found, value in zip(drawn, values, strict=True):
        if found.shape != images.shape:
            continue  # shrunk
        targets = [turn(images, way) for way in WAYS]
        target = min(targets, key=lambda target: abs((found - target).abs().mean() - value["l1"].detach()))
        error = found - target
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        expected = error.abs().mean() + edges + error.square().mean() + 1e-4 * value["kl"].detach()
        assert float(value["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
        straight += torch.equal(target, images)
    shrunk = sum(found.shape != images.shape for found in drawn)
    assert shrunk >= 2 and straight >= 5 and straight + shrunk < 24


def test_every_part_is_trained():
    model = small_model()
    reconstruction_loss(model, noise(2, 3, 32, 32), generator("loss"), autocast)["loss"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_references_are_evenly_chosen_drawings_of_every_set(drawings):
    found = reference_images(drawings, per_set=4)
    assert list(found) == [icon_set.name for icon_set in read_icon_sets()]
    pixels = open_drawings(drawings, "noto").pixels
    assert len(pixels) == len(TAUGHT) + 1 == 7
    assert torch.equal(found["noto"], on_white(pixels[[0, 2, 4, 6]]))


@pytest.mark.thorough
@pytest.mark.slow
def test_training_lowers_the_loss_and_is_measured(drawings, tmp_path: Path, monkeypatch, every_step_is_logged):
    monkeypatch.setattr(autoencoder, "make_autoencoder", make_small_autoencoder)
    references = {"noto": reference_images(drawings, per_set=2)["noto"]}
    schedule = replace(SCHEDULE, steps=48, rate=0.05, measure_every=12)
    model = train_autoencoder(tmp_path, drawings, torch.device("cpu"), references, schedule)
    lines = read_log(tmp_path)
    losses = [line["l1"] for line in lines if "l1" in line]
    measured = [line["psnr noto"] for line in lines if "psnr noto" in line]
    assert len(losses) == 48 and len(measured) == 4
    assert np.mean(losses[-12:]) < 0.9 * np.mean(losses[:12])
    assert measured[-1] > measured[0] + 1
    with torch.no_grad():
        final = float(psnr(reconstruct(model, references["noto"]), references["noto"]).mean())
    assert final == pytest.approx(measured[-1], abs=0.1) and not model.training
