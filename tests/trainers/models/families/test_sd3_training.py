"""Training Stable Diffusion 3 and drawing with it: the loss and the pictures beside diffusers', styles combined."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from tests.pairs import seldom_but
from tests.tiny_flow import tiny_flow, tiny_flow_folder
from tests.trainers.adapters.layers import shake
from tests.trainers.tiny_runs import (
    METHODS,
    equal,
    quick_settings,
    style_metadata,
    style_tensors,
)
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.composition.compose import compose
from trainers.composition.ways import read_composition
from trainers.config.build import build_config
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.formats.read import read_style
from trainers.formats.write.core import write_style
from trainers.models.bases.recognise import settings_of_base
from trainers.models.load import load_model
from trainers.models.samplers import make_scheduler, spacing
from trainers.runs.events import Recorder
from trainers.runs.run import Run
from trainers.sampling.denoise import denoise
from trainers.sampling.sample import SamplingParams, draw
from trainers.training.opening import check_base
from trainers.training.step.loss import timestep_weights
from trainers.training.train import resume, train

pytestmark = pytest.mark.slow

TEXTS = ["a fox", "the moon over a row of houses"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_flow_folder("sd3", tmp_path_factory.mktemp("sd3") / "base")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(Base(model=str(folder)), torch.float32, "cpu")


@pytest.mark.parametrize(
    ("t5", "guidance"), seldom_but([(True, 4.5), (False, 1.0)], [(True, 1.0), (True, 4.5), (False, 1.0), (False, 4.5)])
)
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


def test_text_encoders_train_beside_t5(folder, images, no_pictures, tmp_path):
    """Both CLIP encoders do, and checkpointing leaves T5 alone, whose dropout would give other text each time."""
    layers = {"targets": {"unet": "attn", "text_encoder": "attn"}, "train": {"gradient_checkpointing": True}}
    config = quick_settings(folder, images, settings_of_base(str(folder)), layers, {"sample": {"steps": 1}})
    runs = [train(config, tmp_path / name) for name in ("one", "again")]
    one, again = (style_tensors(run.style) for run in runs)
    assert equal(one, again) and {key.split("_")[1] for key in one} == {"unet", "te1", "te2"}
    written = style_metadata(runs[0].style)
    assert written["ss_base_model_version"] == "5-medium" and "modelspec.prediction_type" not in written
    assert written["modelspec.architecture"] == "stable-diffusion-3-5-medium/lora"
    # T5 comes and goes with a download, and the captions of a run must not change on its way
    t5, aside = folder / "text_encoder_3", tmp_path / "aside"
    t5.rename(aside)
    try:
        with pytest.raises(VelaturaError, match="dusk was trained with T5, a text encoder that base lacks now"):
            resume(Run(runs[0].run), steps=3)
    finally:
        aside.rename(t5)


@pytest.mark.parametrize(
    ("before", "checkpoints", "said"),
    [
        (3, 1, "with T5, a text encoder that base lacks now.*put it back"),
        (2, 1, None),
        (3, 0, None),
        (9, 1, "with T5"),
        (None, 1, None),
    ],
)
def test_a_run_goes_on_only_with_the_text_encoders_it_had(before, checkpoints, said, model, tmp_path):
    run, without = Run(tmp_path / "dusk"), replace(model, text_encoders=model.text_encoders[:2])
    run.folder.mkdir()
    Recorder(run.folder)("start", **({} if before is None else {"text_encoders": before}))
    for step in range(checkpoints):
        run.checkpoint(step + 1).mkdir(parents=True)
    with pytest.raises(VelaturaError, match=f"dusk was trained {said}") if said else nullcontext():
        check_base(run, without)
    Recorder(run.folder)("start", family="flux")
    with pytest.raises(VelaturaError, match=r"of Flux\.1, and base is one of Stable") if checkpoints else nullcontext():
        check_base(run, model)
    Recorder(run.folder)("start", **({} if before is None else {"text_encoders": before}))
    if before == 2:
        with pytest.raises(VelaturaError, match="dusk was trained without T5, a text encoder that base has now"):
            check_base(run, model)


def test_styles_are_combined_in_every_way(model, tmp_path):
    found = []
    for number, name in enumerate(("lora", "lokr")):
        method = build_config({"name": "x", "method": METHODS[name]}).method
        network = attach(model.parts, method, Targets(unet="attn-mlp", text_encoder="attn"), seed=number)
        shake(network, 0.05)
        write_style(tmp_path / f"{name}.safetensors", network, "sd3", model.config, {"velatura.family": "sd3"}, "fp32")
        network.remove()
        found.append((read_style(tmp_path / f"{name}.safetensors"), 0.8))
    params = SamplingParams(prompts=("a fox",), steps=2, guidance=4.5, size=(32, 48), sampler="euler")

    def drawn(way, styles):
        network, styling = compose(model, styles, read_composition(way), params.steps, 7)
        try:
            (picture,) = draw(model, params, None, styling)
        finally:
            network.remove()
        return torch.tensor(list(picture.getdata())).float()

    bare, one, both = (drawn("sum", styles) for styles in ([], found[:1], found))
    assert (one - bare).abs().max() > 1 and (both - one).abs().max() > 1
    assert (drawn("svd:64", found) - both).abs().max() <= 1 and (drawn("dare:0", found) - both).abs().max() <= 1
    for way in ("svd:1", "ties:0.3", "switch:1", "composite", "k-lora:1.5"):
        assert all((drawn(way, found) - other).abs().max() > 1 for other in (bare, both)), way
    assert (drawn("composite", [found[0], found[0]]) - one).abs().max() <= 1, "guided by the same style twice"
