"""Full fine-tuning: gradients in closed form, one product in fp32 and two in 16 bits, nothing weight-sized kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.layers import LAYERS, attach_to, input_for, make_layers, make_site, put_on, shake, theta_of
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.site import Site
from trainers.adapters.targets import Targets
from trainers.config.sections import Base
from trainers.models.storage.packed import pack, packer_of


@pytest.mark.parametrize("kind", LAYERS)
def test_the_change_is_the_trained_matrix_itself(kind):
    site = make_site(kind, Full())
    D = theta_of(site)["D"]
    assert D.shape == site.op.shape and torch.equal(site.dense(), D)
    assert not theta_of(put_on(LAYERS[kind](), Full()))["D"].any()


def test_the_gradient_of_a_linear_layer_is_that_of_the_output_times_its_input():
    """y = (W + D) x + b: dD = Σ g xᵀ, dx = (W + D)ᵀ g."""
    site, x = make_site("linear", Full()), input_for("linear").requires_grad_()
    y = site.layer(x)
    W, D, b = site.weight(), theta_of(site)["D"], site.layer.bias.detach()
    torch.testing.assert_close(y, x @ (W + D).T + b)
    G = torch.randn_like(y)
    (parameter,) = site.parameters()
    dx, dD = torch.autograd.grad(y, (x, parameter), G)
    torch.testing.assert_close(dD, torch.einsum("nto,nti->oi", G, x.detach()))
    torch.testing.assert_close(dx, G @ (W + D))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_value_and_gradient_are_those_of_the_layer_with_the_changed_weight(kind, strength):
    site, x = make_site(kind, Full()), input_for(kind).requires_grad_()
    site._holder.strength = strength
    D, bias = theta_of(site)["D"].requires_grad_(), site.layer.bias
    plain = site.op(x, site.weight() + strength * D)
    plain = plain if bias is None else plain + site.op.over_channels(bias)
    y = site.layer(x)
    torch.testing.assert_close(y, plain)
    G = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, *site.parameters()), G)
    for found, expected in zip(ours, torch.autograd.grad(plain, (x, D), G), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_product_in_fp32_and_two_where_a_small_change_would_be_rounded_away(dtype):
    """bf16 keeps 8 bits: added to a weight of 1, a change of 2⁻¹⁰ is lost, and not in a product of its own."""
    layer = nn.Linear(2, 3, bias=False).to(dtype).requires_grad_(False)
    layer.weight.fill_(1)
    site = Site("unet", "layer", layer, ContextHolder(ForwardContext()))
    site.put(Full(), {}, torch.Generator())
    theta_of(site)["D"][:, 0] = 2**-10
    x = torch.tensor([[1.0, -1.0]], dtype=dtype)
    assert (site._instead_of_weight(x) is None) == (dtype == torch.bfloat16)
    assert layer(x).tolist() == [[2**-10] * 3]
    site.remove()
    assert "forward" not in vars(layer) and layer(x).tolist() == [[0.0] * 3]


def test_a_packed_weight_is_not_made_whole_to_be_kept():
    net = nn.Sequential(nn.Linear(96, 160)).requires_grad_(False)
    pack(net, "cpu", packer_of(Base(storage="nf4", double_quantisation=False)))
    site = Site("unet", "0", net[0], ContextHolder(ForwardContext()))
    site.put(Full(), {}, torch.Generator())
    x, kept = torch.randn(2, 96, requires_grad=True), list[int]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        y = net(x)
    assert site._instead_of_weight(x) is None and y.shape == (2, 160)
    assert sum(count == 96 * 160 for count in kept) == 1  # D itself


def test_beside_another_method_and_under_dropout_it_is_added():
    net, x = make_layers(), torch.randn(2, 4, 20)
    network = attach_to(net, Full(), LoRA(rank=2, alpha=3.0), targets=Targets(unet=("wide",)))
    shake(network)
    site = network.sites[0]
    with torch.no_grad():
        torch.testing.assert_close(net.wide(x), x @ (net.wide.weight + site.dense()).T)
    assert site._instead_of_weight(x) is None
    dropped = make_site("linear", Full(dropout=0.5)).eval()
    dropped._holder.context = ForwardContext(training=True)
    assert dropped._instead_of_weight(input_for("linear")) is None
    dropped._holder.context = ForwardContext()
    assert dropped._instead_of_weight(input_for("linear")) is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [lambda: nn.Linear(96, 160), lambda: nn.Conv2d(48, 80, 3, stride=2, padding=1)])
def test_nothing_weight_sized_is_kept_but_weight_and_change_themselves(make, dtype):
    layer = make().to(dtype).requires_grad_(False)
    site = Site("unet", "layer", layer, ContextHolder(ForwardContext()))
    site.put(Full(), {}, torch.Generator())
    x = torch.randn((2, 4, 96) if isinstance(layer, nn.Linear) else (1, 48, 4, 4)).to(dtype).requires_grad_()
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = layer(x)
    y.float().square().mean().backward()
    known = {t.untyped_storage().data_ptr() for t in (site.weight(), *site.parameters())}
    extra = [t.numel() for t in kept if t.untyped_storage().data_ptr() not in known]
    assert sum(extra) <= 2 * max(x.numel(), y.numel()) < layer.weight.numel() / 2
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in site.parameters())
