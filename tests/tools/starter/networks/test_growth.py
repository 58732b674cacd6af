"""What is grown does at first what it grew from, to the bit, and every part that was added can learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.tools.starter.small import make_small_denoiser
from tools.starter.networks.autoencoder import Design, make_autoencoder
from tools.starter.networks.growth import QUIET, grow_autoencoder, grow_denoiser
from trainers.errors import VelaturaError
from trainers.randomness import generator

THIN = Design(widths=(8, 8, 16))


@pytest.mark.parametrize("design", [replace(THIN, layers=2), replace(THIN, channels=7), Design((8, 8, 16), 2, 8)])
def test_an_autoencoder_that_is_grown_decodes_as_before(design):
    torch.manual_seed(0)
    old = make_autoencoder(THIN).eval()
    new = grow_autoencoder(design, old).eval()
    images = torch.rand(2, 3, 32, 32, generator=generator("grown")) * 2 - 1
    few = THIN.channels
    with torch.no_grad():
        before, after = (model.encode(images).latent_dist for model in (old, new))
        assert torch.allclose(before.mean, after.mean[:, :few], atol=1e-6)
        assert torch.allclose(before.logvar, after.logvar[:, :few], atol=1e-6)
        assert (after.logvar[:, few:] == QUIET).all()
        assert torch.allclose(old.decode(before.mean).sample, new.decode(after.mean).sample, atol=1e-6)
    assert sum(p.numel() for p in new.parameters()) > sum(p.numel() for p in old.parameters())
    new.decode(new.encode(images).latent_dist.mean).sample.square().sum().backward()
    heard = new.decoder.conv_in.weight.grad[:, few:]
    assert heard.shape[1] == design.channels - few and heard.flatten(2).any(-1).all()
    if design.layers == 2:
        assert new.decoder.up_blocks[0].resnets[2].conv2.weight.grad.any()


@pytest.mark.parametrize(
    "design", [replace(THIN, widths=(8, 8, 16, 16)), Design(widths=(8, 8), layers=2), replace(THIN, channels=3)]
)
def test_other_levels_and_fewer_latents_cannot_be_grown(design):
    with pytest.raises(VelaturaError, match="cannot grow from the trained one; train it anew"):
        grow_autoencoder(design, make_autoencoder(THIN))


def test_a_denoiser_that_is_grown_predicts_the_latents_it_knew_as_before():
    torch.manual_seed(0)
    old = make_small_denoiser(4).eval()
    new = grow_denoiser(old, 7).eval()
    latents = torch.randn(2, 7, 16, 16, generator=generator("latents"))
    context = torch.randn(2, 5, 192, generator=generator("context"))
    t = torch.tensor([3, 900])
    with torch.no_grad():
        before, after = old(latents[:, :4], t, context).sample, new(latents, t, context).sample
    assert torch.allclose(before, after[:, :4], atol=1e-6) and not after[:, 4:].any()
    assert new.config.in_channels == new.config.out_channels == 7
    new(latents, t, context).sample.square().sum().backward()
    assert new.conv_in.weight.grad[:, 4:].flatten(2).any(-1).all()


def test_a_denoiser_cannot_forget_latents():
    with pytest.raises(VelaturaError, match="of 4 latents cannot grow to 3"):
        grow_denoiser(make_small_denoiser(4), 3)
