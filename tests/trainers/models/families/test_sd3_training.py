"""Training Stable Diffusion 3 and drawing with it: every method, the loss and the pictures beside diffusers'."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.tiny_flow import tiny_flow, tiny_flow_folder
from tests.trainers.adapters.layers import shake
from tests.trainers.tiny_runs import (
    METHODS,
    equal,
    quick_settings,
    state_of,
    stopping_at,
    style_metadata,
    style_tensors,
)
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.composition.apply import apply_styles
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.formats.read import read_style
from trainers.formats.write.core import write_style
from trainers.models.bases.recognise import settings_of_base
from trainers.models.load import load_model
from trainers.models.samplers import make_scheduler, spacing
from trainers.runs.run import Run
from trainers.sampling.denoise import denoise
from trainers.training.loss import timestep_weights
from trainers.training.train import resume, train

TEXTS = ["a fox", "the moon over a row of houses"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_flow_folder("sd3", tmp_path_factory.mktemp("sd3") / "base")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


def method_of(name):
    if name == "vpt":
        return build_config({"name": "x", "method": {"name": "vpt", "tokens": 3, "variant": "image"}}).method
    return build_config({"name": "x", "method": METHODS[name]}).method


@torch.no_grad()
def output(model):
    latents = torch.randn(2, 16, 8, 12, generator=torch.Generator().manual_seed(1))
    return model.predict(latents, torch.tensor([150.0, 900.0]), model.encode(TEXTS))


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name, model, tmp_path):
    """No effect at the start, live = merged, written = reloaded; text encoders too, where a method can change them."""
    encoders = tuple(map(copy.deepcopy, model.text_encoders[:2]))
    model = replace(model, denoiser=copy.deepcopy(model.denoiser), text_encoders=(*encoders, model.text_encoders[2]))
    method, bare = method_of(name), output(model)
    scale = bare.abs().max().item()
    targets = Targets(unet="full", text_encoder="none" if name in ("vpt", "t-lora") else "attn-mlp")
    network = attach(model.parts, method, targets, seed=3)
    started = (output(model) - bare).abs().max()
    assert started < 1e-5 * scale or name == "vpt"  # its tokens are noise, unless they are gated
    shake(network, 0.05)
    live = output(model)
    assert (live - bare).abs().max() > 1e-3
    write_style(tmp_path / "s.safetensors", network, "sd3", model.config, {"velatura.family": "sd3"}, "fp32")
    network.remove()
    assert torch.equal(output(model), bare)
    again = apply_styles(model.parts, "sd3", [(read_style(tmp_path / "s.safetensors"), 1.0)])
    reloaded = output(model)
    again.remove()
    assert again.warnings == [] and (reloaded - live).abs().max() < 1e-5 * scale
    if method.merges:
        network = attach(model.parts, method, targets, seed=3)
        shake(network, 0.05)
        network.merge()
        assert (output(model) - live).abs().max() < 1e-5 * scale


@pytest.mark.parametrize("t5", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_draws_what_diffusers_pipeline_draws(t5, guidance, model, tmp_path):
    pipeline = tiny_flow("sd3", t5=t5)
    if not t5:
        model = load_model(Base(model=str(tiny_flow_folder("sd3", tmp_path / "b", t5=False))), torch.float32, "cpu")
    noise = torch.randn(1, 16, 4, 6, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        prompt=TEXTS[0], negative_prompt="red", height=32, width=48, num_inference_steps=3, latents=noise.clone(),
        guidance_scale=guidance, output_type="latent",
    ).images  # fmt: skip
    text = model.encode(["red", TEXTS[0]] if guidance > 1 else [TEXTS[0]])
    ours = denoise(
        model,
        make_scheduler(model.schedule, "euler", 32 * 48),
        spacing(model.schedule, "euler", 3),
        noise,
        lambda call: None if call else text,
        [torch.Generator()],
        guidance,
        lambda _call: None,
    )
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max() and (ours - noise).abs().max() > 0.1


@pytest.mark.parametrize(
    ("preconditioned", "scheme", "ours"),
    [
        (True, "none", "sigma-squared"),
        (True, "sigma_sqrt", "none"),  # σ² · σ⁻²
        (False, "none", "none"),
        (False, "none", "auto"),
        (False, "cosmap", "cosmap"),
    ],
)
def test_loss_is_that_of_diffusers_training_script(preconditioned, scheme, ours, model):
    """`train_dreambooth_lora_sd3.py`: with `--precondition_outputs 1`, x̂₀ = x_t − σ v is compared with x₀."""
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    draw = torch.Generator().manual_seed(5)
    latents, noise = torch.randn(2, 16, 8, 8, generator=draw), torch.randn(2, 16, 8, 8, generator=draw)
    t = torch.tensor([230.0, 870.0])
    sigmas, text = (t / 1000).view(-1, 1, 1, 1), model.encode(TEXTS)
    noisy = (1.0 - sigmas) * latents + sigmas * noise
    with torch.no_grad():
        found = model.denoiser(noisy, text.context, text.pooled, t, return_dict=False)[0]
        predicted = model.predict(model.schedule.add_noise(latents, noise, t), t, text)
    found, target = (found * -sigmas + noisy, latents) if preconditioned else (found, noise - latents)
    weighting = compute_loss_weighting_for_sd3(weighting_scheme=scheme, sigmas=sigmas)
    theirs = (weighting.float() * (found.float() - target.float()) ** 2).reshape(2, -1).mean(1).mean()
    weights = timestep_weights(model.schedule, t, build_config({"name": "x", "loss": {"weighting": ours}}).loss)
    error = (predicted - model.schedule.target(latents, noise, t)).square().mean((1, 2, 3))
    assert (weights * error).mean().item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_cut_run_goes_on_to_the_bit(folder, images, tmp_path):
    layers = {
        "method": {"name": "lora", "rank": 2, "alpha": 1.0, "dropout": 0.2},
        "targets": {"unet": "attn", "text_encoder": "attn"},
        "train": {"steps": 3, "ema": 0.9, "gradient_checkpointing": True},
        "sample": {"steps": 1},
    }
    config = quick_settings(folder, images, settings_of_base(str(folder)), layers)
    whole = train(config, tmp_path / "whole")
    train(config, tmp_path / "cut", listener=stopping_at(Run(tmp_path / "cut" / "dusk"), 1))
    again = resume(Run(tmp_path / "cut" / "dusk"))
    assert again.steps == whole.steps == 3 and whole.difference is not None and whole.difference <= 1
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert equal(state_of(Run(whole.run), 3), state_of(Run(again.run), 3))
    written = style_metadata(whole.style)
    assert written["ss_base_model_version"] == "5-medium" and "modelspec.prediction_type" not in written
    assert written["modelspec.architecture"] == "stable-diffusion-3-5-medium/lora"
    assert any(key.startswith("lora_te2_") for key in style_tensors(whole.style))
