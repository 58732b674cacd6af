"""SoRA: its formula, the proximal step in numbers, and what is left of a closed gate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.trainers.adapters.layers import LAYERS, attach_to, make_layers, make_site, put_on, theta_of
from tests.trainers.adapters.training import take_steps
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.adapters.methods.sora import SoRA, soft_threshold
from trainers.adapters.network import Network
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.formats.codecs import file_tensors
from trainers.formats.write.core import file_updates
from trainers.training.step.optim import MovingAverage, parameter_groups


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [False, True])
def test_the_change_is_a_lora_with_a_gate_on_each_component(kind, training):
    site = make_site(kind, SoRA(rank=3, alpha=2.0))
    theta = theta_of(site)
    expected = 2 / 3 * theta["B"] @ torch.diag(theta["g"]) @ theta["A"]
    (update,) = site.updates(ForwardContext(training=training))
    torch.testing.assert_close(update.dense(), expected.reshape(site.op.shape))


def test_the_starting_values():
    for initial in ("one", "normal"):
        theta = theta_of(put_on(nn.Linear(300, 40), SoRA(rank=400, gate_initial=initial)))
        assert not theta["B"].any() and theta["A"].abs().max() <= 1 / math.sqrt(300)
        mean, std = (1.0, 0.0) if initial == "one" else (0.0, 1.0)
        assert theta["g"].mean().item() == pytest.approx(mean, abs=0.15)
        assert theta["g"].std().item() == pytest.approx(std, abs=0.1)


def test_the_proximal_step_in_numbers():
    found = soft_threshold(torch.tensor([-1.5, -1.0, 1.5]), 1.0)
    assert torch.equal(found, torch.tensor([-0.5, 0.0, 0.5]))  # where the authors' code has [0, −1, 0]
    x = torch.linspace(-3, 3, 121, dtype=torch.float64)
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    cost = 0.5 * (grid[None] - x[:, None]).square() + 0.8 * grid.abs()  # what the proximal operator minimises
    torch.testing.assert_close(soft_threshold(x, 0.8), grid[cost.argmin(1)], rtol=0, atol=1e-3)


@pytest.mark.parametrize("ramp", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("decaying", [False, True])
def test_the_thresholds_add_up_to_shrink_and_follow_the_learning_rate(ramp, decaying):
    rates = tuple(1 - n / 40 if decaying else 1.0 for n in range(40))
    method = SoRA(shrink=0.6, ramp=ramp)
    found = [method.hooks.threshold(Step(n, 40, rates=rates)) for n in range(40)]
    assert sum(found) == pytest.approx(0.6)
    rising = max(1, ramp * 40)
    expected = [rate * min(1, (n + 1) / rising) for n, rate in enumerate(rates)]
    assert [f / found[3] for f in found] == pytest.approx([e / expected[3] for e in expected])


def test_the_thresholds_grow_by_levels():
    method = SoRA(shrink=0.6, ramp=0.5, levels=5)
    found = [method.hooks.threshold(Step(n, 40, rates=40 * (1.0,))) for n in range(40)]
    levels = [0.0] * 3 + [0.2] * 4 + [0.4] * 4 + [0.6] * 4 + [0.8] * 4 + [1.0] * 21
    assert found == pytest.approx([0.6 * level / sum(levels) for level in levels])
    with pytest.raises(VelaturaError, match="levels = 5 has no effect with ramp = 0"):
        SoRA(ramp=0.0, levels=5)


def test_a_gate_that_nothing_holds_open_closes_if_it_began_below_shrink():
    for shrink, left in ((0.9, 0.1), (1.1, 0.0)):
        method = SoRA(rank=3, shrink=shrink, gate_initial="one")
        network = attach_to(nn.Sequential(nn.Linear(6, 8)), method)
        for number in range(30):
            method.hooks.after_step(network, Step(number, 30, rates=(1.0,) * 30))
        gate = network.sites[0].placed[0].theta["g"]
        torch.testing.assert_close(gate.detach(), torch.full((3,), left), atol=1e-6, rtol=0)


def test_on_a_quadratic_it_ends_where_the_penalised_loss_is_least():
    target, rate, weight = torch.tensor([2.0, 0.3, -1.0, -0.2]), 0.1, 0.5
    gate = torch.ones(4)
    for _ in range(300):
        gate = soft_threshold(gate - rate * (gate - target), rate * weight)
    torch.testing.assert_close(gate, torch.tensor([1.5, 0.0, -0.5, 0.0]))


def trained(shrink: float) -> Network:
    """On ever new inputs, to what a changed layer makes of them."""
    net, wanted, draw = make_layers(), make_layers(), torch.Generator().manual_seed(8)
    with torch.no_grad():
        wanted.wide.weight += 0.5 * torch.randn(24, 1, generator=draw) @ torch.randn(1, 20, generator=draw)
    network = attach_to(net, SoRA(rank=4, alpha=2.0, shrink=shrink, gate_initial="normal", gate_ratio=2.0))

    def loss() -> torch.Tensor:
        x = torch.randn(2, 12, 8, 8, generator=draw)
        return (net(x) - wanted(x).detach()).square().mean()

    take_steps(network, loss, 60, Train(learning_rate=5e-3, weight_decay=0.2))
    return network


def open_gates(network: Network) -> int:
    return sum(int((site.placed[0].theta["g"] != 0).sum()) for site in network.sites)


@pytest.mark.slow
def test_more_shrink_closes_more():
    counts = [open_gates(trained(shrink)) for shrink in (0.01, 1.0, 8.0)]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 3
    assert counts[0] >= 18 and counts[-1] <= 3


def test_what_is_pruned_was_without_effect():
    network = trained(0.7)
    assert 2 <= open_gates(network) <= 18
    for site in network.sites:
        theta = theta_of(site)
        whole = 0.5 * theta["B"] @ torch.diag(theta["g"]) @ theta["A"]
        (update,) = site.updates()
        assert update.rank == int((theta["g"] != 0).sum()) == len(file_tensors(update, 2.0)["lora_down.weight"])
        torch.testing.assert_close(update.dense(), whole.view(site.op.shape))


def test_the_gates_learn_faster_and_do_not_decay():
    network = attach_to(nn.Sequential(nn.Linear(6, 8)), SoRA(rank=3, gate_ratio=4.0))
    factors, gates = parameter_groups(network, Train(learning_rate=1e-3, weight_decay=0.1))
    assert [p.shape for p in factors["params"]] == [(3, 6), (8, 3)] and [p.shape for p in gates["params"]] == [(3,)]
    assert (factors["lr"], gates["lr"]) == (1e-3, 4e-3)
    assert "weight_decay" not in factors and gates["weight_decay"] == 0.0


def test_a_moving_average_is_cut_where_the_gates_are_closed():
    net = nn.Sequential(nn.Linear(6, 8))
    network = attach_to(net, SoRA(rank=4, shrink=0.7, gate_initial="normal", ramp=0.0))
    average = MovingAverage(network, 0.99)
    loss = lambda: net(torch.ones(2, 6)).square().mean()  # noqa: E731
    take_steps(network, loss, 30, Train(learning_rate=1e-3), lambda *_: average.update())
    (site,) = network.sites
    left = int((site.placed[0].theta["g"] != 0).sum())
    with average.in_place():
        assert bool((site.placed[0].theta["g"] != 0).all())
        (update,) = site.updates()
    assert update.rank == left < 4


def test_layers_whose_gates_are_all_closed_are_left_out_and_a_style_of_none_is_refused():
    network = attach_to(make_layers(), SoRA(rank=3))
    for site in network.sites[:-1]:
        site.thetas[0].g.data.zero_()
    assert list(file_updates(network)) == [network.sites[-1]]
    network.sites[-1].thetas[0].g.data.zero_()
    with pytest.raises(VelaturaError, match="every layer has rank 0"):
        file_updates(network)
