"""Tries of an autoencoder: grown exactly, scored by their parts, sharpened without moving the latents, kept apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tools.starter.small import PowerCutError, make_arrays, read_log, shorten
from tools.starter import tries
from tools.starter.networks.autoencoder import Design, Reconstruction, make_autoencoder, reference_images, score_pixels
from tools.starter.networks.discriminator import PatchDiscriminator
from tools.starter.networks.perceptual import PerceptualDistance, fill
from tools.starter.networks.stage import Schedule, go_on
from tools.starter.tries import (
    PERCEPTUAL_WEIGHT,
    TRIES,
    Rivals,
    Try,
    Workshop,
    check_settings,
    make_try,
    plain_of_rivals,
    score_learning,
    score_sharpening,
    shown_by,
)
from trainers.errors import VelaturaError
from trainers.randomness import generator

CPU = torch.device("cpu")
THIN = Design(widths=(8, 8, 16))
SMALL = Try("small", THIN, shorten(6, 3), replace(shorten(4, 2), rate=0.01), crop=32)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator("noise", seed, *shape)) * 2 - 1


@pytest.fixture(scope="module")
def perceptual() -> PerceptualDistance:
    return fill(PerceptualDistance(), make_arrays())


@pytest.fixture
def workshop(drawings: Path, perceptual: PerceptualDistance, every_step_is_logged: None) -> Workshop:
    torch.manual_seed(1)
    return Workshop(drawings, make_autoencoder(THIN).eval(), perceptual, {"noto-v1": noise(2, 3, 32, 32)}, go_on, CPU)


def found_in(shape: tuple[int, ...] = (8, 3, 16, 16)) -> Reconstruction:
    """A reconstruction whose drawn pictures have gradients."""
    model = make_autoencoder(THIN)
    images = noise(*shape)
    posterior = model.encode(images).latent_dist
    return Reconstruction(noise(*shape, seed=1).requires_grad_(), images, posterior)


@pytest.mark.parametrize(("design", "factor"), [(Design(), 8), (THIN, 4), *((t.design, None) for t in TRIES)])
def test_a_design_says_how_much_smaller_its_latents_are(design, factor):
    assert factor in (None, design.factor)
    with torch.no_grad():
        model = make_autoencoder(design)
        latents = model.encode(noise(1, 3, 32, 32)).latent_dist.mode()
        assert latents.shape == (1, design.channels, 32 // design.factor, 32 // design.factor)
        assert model.decode(latents).sample.shape == (1, 3, 32, 32)


def test_the_tries_fit_into_what_ships_and_see_as_much_in_a_step():
    assert len({wanted.name for wanted in TRIES}) == len(TRIES) == 2
    for wanted in TRIES:
        numbers = sum(parameter.numel() for parameter in make_autoencoder(wanted.design).parameters())
        assert 2 * numbers <= 15_000_000  # bytes in fp16, of 60 MB with the denoiser and the text encoder
        for schedule in wanted.stages.values():
            assert schedule.batch * wanted.crop**2 == pytest.approx(32 * 64**2, rel=0.02)
        assert wanted.crop % (2 * wanted.design.factor) == 0  # latents can be shrunk
        # As many numbers describe a picture in each of them: twice those of the shipped one.
        assert wanted.design.channels / wanted.design.factor**2 == pytest.approx(2 * 4 / 8**2)


def test_learning_is_scored_by_pixels_and_by_the_features_of_a_quarter(perceptual):
    found = found_in()
    values, pixels = score_learning(found, perceptual), score_pixels(found)
    distance = perceptual(found.drawn[:2], found.images[:2]).mean()
    assert set(values) == {"loss", "l1", "kl", "perceptual"}
    assert values["perceptual"].item() == pytest.approx(distance.item(), rel=0.02)  # in bf16
    expected = pixels["loss"] + PERCEPTUAL_WEIGHT * values["perceptual"]
    assert values["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_sharpening_pulls_at_a_picture_a_fifth_as_much_as_the_rest(perceptual):
    found, discriminator = found_in(), PatchDiscriminator()
    rest = torch.autograd.grad(score_learning(found, perceptual)["loss"], found.drawn)[0]
    values = score_sharpening(found, perceptual, discriminator)
    assert set(values) == {"loss", "l1", "kl", "perceptual", "adversarial", "discriminator"}
    values["loss"].backward()
    pull = found.drawn.grad - rest
    assert float(pull.norm() / rest.norm()) == pytest.approx(0.2, rel=0.1)
    assert discriminator.layers[0].bias.grad.any()


def test_the_discriminator_is_trained_by_adamw():
    names = [n for n, p in Rivals(make_autoencoder(THIN), PatchDiscriminator()).named_parameters() if p.ndim > 1]
    by_adamw = [name for name in names if plain_of_rivals(name)]
    assert {name.split(".")[0] for name in by_adamw} == {"autoencoder", "discriminator"}
    assert sum(name.startswith("discriminator.") for name in by_adamw) == 4
    assert "autoencoder.decoder.conv_out.weight" in by_adamw and "autoencoder.decoder.conv_in.weight" not in by_adamw


def test_a_step_shows_crops_and_now_and_then_a_few_whole_pictures(workshop):
    show = shown_by(SMALL, replace(SMALL.learn, batch=128), workshop)
    assert show(0, generator("show")).shape == (128, 3, 32, 32)
    assert show(5, generator("show")).shape == (8, 3, 128, 128)
    assert torch.equal(show(0, generator("show")), show(0, generator("show")))


def make(folder: Path, workshop: Workshop, wanted: Try = SMALL) -> tuple[dict[str, float], dict[str, Tensor]]:
    from diffusers import AutoencoderKL

    figures = make_try(folder, wanted, workshop)
    return figures, AutoencoderKL.from_pretrained(folder / wanted.result).state_dict()


@pytest.mark.slow
def test_a_try_is_learned_then_sharpened_and_kept_with_its_figures(workshop, tmp_path, monkeypatch):
    figures, weights = make(tmp_path, workshop)
    learned = torch.load(tmp_path / "learn" / "state.pt", weights_only=True)
    assert learned["step"] == 6 and len(read_log(tmp_path / "learn")) == 6 + 2
    sharpened = [line for line in read_log(tmp_path / "sharpen-6") if "loss" in line]
    assert len(sharpened) == 4 and all(line["discriminator"] > 0 for line in sharpened)
    assert set(figures) == {"psnr noto-v1", "sharpness noto-v1", "psnr turned noto-v1"}
    assert json.loads((tmp_path / "result-6-4" / "figures.json").read_text(encoding="utf-8")) == figures
    # Sharpening moves the decoder and leaves the latents as they were learned.
    names = [name for name, _ in make_autoencoder(THIN).named_parameters()]
    average = dict(zip(names, learned["ema"]["shadow_params"], strict=True))
    moved = {name for name in names if not torch.equal(weights[name], average[name])}
    assert moved and all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
    monkeypatch.setattr(tries, "learn", None)  # what is made is only read
    assert make(tmp_path, workshop)[0] == figures


@pytest.mark.thorough
@pytest.mark.slow
def test_a_try_that_was_cut_twice_ends_with_the_same_bits(workshop, tmp_path):
    _, whole = make(tmp_path / "whole", workshop)
    for stage, step in (("learn", 4), ("sharpen-6", 3)):

        def cut(at: Any, stage: str = stage, step: int = step) -> None:
            at.save()
            if (at.folder.name, at.step) == (stage, step):
                raise PowerCutError

        with pytest.raises(PowerCutError):
            make(tmp_path / "cut", replace(workshop, between=cut))
    _, found = make(tmp_path / "cut", workshop)
    assert found.keys() == whole.keys() and all(torch.equal(found[name], tensor) for name, tensor in whole.items())


@pytest.mark.thorough
@pytest.mark.slow
def test_a_try_with_more_steps_goes_on_and_one_with_other_settings_needs_another_name(workshop, tmp_path):
    make_try(tmp_path, SMALL, workshop)
    longer = replace(SMALL, learn=replace(SMALL.learn, steps=12))
    make_try(tmp_path, longer, workshop)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("learn", "sharpen-6", "sharpen-12", "result-6-4", "result-12-4", "try.json"),
    }
    assert (tmp_path / "learn" / "log-6.jsonl").exists()
    with pytest.raises(VelaturaError, match=r"holds a try with other settings \(crop\); give the new one another name"):
        check_settings(tmp_path, replace(SMALL, crop=64))


@pytest.mark.thorough
@pytest.mark.slow
def test_learning_lowers_the_loss_and_keeps_what_turns(workshop, tmp_path):
    schedule = Schedule(48, 8, 0.05, 1e-2, warmup=4, measure_every=8, ema_decay=0.8)
    drawn = {"noto-v1": reference_images(workshop.drawings, per_set=4)["noto-v1"]}
    tries.learn(tmp_path, replace(SMALL, learn=schedule), replace(workshop, unseen=drawn))
    measured = [line for line in read_log(tmp_path) if "psnr noto-v1" in line]
    assert measured[-1]["psnr noto-v1"] > measured[0]["psnr noto-v1"] + 0.5  # 0.9 on one make, over 1 on another
    assert measured[-1]["psnr turned noto-v1"] == pytest.approx(measured[-1]["psnr noto-v1"], abs=1)
