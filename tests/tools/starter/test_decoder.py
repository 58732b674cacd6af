"""The sharper decoder: what it is shown, how it is scored, that the latents stay, that it resumes to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from tests.tools.starter.small import PowerCutError, make_arrays, make_small_autoencoder, read_log, shorten
from tools.starter import decoder
from tools.starter.decoder import (
    HELD,
    PERCEPTUAL_WEIGHT,
    Rivals,
    Workshop,
    as_images,
    measure_redrawn,
    plain_of_rivals,
    score,
    sharpen_decoder,
    shown_by,
)
from tools.starter.networks.autoencoder import psnr, score_pixels
from tools.starter.networks.discriminator import PatchDiscriminator
from tools.starter.networks.perceptual import PerceptualDistance, fill
from tools.starter.networks.redrawn import Redrawn
from tools.starter.networks.stage import Stage, go_on
from trainers.randomness import generator

CPU = torch.device("cpu")
SMALL = replace(shorten(6, 3), batch=4, rate=0.01)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator("noise", seed, *shape)) * 2 - 1


@pytest.fixture(scope="module")
def perceptual() -> PerceptualDistance:
    return fill(PerceptualDistance(), make_arrays())


@pytest.fixture(scope="module")
def redrawn() -> Redrawn:
    """Each picture is of one tone, and its latents have the row's number."""
    count = HELD + 4
    latents = torch.arange(count, dtype=torch.float16)[:, None, None, None].expand(-1, 4, 16, 16) / 64
    pictures = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(128, 1).repeat(128, 2).repeat(3, 3)
    return Redrawn(latents, pictures)


@pytest.fixture
def workshop(drawings: Path, perceptual: PerceptualDistance, every_step_is_logged: None) -> Workshop:
    torch.manual_seed(1)
    shipped = make_small_autoencoder().eval()
    return Workshop(drawings, shipped, perceptual, {"noto-v1": noise(2, 3, 32, 32)}, go_on, CPU)


def test_the_score_is_of_pixels_features_of_a_quarter_and_the_rivals(perceptual):
    drawn, images, discriminator = (
        noise(8, 3, 16, 16, seed=1).requires_grad_(),
        noise(8, 3, 16, 16),
        PatchDiscriminator(),
    )
    values = score(drawn, images, perceptual, discriminator, 0.3)
    assert set(values) == {"loss", "l1", "perceptual", "adversarial", "discriminator"}
    distance = perceptual(drawn[:2], images[:2]).mean()
    assert values["perceptual"].item() == pytest.approx(distance.item(), rel=0.02)  # in bf16
    with torch.autocast("cpu", torch.bfloat16):
        features = perceptual(drawn[:2], images[:2]).mean()
    rest = torch.autograd.grad(score_pixels(drawn, images)["loss"] + PERCEPTUAL_WEIGHT * features, drawn)[0]
    values["loss"].backward()
    pull = drawn.grad - rest
    assert float(pull.norm() / rest.norm()) == pytest.approx(0.3, rel=0.1)
    assert discriminator.layers[0].bias.grad.any()


def test_the_discriminator_is_trained_by_adamw():
    rivals = Rivals(make_small_autoencoder(), PatchDiscriminator())
    names = [name for name, parameter in rivals.named_parameters() if parameter.ndim > 1]
    by_adamw = [name for name in names if plain_of_rivals(name)]
    assert {name.split(".")[0] for name in by_adamw} == {"autoencoder", "discriminator"}
    assert sum(name.startswith("discriminator.") for name in by_adamw) == 4
    assert "autoencoder.decoder.conv_out.weight" in by_adamw and "autoencoder.decoder.conv_in.weight" not in by_adamw


def test_steps_show_encoded_crops_whole_pictures_and_redrawn_ones_by_turns(workshop, redrawn):
    show = shown_by(workshop.shipped, replace(SMALL, batch=32), workshop, redrawn)
    for step, count, size in ((0, 32, 64), (10, 8, 128), (12, 32, 64)):
        latents, images = show(step, generator("show"))
        assert images.shape == (count, 3, size, size) and latents.shape == (count, 4, size // 8, size // 8)
        with torch.no_grad():
            posterior = workshop.shipped.encode(images).latent_dist
        away = (latents - posterior.mean) / posterior.std
        assert float(away.mean()) == pytest.approx(0, abs=0.1) and float(away.std()) == pytest.approx(1, abs=0.1)
        assert torch.equal(latents, show(step, generator("show"))[0])
    rows = set[int]()
    for step in range(1, 60, 2):
        latents, images = show(step, generator("show", step))
        shown = (latents[:, 0, 0, 0] * 64).int().tolist()
        assert latents.shape == (8, 4, 16, 16) and torch.equal(images, as_images(redrawn, shown))
        rows |= {*shown}
    assert rows == {*range(HELD, HELD + 4)}  # those that are measured are never shown


def test_redrawn_pictures_are_measured_as_they_are_decoded(redrawn):
    model = make_small_autoencoder().eval()
    found = measure_redrawn(model, redrawn, CPU)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        drawn = model.decode(redrawn.latents[:HELD].float()).sample.float()
    true = torch.arange(HELD).view(-1, 1, 1, 1).expand(-1, 3, 128, 128) / 127.5 - 1
    assert found["psnr redrawn"] == pytest.approx(float(psnr(drawn, true).mean()), abs=0.02)
    assert set(found) == {"psnr redrawn", "sharpness redrawn"}


def make(folder: Path, workshop: Workshop, redrawn: Redrawn) -> tuple[dict[str, float], dict[str, Tensor]]:
    figures = sharpen_decoder(folder, workshop, redrawn, SMALL)
    return figures, AutoencoderKL.from_pretrained(folder / "vae").state_dict()


@pytest.mark.slow
def test_the_decoder_is_trained_and_the_latents_stay(workshop, redrawn, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "measure_redrawn", lambda *_: {"psnr redrawn": 1.0})
    figures, weights = make(tmp_path, workshop, redrawn)
    steps = [line for line in read_log(tmp_path) if "loss" in line]
    assert len(steps) == 6 and all(line["discriminator"] > 0 for line in steps)
    assert set(figures) == {"psnr noto-v1", "sharpness noto-v1", "psnr turned noto-v1", "psnr redrawn"}
    assert json.loads((tmp_path / "vae" / "figures.json").read_text(encoding="utf-8")) == figures
    shipped = workshop.shipped.state_dict()
    moved = {name for name in shipped if not torch.equal(weights[name], shipped[name])}
    assert "decoder.conv_out.weight" in moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
    monkeypatch.setattr(decoder, "Stage", None)  # what is made is only read
    assert make(tmp_path, workshop, redrawn)[0] == figures


@pytest.mark.thorough
@pytest.mark.slow
def test_a_decoder_that_was_cut_ends_with_the_same_bits(workshop, redrawn, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "measure_redrawn", lambda *_: {"psnr redrawn": 1.0})
    _, whole = make(tmp_path / "whole", workshop, redrawn)

    def cut(at: Stage | None) -> None:
        if at is not None and at.step == 4:
            at.save()
            raise PowerCutError

    with pytest.raises(PowerCutError):
        make(tmp_path / "cut", replace(workshop, between=cut), redrawn)
    _, found = make(tmp_path / "cut", workshop, redrawn)
    assert found.keys() == whole.keys() and all(torch.equal(found[name], tensor) for name, tensor in whole.items())
