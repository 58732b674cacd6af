"""The decoder's second training: what it is shown, how it is scored, and that the latents stay."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tools.starter.small import make_arrays, make_small_autoencoder, noise, read_log, shorten
from tools.starter.networks.autoencoder import Canvas, score_pixels
from tools.starter.networks.decoder import (
    PERCEPTUAL_WEIGHT,
    Rivals,
    plain_of_rivals,
    score,
    sharpen_decoder,
    shown_by,
)
from tools.starter.networks.discriminator import PatchDiscriminator
from tools.starter.networks.perceptual import PerceptualDistance, fill
from tools.starter.networks.redrawn import Redrawn
from trainers.randomness import generator

SMALL = replace(shorten(6, 3), batch=4, rate=0.01)


@pytest.fixture(scope="module")
def perceptual() -> PerceptualDistance:
    return fill(PerceptualDistance(), make_arrays())


@pytest.fixture(scope="module")
def redrawn() -> Redrawn:
    """Each picture is of one tone, and its latents have the row's number."""
    latents = torch.arange(4, dtype=torch.float16)[:, None, None, None].expand(-1, 4, 16, 16) / 64
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None].repeat(128, 1).repeat(128, 2).repeat(3, 3)
    return Redrawn(latents, pictures)


def test_the_score_is_of_pixels_features_of_a_quarter_and_the_rivals(perceptual):
    drawn, images = noise(8, 3, 16, 16, seed=1).requires_grad_(), noise(8, 3, 16, 16)
    discriminator = PatchDiscriminator()
    values = score(drawn, images, perceptual, discriminator, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        features = perceptual(drawn[:2], images[:2]).mean()
    assert values["perceptual"].item() == pytest.approx(features.item(), rel=1e-3)
    rest = torch.autograd.grad(score_pixels(drawn, images)["loss"] + PERCEPTUAL_WEIGHT * features, drawn)[0]
    values["loss"].backward()
    pull = drawn.grad - rest
    assert float(pull.norm() / rest.norm()) == pytest.approx(0.3, rel=0.1)
    assert discriminator.layers[0].bias.grad.any()


def test_the_discriminator_is_trained_by_adamw():
    rivals = Rivals(make_small_autoencoder(), PatchDiscriminator())
    by_adamw = [name for name, p in rivals.named_parameters() if p.ndim > 1 and plain_of_rivals(name)]
    assert sum(name.startswith("discriminator.") for name in by_adamw) == 4
    assert "autoencoder.decoder.conv_out.weight" in by_adamw and "autoencoder.decoder.conv_in.weight" not in by_adamw


def test_steps_show_encoded_crops_whole_pictures_and_redrawn_ones_by_turns(autoencoder: Any, drawings, redrawn):
    show = shown_by(autoencoder, Canvas(drawings), redrawn, 32)
    for step, count, size in ((0, 32, 64), (10, 8, 128), (12, 32, 64)):
        with torch.no_grad():
            latents, images = show(step, generator("show"))
            assert images.shape == (count, 3, size, size) and latents.shape == (count, 4, size // 8, size // 8)
            posterior = autoencoder.encode(images).latent_dist
        away = (latents - posterior.mean) / posterior.std
        assert float(away.mean()) == pytest.approx(0, abs=0.1) and float(away.std()) == pytest.approx(1, abs=0.1)
    latents, images = show(1, generator("show"))
    rows = (latents[:, 0, 0, 0] * 64).int()
    assert latents.shape == (8, 4, 16, 16) and len({*rows.tolist()}) > 1
    assert torch.allclose(images[:, 0, 0, 0], rows / 127.5 - 1)


@pytest.mark.slow
def test_the_decoder_is_trained_and_the_latents_stay(
    autoencoder: Any, drawings, redrawn, perceptual, tmp_path, every_step_is_logged
):
    model = copy.deepcopy(autoencoder)
    sharpen_decoder(tmp_path, model, Canvas(drawings), redrawn, perceptual, {"noise": noise(2, 3, 32, 32)}, SMALL)
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines if "psnr noise" in line] == [3, 6]
    assert all(line["discriminator"] > 0 for line in lines if "loss" in line) and len(lines) == 8
    before = autoencoder.state_dict()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert "decoder.conv_out.weight" in moved and not model.training
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
