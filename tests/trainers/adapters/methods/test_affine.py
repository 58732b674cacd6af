"""IA³, SSF and BitFit against their formulas, written out anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.trainers.adapters.layers import LAYERS, input_for, make_site, put_on, theta_of
from trainers.adapters.context import ContextHolder, ForwardContext
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.network import attach
from trainers.adapters.site import Site, TensorView
from trainers.adapters.targets import Targets
from trainers.errors import VelaturaError

NORMS = {"group": (lambda: nn.GroupNorm(4, 12), (2, 12, 7, 12)), "layer": (lambda: nn.LayerNorm(12), (2, 5, 12))}


def channels(v: torch.Tensor, kind: str) -> torch.Tensor:
    return v if kind in ("linear", "layer") else v[:, None, None]


@pytest.mark.parametrize("kind", LAYERS)
def test_ssf_scales_and_shifts_what_a_layer_gives(kind):
    site = make_site(kind, SSF(missing_biases=True))
    theta, x = theta_of(site), input_for(kind)
    bare = site.op(x, site.weight())
    bias = site.bias()
    bare = bare if bias is None else bare + channels(bias, kind)
    expected = channels(theta["gamma"], kind) * bare + channels(theta["beta"], kind)
    torch.testing.assert_close(site.layer(x), expected)


@pytest.mark.parametrize(("kind", "width"), [("strided", 40), ("dilated", 20), ("pointwise", 20)])
@pytest.mark.parametrize("method", [SSF(missing_biases=True), BitFit(missing_biases=True)], ids=lambda m: m.name)
def test_a_convolution_whose_output_is_as_wide_as_it_has_channels_is_changed_along_its_channels(kind, width, method):
    site = make_site(kind, method)
    theta, x = theta_of(site), torch.randn(2, 12, 7, width, dtype=torch.float64)
    bare = site.layer.forward(x).detach()
    assert bare.shape[-1] == bare.shape[1] == 20
    scale, shift = theta.get("gamma", torch.ones(20).double()), theta["beta" if "beta" in theta else "d"]
    expected = scale[:, None, None] * bare + shift[:, None, None]
    torch.testing.assert_close(site.layer(x), expected)
    site.merge(1.0)
    torch.testing.assert_close(site.layer(x), expected)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("method", [SSF(), BitFit()])
def test_norms_are_changed_along_their_channels(kind, method):
    """Also where the picture is as wide as it has channels: the axis is the layer's kind, never a guess from sizes."""
    make, shape = NORMS[kind]
    norm = make()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = torch.randn(shape, dtype=torch.float64)
    bare = norm.double()(x).detach()
    site = put_on(norm, method, size=0.3)
    theta = theta_of(site)
    scale, shift = theta.get("gamma", torch.ones(12).double()), theta["beta" if "beta" in theta else "d"]
    expected = channels(scale, kind) * bare + channels(shift, kind)
    torch.testing.assert_close(norm(x), expected)
    site.merge(1.0)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_bitfit_adds_to_the_bias_alone(kind):
    site = make_site(kind, BitFit(missing_biases=True))
    x, d = input_for(kind), theta_of(site)["d"]
    bias = d if site.bias() is None else site.bias() + d
    torch.testing.assert_close(site.layer(x), site.op(x, site.weight()) + channels(bias, kind))
    assert site.dense().abs().max() == 0
    site.merge(0.5)
    torch.testing.assert_close(site.layer.bias.detach(), bias - 0.5 * d)


def test_ia3_scales_outputs_and_of_hidden_activations_the_half_that_is_not_the_gate():
    net = nn.ModuleDict({"ff": nn.ModuleDict({"net": nn.ModuleList([nn.ModuleDict({"proj": nn.Linear(12, 20)})])})})
    layer = net.get_submodule("ff.net.0.proj").double()
    x = torch.randn(5, 12, dtype=torch.float64)
    h, g = layer(x).detach().chunk(2, dim=-1)
    site = Site("unet", "block.ff.net.0.proj", layer.requires_grad_(False), ContextHolder(ForwardContext()))
    site.put(IA3(), TensorView(nn.Module()), torch.Generator())
    site.double()
    (scale,) = site.parameters()
    assert scale.shape == (10,)
    with torch.no_grad():
        scale.uniform_(-0.5, 0.5)
    hidden, gate = layer(x).chunk(2, dim=-1)
    torch.testing.assert_close(gate, g)
    bias = layer.bias[:10].detach()
    torch.testing.assert_close(hidden * F.gelu(gate), ((1 + scale) * (h - bias) + bias) * F.gelu(g))


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_ia3_scales_a_text_encoders_hidden_activations_where_they_are_read(strength):
    layer = nn.Linear(12, 20).double().requires_grad_(False)
    hidden = torch.randn(5, 12, dtype=torch.float64)
    holder = ContextHolder(ForwardContext(), strength)
    site = Site("text_encoder", "encoder.layers.0.mlp.fc2", layer, holder)
    assert IA3().sits_on("text_encoder", site.path, layer)
    assert not IA3().sits_on("text_encoder", "encoder.layers.0.mlp.fc1", layer)
    site.put(IA3(), TensorView(nn.Module()), torch.Generator())
    site.double()
    (scale,) = site.parameters()
    assert scale.shape == (12,) and torch.equal(layer(hidden), F.linear(hidden, layer.weight, layer.bias))
    with torch.no_grad():
        scale.uniform_(-0.5, 0.5)
    expected = F.linear((1 + strength * scale) * hidden, layer.weight, layer.bias)
    torch.testing.assert_close(layer(hidden), expected)
    layer(hidden).square().sum().backward()
    gradient = (2 * expected @ layer.weight * strength * hidden).sum(0)
    torch.testing.assert_close(scale.grad, gradient.detach())
    site.merge(strength)
    torch.testing.assert_close(layer(hidden), expected)
    everywhere = put_on(nn.Linear(12, 20), IA3(everywhere=True))
    assert theta_of(everywhere)["l"].shape == (20,)


def attention() -> nn.Module:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(8, 6) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(self.q_proj(x), self.k_proj(x), self.v_proj(x))

    torch.manual_seed(0)
    return Attention().double()


def test_a_keys_shift_has_no_effect_and_is_not_trained():
    net, x = attention(), torch.randn(2, 5, 8, dtype=torch.float64)
    net(x).square().sum().backward()
    assert net.k_proj.bias.grad.abs().max() < 1e-12 < 1e-3 < net.q_proj.bias.grad.abs().max()
    everything = Targets(unet=("*_proj",))
    paths = {site.path: set(theta_of(site)) for site in attach({"unet": attention()}, SSF(), everything, 0).sites}
    assert paths == {"q_proj": {"gamma", "beta"}, "k_proj": {"gamma"}, "v_proj": {"gamma", "beta"}}
    assert {site.path for site in attach({"unet": attention()}, BitFit(), everything, 0).sites} == {"q_proj", "v_proj"}
    with pytest.raises(VelaturaError, match=r"'k_proj' selects layers such as k_proj, which this method cannot change"):
        attach({"unet": attention()}, BitFit(), Targets(unet=("k_proj",)), 0)


def test_ssf_may_start_around_one_and_zero_as_in_its_paper():
    site = put_on(nn.Linear(12, 4000), SSF(spread=0.02))
    theta = theta_of(site)
    assert theta["gamma"].mean() == pytest.approx(1, abs=2e-3) and theta["gamma"].std() == pytest.approx(0.02, rel=0.1)
    assert theta["beta"].mean() == pytest.approx(0, abs=2e-3) and theta["beta"].std() == pytest.approx(0.02, rel=0.1)
    assert set(theta_of(put_on(nn.Linear(12, 20, bias=False), SSF()))) == {"gamma"}
