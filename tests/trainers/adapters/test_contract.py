"""Promises of every method: no effect at the start, live equals merged, all that trains learns, the base stays."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.trainers.adapters.layers import VARIANTS, WAITING, attach_to, make_input, make_layers, shake
from trainers.adapters import LoHA, LoKr, LoRA
from trainers.adapters.method import Now
from trainers.adapters.op import Packed
from trainers.models.storage import store_in_nf4


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_effect_at_the_start(variant):
    net, x = make_layers(), make_input()
    bare = net(x)
    attach_to(net, VARIANTS[variant])
    assert (net(x) - bare).abs().max() < 1e-5


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, -1.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_live_equals_merged(variant, strength):
    net, x = make_layers(), make_input()
    bare = net(x)
    network = attach_to(net, VARIANTS[variant])
    shake(network)
    with torch.no_grad(), network.at_strength(strength):
        live = net(x)
    network.merge(strength)
    assert (net(x) - live).abs().max() <= 1e-5 * max(1.0, live.abs().max().item())
    assert ((live - bare).abs().max() > 1e-3) == (strength != 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_on_a_base_in_nf4_it_is_as_on_the_weights_that_this_makes(variant):
    packed, whole, x = make_layers(), make_layers(), make_input()
    store_in_nf4(packed, "cpu", double=True)
    bytes_before = copy.deepcopy(packed.state_dict())
    for name, layer in whole.named_children():
        layer.weight.data.copy_(packed.get_submodule(name).weight)
    bare = packed(x)
    networks = [attach_to(net, VARIANTS[variant]) for net in (packed, whole)]
    assert (packed(x) - bare).abs().max() < 1e-5
    for network in networks:
        shake(network)
    for net in (packed, whole):
        net(x).pow(2).mean().backward()
    (names, found), (_, wanted) = (zip(*network.named_parameters(), strict=True) for network in networks)
    for name, one, other in zip(names, found, wanted, strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(bytes_before[key], value) for key, value in packed.state_dict().items())
    with torch.no_grad(), networks[0].at_strength(0.5):
        live = packed(x)
    networks[0].merge(0.5)
    assert (packed(x) - live).abs().max() <= 1e-5 * max(1.0, live.abs().max().item())
    assert not any(isinstance(site.layer, Packed) for site in networks[0].sites)


def test_several_updates_on_one_layer_add_up_in_any_order():
    methods = (LoRA(rank=2, alpha=3.0), LoHA(rank=2, alpha=1.0), LoKr(rank=3, alpha=2.0, factor=2))
    x = make_input()
    net = make_layers()
    network = attach_to(net, *methods)
    shake(network)
    site = network.sites[0]
    expected = sum(u.dense(site.weight()) for u in site.updates())
    torch.testing.assert_close(site.dense(), expected)
    with torch.no_grad():
        live = net(x)
    network.merge()
    assert (net(x) - live).abs().max() < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_trained_tensor_learns_and_the_base_stays(variant):
    net, x = make_layers(), make_input()
    before = copy.deepcopy(net.state_dict())
    network = attach_to(net, VARIANTS[variant])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    learned = set()
    for step in range(20):  # a factor that starts at zero hides its partner's gradient from the first step
        network.clock.now = Now(training=True, step=step)
        optimizer.zero_grad()
        net(x).pow(2).mean().backward()
        learned |= {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
    waiting = {name for name, _ in network.named_parameters() if name.endswith(WAITING.get(variant, ()))}
    assert learned == {name for name, _ in network.named_parameters()} - waiting
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_fp32_factors_work_on_a_bf16_base_without_autocast(variant):
    net, x = make_layers(torch.bfloat16), make_input().bfloat16()
    network = attach_to(net, VARIANTS[variant])
    shake(network)
    y = net(x)
    y.float().pow(2).mean().backward()
    assert y.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    exact, exact_network = make_layers(), None
    exact_network = attach_to(exact, VARIANTS[variant])
    exact_network.load_state_dict(network.state_dict())
    if variant != "lora-dora":  # its magnitudes start from the rounded weights of the bf16 base
        assert (y.float() - exact(make_input())).abs().max() < 0.1 * y.float().abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_removing_the_network_gives_the_base_back_bit_for_bit(variant):
    net, x = make_layers(), make_input()
    bare = net(x)
    network = attach_to(net, VARIANTS[variant])
    shake(network)
    with network.at_strength(0):
        assert torch.equal(net(x), bare)
    network.remove()
    assert torch.equal(net(x), bare)


@pytest.mark.parametrize("knob", ["dropout", "rank_dropout", "module_dropout"])
@pytest.mark.parametrize("method", [LoRA, LoHA, LoKr])
def test_dropout_depends_on_the_draw_alone_and_is_off_outside_training(method, knob):
    low_rank = {"full_matrix": False, "factor": 2} if method is LoKr else {}
    kind = method(rank=2, alpha=3.0, **low_rank, **{knob: 0.5})
    net, x = make_layers(), make_input()
    network = attach_to(net, kind)
    shake(network)
    still = net(x)

    def at(draw: int) -> torch.Tensor:
        network.clock.now = Now(seed=3, draw=draw, training=True)
        return net(x).detach()

    assert torch.equal(at(1), at(1))
    assert not torch.allclose(at(1), at(2))
    assert not torch.allclose(at(1), still)
    network.clock.now = Now()
    assert torch.equal(net(x), still)


@pytest.mark.parametrize("knob", ["dropout", "rank_dropout"])
def test_dropout_keeps_the_expected_update(knob):
    net = make_layers()
    layer = net.wide
    network = attach_to(net, LoRA(rank=8, alpha=4.0, **{knob: 0.25}))
    shake(network)
    site = next(s for s in network.sites if s.path == "wide")
    tokens = torch.randn(4, 20)
    change = layer(tokens) - torch.nn.functional.linear(tokens, layer.weight)
    total = torch.zeros_like(change)
    for draw in range(600):
        network.clock.now = Now(seed=0, draw=draw, training=True)
        total += (layer(tokens) - torch.nn.functional.linear(tokens, layer.weight)).detach()
    assert site.placed[0].method.rank == 8
    assert (total / 600 - change).abs().mean() < 0.12 * change.abs().mean()
