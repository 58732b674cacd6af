"""LoRA against the formulas of the papers, written out anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tests.trainers.adapters.layers import LAYERS, attach_to, input_for, make_site, theta_of
from trainers.adapters import LoRA
from trainers.adapters.method import Now


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("rslora", "scale"), [(False, 2 / 3), (True, 2 / math.sqrt(3))])
def test_the_change_is_scale_times_b_a(kind, rslora, scale):
    site = make_site(kind, LoRA(rank=3, alpha=2.0, rslora=rslora))
    theta = theta_of(site)
    expected = scale * torch.einsum("or,rk->ok", theta["B"], theta["A"]).reshape(site.op.shape)
    torch.testing.assert_close(site.dense(), expected)
    assert torch.linalg.matrix_rank(expected.flatten(1)) == 3


@pytest.mark.parametrize("kind", LAYERS)
def test_the_layer_computes_with_the_changed_weight(kind):
    site = make_site(kind, LoRA(rank=3, alpha=2.0))
    x, weight, bias = input_for(kind), site.weight() + site.dense(), site.layer.bias
    if kind == "linear":
        expected = F.linear(x, weight, bias)
    else:
        expected = F.conv2d(x, weight, bias, site.op.stride, site.op.padding, site.op.dilation)
    torch.testing.assert_close(site.layer(x), expected)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_dora_is_magnitude_times_direction_with_the_norm_outside_the_graph(kind, strength):
    site = make_site(kind, LoRA(rank=3, alpha=2.0, dora=True), size=0.1)
    placed = site.placed[0].values()
    changed = site.weight() + (2 / 3 * placed["B"] @ placed["A"]).reshape(site.op.shape)
    rows = changed.flatten(1)
    norm = rows.detach().pow(2).sum(1).sqrt()  # eq. 5 and §4.3
    weight = ((placed["m"] / norm)[:, None] * rows).reshape(site.op.shape)
    assert norm.shape == (20,)
    torch.testing.assert_close(site.dense(), weight - site.weight())
    merged = site.weight() + site.updates()[0].scaled(strength).dense(site.weight())
    torch.testing.assert_close(merged, site.weight() + strength * (weight - site.weight()))

    leaves = list(site.parameters())
    x = input_for(kind)
    ours = torch.autograd.grad(site.layer(x).square().sum(), leaves)
    expected = site.op(x, weight)
    if site.layer.bias is not None:
        expected = expected + site.op.over_channels(site.layer.bias)
    theirs = torch.autograd.grad(expected.square().sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_rslora_keeps_its_scale_at_another_rank():
    for rslora in (False, True):
        method = LoRA(rank=4, alpha=3.0, rslora=rslora)
        other = method.with_rank(16)
        assert other.rank == 16
        assert other.scale == pytest.approx(method.scale)


def test_lora_plus_speeds_up_b_alone():
    method = LoRA(plus_ratio=16.0)
    assert [method.learning_rate_ratio(name) for name in ("A", "B", "m")] == [1.0, 16.0, 1.0]


def test_a_starts_kaiming_uniform_and_b_at_zero():
    network = attach_to(torch.nn.Sequential(torch.nn.Linear(300, 40)), LoRA(rank=32))
    theta = network.sites[0].placed[0].values()
    assert theta["A"].abs().max() <= 1 / math.sqrt(300)
    assert theta["A"].std().item() == pytest.approx(1 / math.sqrt(3 * 300), rel=0.03)
    assert not theta["B"].any()


def test_rank_dropout_drops_components_of_the_product():
    site = make_site("strided", LoRA(rank=3, alpha=2.0, rank_dropout=0.5))
    theta = theta_of(site)
    gates = set()
    for draw in range(12):
        (update,) = site.updates(Now(seed=1, draw=draw, training=True))
        gates.add(tuple(update.gate.tolist()))
        expected = 2 / 3 * (theta["B"] * update.gate) @ theta["A"]
        torch.testing.assert_close(update.dense(), expected.view(site.op.shape))
    assert {value for gate in gates for value in gate} == {0.0, 2.0}
    assert len(gates) > 3


def test_lora_fits_a_matrix_down_to_its_tail_singular_values():
    draw = torch.Generator().manual_seed(0)
    target = torch.randn(14, 10, generator=draw, dtype=torch.float64)
    layer = torch.nn.Linear(10, 14, bias=False).double().requires_grad_(False)
    network = attach_to(torch.nn.Sequential(layer), LoRA(rank=3, alpha=2.0))
    site = network.double().sites[0]
    wanted = layer.weight + target
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe", history_size=30)
    eye = torch.eye(10, dtype=torch.float64)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (layer(eye).T - wanted).square().sum()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
    tail = torch.linalg.svdvals(target)[3:].square().sum()  # Eckart and Young: no matrix of rank 3 comes closer
    assert loss().item() == pytest.approx(tail.item(), rel=1e-6)
    assert torch.linalg.matrix_rank(site.dense()) == 3
