"""T-LoRA against its formulas, written out anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import LAYERS, input_for, make_site, put_on, shared_of, theta_of
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.tlora import TLoRA, smallest_values
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError


def test_the_rank_falls_with_the_noise():
    t = torch.tensor([0, 250, 500, 999, 1000])
    assert TLoRA(lowest=0.25).ranks(t, 1000, 16).tolist() == [16, 13, 10, 4, 4]
    assert TLoRA(lowest=0.25, curve=2.0).ranks(t, 1000, 16).tolist() == [16, math.floor(0.5625 * 12) + 4, 7, 4, 4]
    assert TLoRA(lowest=1.0).ranks(t, 1000, 16).tolist() == [16] * 5


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("orthogonal", [True, False])
def test_each_image_has_the_rank_of_its_own_timestep(kind, orthogonal):
    method = TLoRA(rank=4, alpha=3.0, lowest=0.25, orthogonal=orthogonal)
    site = make_site(kind, method, size=0.1)
    theta, x = theta_of(site), input_for(kind, n=3)
    now = ForwardContext(timesteps=torch.tensor([10, 500, 990]))
    (update,) = site.updates(now)
    found = update.apply(site.op, x)
    for image, kept in enumerate((3, 2, 1)):
        A, B, A0 = theta["A"][:kept], theta["B"][:, :kept], theta.get("A0", torch.zeros(4, 1))[:kept]
        change = B @ A
        if orthogonal:
            S, S0 = theta["S"][:kept], theta["S0"][:kept]
            change = B @ torch.diag(S) @ A - theta["B0"][:, :kept] @ torch.diag(S0) @ A0
        weight = (3 / 4 * change).reshape(site.op.shape)
        torch.testing.assert_close(found[image : image + 1], site.op(x[image : image + 1], weight))


@pytest.mark.parametrize("kind", LAYERS)
def test_it_starts_orthonormal_and_without_effect(kind):
    site = put_on(LAYERS[kind](), TLoRA(rank=5, alpha=3.0))
    theta = theta_of(site)
    one = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(theta["A"] @ theta["A"].T, one, atol=1e-6, rtol=0)
    torch.testing.assert_close(theta["B"].T @ theta["B"], one, atol=1e-6, rtol=0)
    assert site.dense().abs().max() == 0
    assert {name for name, _ in site.thetas[0].named_parameters()} == {"A", "B", "S"}
    assert torch.equal(theta["S"].float(), shared_of(site)[f"S-20x{site.op.fan_in}"].float())


def test_it_starts_with_the_smallest_singular_values_of_a_random_matrix():
    draw = torch.Generator().manual_seed(4)
    found = smallest_values(30, 12, 4, 2.0, draw)
    R = torch.randn(12, 30, generator=torch.Generator().manual_seed(4)) / 2
    torch.testing.assert_close(found, torch.linalg.svdvals(R)[-4:])
    assert len(smallest_values(3, 12, 4, 4.0, draw)) == 3


@pytest.mark.parametrize(("start_std", "deviation"), [("1/rank", 1 / 64), ("1/sqrt(rank)", 1 / 8)])
def test_the_random_matrix_has_the_deviation_that_is_set(start_std, deviation):
    """Σσ² of a whole square matrix is the sum of its entries' squares: n² of them."""
    site = put_on(nn.Linear(64, 64), TLoRA(rank=64, start_std=start_std))
    entries = theta_of(site)["S"].square().sum() / 64**2
    assert entries.sqrt().item() == pytest.approx(deviation, rel=0.03)


def test_a_text_encoder_cannot_carry_it():
    from trainers.adapters.network import attach

    encoder = nn.ModuleDict({"q_proj": nn.Linear(8, 6)})
    with pytest.raises(VelaturaError, match="which this method cannot change"):
        attach({"text_encoder": encoder}, TLoRA(rank=2), Targets(unet="none", text_encoder=("q_proj",)), 0)
