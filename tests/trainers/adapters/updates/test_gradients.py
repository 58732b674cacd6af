"""Gradients of every update by finite differences in fp64, and the same from both ways of running one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.pairs import covering_pairs
from tests.trainers.adapters.layers import LAYERS, VARIANTS, input_for, make_site, put_on
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.op import NARROW, POSITIONS, WIDE, Op
from trainers.adapters.site import Site
from trainers.adapters.updates import Affine, Hadamard, Kronecker, LowRank, Normalised, Update

TWO_WAYS = [name for name in VARIANTS if name.startswith(("loha", "lokr", "krona"))]
PAIRS = covering_pairs([*VARIANTS], [*LAYERS], {"linear", "strided"})
NORMS: dict[str, Callable[[], nn.Module]] = {"group": lambda: nn.GroupNorm(4, 12), "layer": lambda: nn.LayerNorm(12)}
NOW = ForwardContext()


def factored(update: Hadamard | Kronecker, site: Site, x: Tensor) -> Tensor:
    return update.apply_factored(site.op, x)


def built(update: Hadamard | Kronecker, site: Site, x: Tensor) -> Tensor:
    return update.apply_built(site.op, x)


def check(site: Site, run: Callable[[Any, Site, Tensor], Tensor], x: Tensor, context: ForwardContext = NOW) -> bool:
    """Gradients of x and of every trained tensor, the shared ones too, against finite differences."""
    (placed,) = site.placed
    held = [("own", name, value) for name, value in placed.theta.items()]
    held += [("shared", name, value) for name, value in placed.shared.items()]
    trained = [(kind, name) for kind, name, value in held if isinstance(value, nn.Parameter)]
    (start,) = site.updates(context)

    def function(x: Tensor, *values: Tensor) -> Tensor:
        found = {(kind, name): value.detach() for kind, name, value in held} | dict(zip(trained, values, strict=True))
        site._holder.context = context
        update = placed.method.update({name: value for (_, name), value in found.items()}, site)
        if isinstance(update, Normalised):  # its norm is outside the graph, so finite differences must not move it
            update = replace(update, norm=start.norm)
        return run(update, site, x)

    assert trained
    leaves = [value.detach().requires_grad_() for _, _, value in held if isinstance(value, nn.Parameter)]
    return torch.autograd.gradcheck(function, (x.requires_grad_(), *leaves), fast_mode=True)


def small(kind: str) -> Tensor:
    return input_for(kind, n=2)[:, :3] if kind == "linear" else input_for(kind, n=2)[..., :4, :5].contiguous()


def live(update: Update, site: Site, x: Tensor) -> Tensor:
    return update.apply(site.op, x, site.op(x, site.weight()))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_way_it_runs(kind, name):
    """With each image at a timestep of its own, which T-LoRA follows."""
    assert check(make_site(kind, VARIANTS[name]), live, small(kind), ForwardContext(timesteps=torch.tensor([100, 900])))


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("name", [name for name, method in VARIANTS.items() if "norm" in method.places])
def test_the_way_it_runs_on_a_norm(kind, name):
    norm = NORMS[kind]()
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    x = small("linear" if kind == "layer" else "strided")
    assert check(put_on(norm, VARIANTS[name], size=0.3), live, x)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", TWO_WAYS)
@pytest.mark.parametrize("way", [factored, built])
def test_each_way_of_running(kind, name, way):
    assert check(make_site(kind, VARIANTS[name]), way, small(kind))


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_dense_change(kind, name):
    def dense(update: Update, site: Site, x: Tensor) -> Tensor:
        change = update.dense(site.weight())
        change = change if update.shift is None else torch.cat([change.flatten(), update.shift])
        return change + 0 * x.sum()

    assert check(make_site(kind, VARIANTS[name]), dense, small(kind))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", TWO_WAYS)
def test_both_ways_are_equal_in_value_and_gradient(kind, name):
    site, x = make_site(kind, VARIANTS[name]), input_for(kind).requires_grad_()
    leaves = (x, *site.parameters())
    results = []
    for way in (factored, built, lambda u, s, x: s.op(x, u.dense())):
        y = way(site.updates()[0], site, x)
        weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)
        results.append((y, *torch.autograd.grad((y * weights).sum(), leaves)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_change_can_be_added_in_the_same_pass(kind, name):
    site, x = make_site(kind, VARIANTS[name]), input_for(kind)
    base = site.op(x, site.weight())
    below = torch.randn_like(base).requires_grad_()
    (update,) = site.updates()
    change = update.apply(site.op, x, base)
    together = update.apply(site.op, x, base, below)
    torch.testing.assert_close(together, below + change)
    (grad,) = torch.autograd.grad(together.square().sum(), below)
    torch.testing.assert_close(grad, 2 * (below + change).detach())
    if not isinstance(update, Affine):  # which works in the dtype of what it is added to
        coarse = update.apply(site.op, x, base, below.bfloat16())
        torch.testing.assert_close(coarse, below.bfloat16() + change)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (12, 40, 3, 3), (40, 12, 3, 3)])
@pytest.mark.parametrize("low_rank", [False, True])
def test_a_kronecker_product_mixes_channels_where_there_are_fewer(shape, low_rank):
    draw = torch.Generator().manual_seed(6)

    def leaf(*size: int) -> Tensor:
        return torch.randn(size, generator=draw, dtype=torch.float64).requires_grad_()

    op = Op(shape, padding=(1, 1))
    grows = shape[0] > shape[1]
    p, q = (2, 4) if grows else (4, 2)
    C, B, A = leaf(p, q), leaf(shape[0] // p, 2), leaf(2, op.fan_in // q)
    thin = LowRank(B, A, (shape[0] // p, shape[1] // q, *shape[2:]))
    update = Kronecker(C, thin if low_rank else thin.dense(), shape)
    x = leaf(2, 5, shape[1]) if op.is_linear else leaf(2, shape[1], 5, 4)
    assert update._mixes_first(op) == grows
    y, expected = update.apply_factored(op, x), op(x, update.dense())
    torch.testing.assert_close(y, expected)
    leaves = (x, C, B, A)
    ours, theirs = (torch.autograd.grad(z.square().sum(), leaves, retain_graph=True) for z in (y, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("inputs, channels", [(WIDE, NARROW), (WIDE, NARROW + 1), (WIDE - 1, NARROW)])
def test_the_gradients_of_a_thin_convolution_are_unfolded_on_many_positions(
    kernel, dilation, inputs, channels, monkeypatch
):
    calls: list[int] = []
    monkeypatch.setattr(F, "unfold", lambda *args, unfold=F.unfold: calls.append(1) or unfold(*args))
    conv = nn.Conv2d(inputs, channels, kernel, padding=tuple(dilation * (k // 2) for k in kernel), dilation=dilation)
    op, weight = Op.of(conv.double()), conv.weight.detach().requires_grad_()
    for height in (POSITIONS // 32 // 2, POSITIONS // 32 // 2 - 1):  # of two images
        x = torch.randn(2, inputs, height, 32, dtype=torch.float64, requires_grad=True)
        y = op(x, weight)
        grad = torch.randn_like(y)
        expected = torch.autograd.grad(y, (x, weight), grad)
        for both in ((True, True), (True, False), (False, True)):
            for needed, ours, theirs in zip(both, op.gradients(x, weight, grad, both), expected, strict=True):
                torch.testing.assert_close(ours, theirs) if needed else None
                assert needed or ours is None
    assert len(calls) == (3 if (inputs, channels) == (WIDE, NARROW) else 0)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", TWO_WAYS)
def test_building_gives_no_gradient_where_none_is_wanted(kind, name):
    site, x = make_site(kind, VARIANTS[name]), input_for(kind)
    (frozen, *rest) = site.parameters()
    frozen.requires_grad_(False)
    update: Update = site.updates()[0]
    assert isinstance(update, Hadamard | Kronecker)
    update.apply_built(site.op, x).square().sum().backward()
    assert x.grad is None and frozen.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in rest)


@pytest.mark.parametrize("shape", [(3, 12), (3, 5, 12), (3, 2, 5, 12)])
def test_a_gate_may_differ_from_image_to_image(shape):
    site = make_site("linear", LoRA(rank=2, alpha=3.0))
    (update,) = site.updates()
    gates = torch.tensor([[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]], dtype=torch.float64)
    x = torch.randn(shape, dtype=torch.float64)
    together = replace(update, gate=gates).apply(site.op, x)
    for i, gate in enumerate(gates):
        torch.testing.assert_close(together[i : i + 1], replace(update, gate=gate).apply(site.op, x[i : i + 1]))
    with pytest.raises(ValueError, match="between images"):
        replace(update, gate=gates).dense()


def test_a_gate_per_image_on_a_convolution():
    site = make_site("strided", LoRA(rank=2, alpha=3.0))
    (update,) = site.updates()
    assert isinstance(update, LowRank)
    gates = torch.tensor([[1.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    x = input_for("strided")
    together = replace(update, gate=gates).apply(site.op, x)
    for i, gate in enumerate(gates):
        torch.testing.assert_close(together[i : i + 1], replace(update, gate=gate).apply(site.op, x[i : i + 1]))
