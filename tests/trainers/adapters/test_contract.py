"""Promises of every method: no effect at the start, live equals merged, all that trains learns, the base stays."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.pairs import seldom_but
from tests.trainers.adapters.layers import VARIANTS, WAITING, attach_to, make_input, make_layers, shake, timesteps
from tests.trainers.adapters.training import take_steps
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network
from trainers.adapters.op import Packed
from trainers.adapters.updates import LowRank
from trainers.config.sections import Base, Train
from trainers.models.storage.packed import pack, packer_of


def merged(net: nn.Module, network: Network, x: Tensor, strength: float) -> Tensor:
    """What the network merged gives; of one that does not merge, each image with the weights of its own timestep."""
    if network.merges:
        network.merge(strength)
        return net(x)
    network.remove()
    weights = {site: site.weight().clone() for site in network.sites}
    images = []
    for image, t in zip(x.split(1), timesteps(len(x)).split(1), strict=True):
        for site, W in weights.items():
            (update,) = site.updates(ForwardContext(timesteps=t))
            assert isinstance(update, LowRank) and update.gate is not None
            changed = W + strength * replace(update, gate=update.gate[0]).dense()
            if isinstance(site.layer, Packed):
                site.layer.unpack(changed)
            else:
                site.layer.weight.data.copy_(changed)
        images.append(net(image))
    return torch.cat(images)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_effect_at_the_start(variant):
    net, x = make_layers(), make_input()
    bare = net(x)
    network = attach_to(net, VARIANTS[variant]).eval()
    assert (net(x) - bare).abs().max() < 1e-5 and network.is_idle()
    shake(network)
    assert not network.is_idle()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_empty_batch_stays_empty(variant):
    net, x = make_layers(), make_input()[:0]
    bare = net(x)
    network = attach_to(net, VARIANTS[variant])
    shake(network)
    for training in (False, True):
        network.train(training)
        network.holder.context = replace(network.holder.context, training=training, timesteps=timesteps(0))
        assert net(x).shape == bare.shape


@pytest.mark.parametrize("strength", seldom_but((0.5, -1.0), (0.0, 0.5, 1.0, -1.0)))
@pytest.mark.parametrize("variant", VARIANTS)
def test_live_equals_merged(variant, strength):
    net, x = make_layers(), make_input()
    bare = net(x)
    network = attach_to(net, VARIANTS[variant])
    shake(network)
    with torch.no_grad(), network.at_strength(strength):
        live = net(x)
    assert (merged(net, network, x, strength) - live).abs().max() <= 1e-5 * max(1.0, live.abs().max().item())
    assert ((live - bare).abs().max() > 1e-3) == (strength != 0)


@pytest.mark.parametrize("strength", [0.7, -1.0])
def test_a_merged_weight_is_rounded_once(strength):
    net = make_layers(torch.bfloat16)
    network = attach_to(net, LoRA(rank=3, alpha=2.0))
    shake(network, 0.3)
    before, changes = {s: s.weight().clone() for s in network.sites}, {s: strength * s.dense() for s in network.sites}
    network.merge(strength)
    for site, W in before.items():
        assert torch.equal(site.weight(), (W.float() + changes[site]).bfloat16())
        assert not torch.equal(site.weight(), W + changes[site].bfloat16())  # a second rounding would show


@pytest.mark.parametrize("variant", VARIANTS)
def test_on_a_packed_base_it_is_as_on_the_weights_that_this_makes(variant):
    packed, whole, x = make_layers(), make_layers(), make_input()
    pack(packed, "cpu", packer_of(Base(storage="int8" if len(variant) % 2 else "nf4")))
    bytes_before = copy.deepcopy(packed.state_dict())
    for name, layer in whole.named_children():
        layer.weight.data.copy_(packed.get_submodule(name).weight)
    bare = packed(x)
    networks = [attach_to(net, VARIANTS[variant]).eval() for net in (packed, whole)]
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
    assert (merged(packed, networks[0], x, 0.5) - live).abs().max() <= 1e-5 * max(1.0, live.abs().max().item())
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


FROZEN = {
    "lora-fa": {"A"},
    "lora-pissa": {"A0", "B0"},
    "vera": {"A", "B"},
    "tied-a-frozen-b": {"B"},
    "tied-frozen": {"A", "B"},
    "t-lora": {"A0", "B0", "S0"},
}
"""Tensors that a method draws and leaves as they are, at least these."""
NORMS = {
    "adalora": (3.9432, 4.37753),
    "bitfit": (0, 0.335574),
    "bitfit-biases": (0, 0.410414),
    "boft": (0, 0.962709),
    "boft-input": (0, 0.868576),
    "dylora": (2.64748, 3.89149),
    "full": (0, 2.16268),
    "ia3": (0, 0.403072),
    "krona": (2.70392, 2.94558),
    "loha": (45.818, 45.5136),
    "loha-tucker": (23.9511, 23.9111),
    "lokr": (2.70392, 2.94649),
    "lokr-both": (3.66346, 3.73292),
    "lokr-low-rank": (3.25571, 3.37894),
    "lokr-square": (3.25571, 3.37894),
    "lokr-tucker": (3.22364, 3.35258),
    "lora": (2.29826, 2.58958),
    "lora-dora": (6.33083, 6.48441),
    "lora-fa": (2.29826, 2.39975),
    "lora-pissa": (8.75162, 8.85855),
    "lora-rslora": (2.29826, 2.58352),
    "lora-tucker": (2.70518, 2.92527),
    "oft": (0, 0.461341),
    "oft-constrained": (0, 0.437075),
    "oft-input": (0, 0.505907),
    "selora": (6.05739, 6.09667),
    "sora": (5.87404, 4.87927),
    "ssf": (12.1655, 12.1242),
    "ssf-biases": (12.1655, 12.1168),
    "t-lora": (13.4823, 13.513),
    "t-lora-noise": (2.64748, 2.89406),
    "tied": (11.1426, 11.3434),
    "tied-a-frozen-b": (7.46149, 7.55598),
    "tied-frozen": (7.49024, 7.51975),
    "tied-role": (11.1426, 11.3434),
    "vera": (817.757, 817.758),
}
"""Of all that a variant keeps, at its start and after the steps below; an old run goes on only if they stay."""
COUNTING = ("adalora", "sora", "selora")
"""Methods whose other tensors are counts and means that change while training."""


def norm(network: Network) -> float:
    return float(torch.cat([t.double().flatten() for t in network.state_dict().values()]).norm())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_trained_tensor_learns_by_the_second_step_and_what_is_frozen_stays(variant):
    net, x = make_layers(), make_input()
    before = copy.deepcopy(net.state_dict())
    network = attach_to(net, VARIANTS[variant])
    start = norm(network)
    frozen = {name: value.clone() for name, value in network.named_buffers()}
    learned = set()
    early = 20 if variant == "dylora" else 2  # a factor at zero hides its partner's gradient; a rank may not be drawn

    def note(step: Step, optimizer: torch.optim.Optimizer) -> None:
        if step.number < early:
            learned.update(n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0)

    settings = Train(learning_rate=1e-2, weight_decay=0.3)
    take_steps(network, lambda: net(x).pow(2).mean(), max(early, 4), settings, note)
    if variant in NORMS:
        assert (start, norm(network)) == pytest.approx(NORMS[variant], rel=1e-4)
    waiting = {name for name, _ in network.named_parameters() if name.endswith(WAITING.get(variant, ()))}
    assert learned == {name for name, _ in network.named_parameters()} - waiting
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    if variant not in COUNTING:
        assert {name.rpartition(".")[2].partition("-")[0] for name in frozen} >= FROZEN.get(variant, set())
        assert all(torch.equal(frozen[name], value) for name, value in network.named_buffers())


@pytest.mark.parametrize("variant", VARIANTS)
def test_fp32_factors_work_on_a_bf16_base_without_autocast(variant):
    net, x = make_layers(torch.bfloat16), make_input().bfloat16()
    network = attach_to(net, VARIANTS[variant]).eval()
    shake(network)
    y = net(x)
    y.float().pow(2).mean().backward()
    assert y.dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    exact, exact_network = make_layers(), None
    exact_network = attach_to(exact, VARIANTS[variant]).eval()
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
    network = attach_to(net, kind).eval()
    shake(network)
    still = net(x)

    def at(draw: int) -> torch.Tensor:
        network.holder.context = ForwardContext(seed=3, draw=draw, training=True)
        return net(x).detach()

    assert torch.equal(at(1), at(1))
    assert not torch.allclose(at(1), at(2))
    assert not torch.allclose(at(1), still)
    network.holder.context = ForwardContext()
    assert torch.equal(net(x), still)


@pytest.mark.parametrize("knob", ["dropout", "rank_dropout"])
def test_dropout_keeps_the_expected_update(knob):
    net = make_layers()
    layer = net.wide
    network = attach_to(net, LoRA(rank=8, alpha=4.0, **{knob: 0.25})).eval()
    shake(network)
    site = next(s for s in network.sites if s.path == "wide")
    tokens = torch.randn(4, 20)
    change = layer(tokens) - torch.nn.functional.linear(tokens, layer.weight)
    total = torch.zeros_like(change)
    for draw in range(600):
        network.holder.context = ForwardContext(seed=0, draw=draw, training=True)
        total += (layer(tokens) - torch.nn.functional.linear(tokens, layer.weight)).detach()
    assert site.placed[0].method.rank == 8
    assert (total / 600 - change).abs().mean() < 0.12 * change.abs().mean()
