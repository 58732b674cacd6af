"""LoRA against the formulas of the papers, written out anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tests.trainers.adapters.layers import LAYERS, attach_to, input_for, make_site, put_on, theta_of
from trainers.adapters.context import ForwardContext
from trainers.adapters.methods.lora import LoRA
from trainers.errors import VelaturaError


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
    placed = site.placed[0].theta
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
    theta = network.sites[0].placed[0].theta
    assert theta["A"].abs().max() <= 1 / math.sqrt(300)
    assert theta["A"].std().item() == pytest.approx(1 / math.sqrt(3 * 300), rel=0.03)
    assert not theta["B"].any()


def test_rank_dropout_drops_components_of_the_product():
    site = make_site("strided", LoRA(rank=3, alpha=2.0, rank_dropout=0.5))
    theta = theta_of(site)
    gates = set()
    for draw in range(12):
        (update,) = site.updates(ForwardContext(seed=1, draw=draw, training=True))
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


@pytest.mark.parametrize("kind", LAYERS)
def test_pissa_starts_from_the_principal_part_and_changes_nothing(kind):
    site = make_site(kind, LoRA(rank=3, alpha=2.0, start="pissa"), size=0.0)
    theta, W = theta_of(site), site.weight().flatten(1)
    U, S, Vh = torch.linalg.svd(W)
    torch.testing.assert_close(2 / 3 * theta["B"] @ theta["A"], (U[:, :3] * S[:3]) @ Vh[:3], atol=1e-3, rtol=0)
    torch.testing.assert_close(theta["A"] @ theta["A"].T, torch.diag(S[:3] * 3 / 2), atol=2e-3, rtol=0)
    assert site.dense().abs().max() == 0
    assert all(p.grad is None for p in site.parameters())


@pytest.mark.parametrize("kind", LAYERS)
def test_pissa_changes_the_weight_by_what_its_product_has_become(kind):
    site = make_site(kind, LoRA(rank=3, alpha=2.0, start="pissa"))
    theta = theta_of(site)
    expected = 2 / 3 * (theta["B"] @ theta["A"] - theta["B0"] @ theta["A0"])
    torch.testing.assert_close(site.dense().flatten(1), expected)
    assert site.updates()[0].rank == 6
    layer = site.layer.bfloat16()  # where a naive difference would be off by more than the change
    site.bfloat16()
    for name in ("A", "B"):
        dict(site.placed[0].theta)[name].data.copy_(theta[f"{name}0"])
    site.placed[0].theta["A0"].copy_(theta["A0"])
    site.placed[0].theta["B0"].copy_(theta["B0"])
    x = input_for(kind).bfloat16()
    site.remove()
    bare = layer(x)
    assert torch.equal(bare + site.updates()[0].apply(site.op, x), bare)


def test_pissa_of_a_thin_layer_fills_up_with_ordinary_rows():
    site = put_on(torch.nn.Linear(2, 20), LoRA(rank=3, alpha=2.0, start="pissa"))
    theta = theta_of(site)
    torch.testing.assert_close(2 / 3 * theta["B"] @ theta["A"], site.weight(), atol=1e-5, rtol=1e-5)
    assert theta["B"][:, 2].abs().max() == 0 < theta["A"][2].abs().max()


def test_pissa_learns_faster_than_lora():
    """The miniature of its claim: the first steps go further where the weight's own directions move."""
    torch.manual_seed(0)
    W = torch.randn(20, 4, dtype=torch.float64) @ torch.randn(4, 12, dtype=torch.float64)
    errors = {}
    for start in ("zero", "pissa"):
        layer = torch.nn.Linear(12, 20)
        layer.weight.data = W.clone()
        site = put_on(layer, LoRA(rank=4, alpha=4.0, start=start))
        optimizer = torch.optim.SGD(site.parameters(), lr=2e-4)
        for _ in range(50):
            optimizer.zero_grad()
            error = (site.dense() + 0.3 * W).square().sum()
            error.backward()
            optimizer.step()
        errors[start] = error.item() / (0.3 * W).square().sum().item()
    assert errors["pissa"] < 0.4 < 0.8 < errors["zero"]


def test_lora_fa_trains_b_alone_and_keeps_no_input():
    saved: list[torch.Size] = []
    layer = torch.nn.Linear(12, 20)
    x = torch.randn(7, 12, dtype=torch.float64)
    for freeze in (False, True):
        site = put_on(layer, LoRA(rank=3, alpha=2.0, freeze_a=freeze), size=0.3)
        assert {name for name, _ in site.thetas[0].named_parameters()} == ({"B"} if freeze else {"A", "B"})
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
            layer(x)
        site.remove()
        assert (x.shape in saved) != freeze


@pytest.mark.parametrize(("kind", "numbers"), [("strided", 3 * (12 + 20) + 9 * 9), ("pointwise", 3 * (12 + 20))])
@pytest.mark.parametrize("settings", [{}, {"freeze_a": True}])
def test_a_kernel_in_tuckers_form(kind, numbers, settings):
    site = make_site(kind, LoRA(rank=3, alpha=2.0, tucker=True, **settings))
    theta = theta_of(site)
    if kind == "strided":
        product = torch.einsum("or,rpkl,pi->oikl", theta["B"], theta["T"], theta["D"])
    else:
        assert set(theta) == {"A", "B"}
        product = (theta["B"] @ theta["A"])[..., None, None]
    torch.testing.assert_close(site.dense(), 2 / 3 * product)
    assert sum(t.numel() for t in theta.values()) == numbers
    assert sum(p.numel() for p in site.parameters()) == (60 if settings else numbers)
    start = make_site(kind, LoRA(rank=3, tucker=True), size=0.0)
    assert not start.dense().any() and all(t.any() for name, t in theta_of(start).items() if name != "B")


def test_a_principal_part_has_no_tucker_core():
    with pytest.raises(VelaturaError, match='tucker needs start = "zero"'):
        LoRA(tucker=True, start="pissa")


def test_nothing_learns_faster_than_what_does_not_learn():
    with pytest.raises(VelaturaError, match="plus_ratio = 4 has no effect with freeze_a"):
        LoRA(freeze_a=True, plus_ratio=4.0)


@pytest.mark.parametrize("kind", LAYERS)
def test_dora_is_finite_where_a_row_of_the_weight_is_zero(kind):
    layer, x = make_site(kind, LoRA(rank=1)).layer, input_for(kind)
    with torch.no_grad():
        layer.weight[0] = 0
    site = put_on(layer, LoRA(rank=3, alpha=2.0, dora=True))
    for _ in range(3):
        gradients = torch.autograd.grad(site.layer(x).square().sum(), list(site.parameters()))
        assert all(bool(each.isfinite().all()) for each in gradients)
        with torch.no_grad():
            for parameter, gradient in zip(site.parameters(), gradients, strict=True):
                parameter -= 1e-3 * gradient
    assert bool(site.dense().isfinite().all()) and site.dense().any()
