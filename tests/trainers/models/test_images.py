"""Pixels and latents, the forward pass, and pipelines around a model's own networks."""

from __future__ import annotations

import pytest
import torch

from tests.pairs import seldom_but
from tests.pipelines import make_pipeline
from tests.tiny import FAMILIES
from trainers.config.sections import Base
from trainers.models.images import decode_latents, encode_images
from trainers.models.load import load_model


def pixels(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_latents_are_scaled_as_the_network_expects(family, tiny_models):
    model, images = tiny_models[family], pixels(2, 3, 64, 48)
    mean, std = encode_images(model, images)
    posterior = model.vae.encode(images).latent_dist
    factor = {"sd1": 0.18215, "sdxl": 0.13025}[family]
    assert mean.shape == std.shape == (2, 4, 8, 6)
    assert torch.allclose(mean, posterior.mean * factor)
    assert torch.allclose(std, torch.exp(0.5 * posterior.logvar) * factor)
    decoded = decode_latents(model, mean)
    assert torch.allclose(decoded, model.vae.decode(posterior.mean).sample.clamp(-1, 1), atol=1e-5)
    assert decoded.shape == images.shape
    assert decoded.abs().max() <= 1


def test_shift(tiny_models):
    model = tiny_models["sd1"]
    before, _ = encode_images(model, pixels(1, 3, 32, 32))
    decoded = decode_latents(model, before)
    model.vae.register_to_config(shift_factor=0.5)
    try:
        after, _ = encode_images(model, pixels(1, 3, 32, 32))
        assert torch.allclose(after, before - 0.5 * 0.18215, atol=1e-6)
        assert torch.allclose(decode_latents(model, after), decoded, atol=1e-5)
    finally:
        model.vae.register_to_config(shift_factor=None)


def test_starter_reconstructs_a_picture(starter):
    """A real autoencoder: a flat disc on white, as in its training images, comes back nearly as it was."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 128), torch.linspace(-1, 1, 128), indexing="ij")
    disc = (x**2 + y**2 < 0.5)[None]
    picture = torch.where(disc, torch.tensor([1.0, 0.5, -0.6])[:, None, None], torch.ones(3, 1, 1))[None]
    mean, std = encode_images(starter, picture)
    assert (decode_latents(starter, mean) - picture).square().mean().sqrt() < 0.12
    assert std.mean() < 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_predict(family, tiny_models):
    model = tiny_models[family]
    text = model.encode(["a cat", "a dog"])
    latents = torch.randn(2, 4, 8, 10, generator=torch.Generator().manual_seed(0))
    sizes, t = [(64, 80), (70, 90)], torch.tensor([3, 700])
    ids = model.time_ids(sizes, [(0, 0), (4, 5)], [(64, 80)] * 2)
    out = model.predict(latents, t, text, ids)
    assert out.shape == latents.shape
    extra = None if ids is None else {"text_embeds": text.pooled, "time_ids": ids}
    theirs = model.denoiser(latents, t, encoder_hidden_states=text.context, added_cond_kwargs=extra).sample
    assert torch.equal(out, theirs)
    swapped = model.encode(["a dog", "a cat"])
    assert (model.predict(latents, t, swapped, ids) - out).abs().max() > 1e-4
    if ids is not None:
        assert (model.predict(latents, t, text, ids.flip(0)) - out).abs().max() > 1e-4


def test_images_do_not_mix_in_a_batch(tiny_models):
    model = tiny_models["sdxl"]
    text = model.encode(["a cat", "a dog"])
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ids = model.time_ids([(64, 64), (90, 80)], [(0, 0), (9, 9)], [(64, 64)] * 2)
    t = torch.tensor([3, 700])
    both = model.predict(latents, t, text, ids)
    second = model.encode(["a dog"])
    assert torch.allclose(both[1:], model.predict(latents[1:], t[1:], second, ids[1:]), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpm++"])
def test_pipeline_uses_the_models_own_parts(family, sampler, tiny_models):
    model = tiny_models[family]
    pipeline = make_pipeline(model, sampler)
    assert pipeline.unet is model.denoiser
    assert pipeline.vae is model.vae
    assert pipeline.scheduler.config.prediction_type == model.prediction
    draw = torch.Generator().manual_seed(1)
    common = {"num_inference_steps": 2, "height": 64, "width": 48, "generator": draw, "output_type": "np"}
    by_prompt = pipeline(prompt=["a cat"], negative_prompt=[""], **common).images
    assert by_prompt.shape == (1, 64, 48, 3)
    text, empty = model.encode(["a cat"]), model.encode([""])
    given = {"prompt_embeds": text.context, "negative_prompt_embeds": empty.context}
    if family == "sdxl":
        given |= {"pooled_prompt_embeds": text.pooled, "negative_pooled_prompt_embeds": empty.pooled}
    by_text = pipeline(**given, **common | {"generator": torch.Generator().manual_seed(1)}).images
    assert abs(by_prompt - by_text).max() < 1e-5


@pytest.mark.parametrize("family", seldom_but(("sdxl",), ("sd1", "sdxl")))
def test_bf16_networks_with_an_fp32_vae(family, tiny_bases):
    model = load_model(Base(model=str(tiny_bases[family])), torch.bfloat16, "cpu")
    assert model.dtype == torch.bfloat16
    assert all(encoder.dtype == torch.bfloat16 for encoder in model.text_encoders)
    assert model.vae.dtype == torch.float32
    mean, _ = encode_images(model, pixels(1, 3, 64, 64).bfloat16())
    assert mean.dtype == torch.float32
    ids = model.time_ids([(64, 64)], [(0, 0)], [(64, 64)])
    out = model.predict(mean, torch.tensor([5]), model.encode(["cat"]), ids)
    assert out.dtype == torch.bfloat16
    picture = make_pipeline(model)("cat", num_inference_steps=2, height=64, width=64, output_type="np").images
    assert picture.shape == (1, 64, 64, 3)
