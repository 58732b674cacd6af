"""SeLoRA: the Fisher identity, growth that moves nothing, and where it happens."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.layers import LAYERS, attach_to, make_input, make_layers, make_site, theta_of
from tests.trainers.adapters.training import take_steps
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.adapters.methods.selora import (
    GROWN,
    TRIED,
    UNUSED,
    SeLoRA,
    SeLoRAHooks,
    fisher_information,
    fisher_ratios,
)
from trainers.adapters.network import Network
from trainers.adapters.targets import BlockOverride, Targets
from trainers.config.sections import Train

SMALL = SeLoRA(rank=3, alpha=0.7, interval=2)
ALWAYS = SeLoRA(rank=4, alpha=0.7, interval=3, threshold=1.0)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("grown", [1, 2, 3])
def test_the_change_is_alpha_times_the_components_grown_so_far(kind, grown):
    site = make_site(kind, SMALL)
    site.placed[0].theta["use"][:grown] = GROWN
    theta = theta_of(site)
    expected = 0.7 * sum(theta[f"B{n}"] @ theta[f"A{n}"] for n in range(grown))
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))
    assert torch.linalg.matrix_rank(expected) == grown


@pytest.mark.parametrize(("start_bound", "bound"), [("sqrt(6/in)", (6 / 12) ** 0.5), ("sqrt(1/in)", (1 / 12) ** 0.5)])
def test_a_starts_kaiming_uniform_and_b_at_zero_at_rank_1(start_bound, bound):
    theta = theta_of(make_site("linear", SeLoRA(rank=200, start_bound=start_bound), size=0.0))
    assert theta["use"].tolist() == [GROWN] + 199 * [UNUSED]
    A = torch.cat([theta[f"A{n}"] for n in range(200)])
    assert 0.99 * bound < A.abs().max() <= bound and A.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not any(theta[f"B{n}"].any() for n in range(200))


def loss_of(net: nn.Module) -> Tensor:
    return (net(make_input()) - 1).square().mean()


def grown(network: Network) -> list[int]:
    return [site.placed[0].method.hooks.rank_of(site.placed[0].theta) for site in network.sites]


def begin(network: Network, number: int, rates: tuple[float, ...] = (1.0,) * 20) -> Step:
    """The beginning of a step, up to its forward passes."""
    step = Step(number, len(rates), rates=rates)
    network.methods[0].hooks.begin_step(network, step)
    network.holder.context = ForwardContext(training=True, step=number)
    return step


def tried(network: Network) -> list[int | None]:
    """Which component of each layer is on trial."""
    uses = [site.placed[0].theta["use"].tolist() for site in network.sites]
    return [use.index(TRIED) if TRIED in use else None for use in uses]


def warmed(method: SeLoRA) -> tuple[nn.Module, Network]:
    """A network a few steps on its way, no layer of which has grown."""
    net = make_layers()
    network = attach_to(net, replace(method, interval=10_000))
    take_steps(network, lambda: loss_of(net), 5, Train(learning_rate=1e-2))
    same = attach_to(twin := make_layers(), method)
    same.load_state_dict(network.state_dict())
    return twin, same


def test_the_ratio_is_that_of_a_second_backward_on_the_grown_layer():
    net, network = warmed(SMALL)
    begin(network, 1)  # no trial: the layers as they are
    assert tried(network) == [None] * 5
    loss_of(net).backward()
    before = {site.path: information(site, 1) for site in network.sites}
    network.zero_grad(set_to_none=True)

    for site in network.sites:  # really grown, outside any trial
        site.placed[0].theta["use"][1] = GROWN
    loss_of(net).backward()
    after = {site.path: information(site, 2) for site in network.sites}
    assert all(not site.thetas[0].A1.grad.any() for site in network.sites)  # while its B is zero
    network.zero_grad(set_to_none=True)

    for site in network.sites:
        site.placed[0].theta["use"][1] = UNUSED
    begin(network, 2)
    assert tried(network) == [2] * 5  # the second of two that are free
    for site in network.sites:
        theta = site.placed[0].theta
        theta["use"][1:] = torch.tensor([TRIED, UNUSED])
    loss_of(net).backward()
    for site in network.sites:
        ((own, new),) = fisher_information([site.placed[0].theta])
        ratio = 1 + new / own
        assert ratio - 1 == pytest.approx(after[site.path] / before[site.path] - 1, rel=1e-2) and ratio > 1


def information(site, n: int) -> float:
    theta = site.thetas[0]
    return sum(float(getattr(theta, f"{x}{k}").grad.square().sum()) for x in "AB" for k in range(n))


def test_a_trial_and_a_growth_leave_the_loss_as_it_is():
    net, network = warmed(ALWAYS)
    with torch.no_grad():
        begin(network, 2)
        still = loss_of(net).item()
        step = begin(network, 3)  # a trial
        on_trial = loss_of(net).item()
    loss_of(net).backward()
    ALWAYS.hooks.after_backward(network, step)
    assert grown(network) == [2] * 5
    network.eval().holder.context = ForwardContext()
    assert on_trial == pytest.approx(still, abs=1e-7) and loss_of(net).item() == pytest.approx(still, abs=1e-7)


def test_no_growth_of_a_training_moves_what_the_network_gives(monkeypatch):
    net, x, after_backward = make_layers(), make_input(), SeLoRAHooks.after_backward
    network = attach_to(net, replace(ALWAYS, interval=2, threshold=1.01))
    jumps: list[float] = []

    @torch.no_grad()
    def watched(self: SeLoRAHooks, network: Network, step: Step) -> None:
        ranks, now = grown(network), network.holder.context
        tried = net(x)
        network.holder.context = ForwardContext()
        before = net(x)
        after_backward(self, network, step)
        if grown(network) != ranks:
            jumps.extend((other - before).abs().max().item() for other in (tried, net(x)))
        network.holder.context = now

    monkeypatch.setattr(SeLoRAHooks, "after_backward", watched)
    with torch.no_grad():
        bare = net(x)
    take_steps(network, lambda: loss_of(net), 16, Train(learning_rate=1e-2, weight_decay=0.3))
    assert len(jumps) >= 2 * 3 and max(jumps) < 1e-6
    network.eval()
    assert (net(x) - bare).abs().max() > 0.1 and max(grown(network)) == 4


def test_what_was_tried_is_what_is_kept_and_takes_no_step_yet():
    net, network = warmed(ALWAYS)
    before = copy.deepcopy(network.state_dict())
    step = begin(network, 3)
    loss_of(net).backward()
    assert tried(network) == [2] * 5 and all(site.thetas[0].B2.grad.any() for site in network.sites)
    ALWAYS.hooks.after_backward(network, step)
    for site in network.sites:
        theta = site.thetas[0]
        assert theta.A2.grad is None and theta.B2.grad is None and theta.B0.grad is not None
        assert theta.use.tolist() == [GROWN, UNUSED, GROWN, UNUSED]
    after = network.state_dict()
    state = (".use", ".information")
    assert all(torch.equal(before[name], value) for name, value in after.items() if not name.endswith(state))


def test_what_was_not_kept_makes_room_for_another():
    net, network = warmed(replace(ALWAYS, threshold=100.0))
    seen = []
    for number in range(3, 16, 3):
        step = begin(network, number)
        seen.append(tried(network))
        loss_of(net).backward()
        network.methods[0].hooks.after_backward(network, step)
    assert grown(network) == [1] * 5 and seen == [[n] * 5 for n in (2, 3, 1, 2, 3)]


def test_a_trial_adds_up_its_steps_and_waits_for_the_whole_learning_rate():
    net, network = warmed(replace(ALWAYS, interval=4, trial=3))
    rates = tuple(min(1.0, (n + 1) / 4) for n in range(20))  # whole from step 3 on
    added = torch.zeros(2)
    begun = {}
    for number in range(9):
        step = begin(network, number, rates)
        begun[number] = tried(network)[0]
        network.zero_grad(set_to_none=True)
        loss_of(net).backward()
        theta = network.sites[0].placed[0].theta
        if begun[number] is not None:
            added += torch.tensor(fisher_information([theta])[0])
        network.methods[0].hooks.after_backward(network, step)
        assert grown(network) == [1 + (number == 8)] * 5
    assert [number for number, one in begun.items() if one is not None] == [6, 7, 8]  # not 2 to 4: it had not risen
    torch.testing.assert_close(theta["information"], added)
    assert fisher_ratios([theta])[0] == pytest.approx(1 + (added[1] / added[0]).item())


def test_what_has_stopped_learning_is_not_tried():
    net, network = warmed(ALWAYS)
    network.sites[1].requires_grad_(False)
    step = begin(network, 3)
    assert tried(network) == [2, None, 2, 2, 2]
    loss_of(net).backward()
    ALWAYS.hooks.after_backward(network, step)
    assert grown(network) == [2, 1, 2, 2, 2]


def test_components_that_were_there_keep_their_moments():
    net = make_layers()
    network = attach_to(net, ALWAYS)
    names = {id(p): name for name, p in network.named_parameters()}
    steps: list[dict[str, int]] = []

    def after(step, optimizer) -> None:
        steps.append({names[id(p)].rsplit(".", 1)[1]: int(s["step"]) for p, s in optimizer.state.items()})

    take_steps(network, lambda: loss_of(net), 8, Train(learning_rate=1e-2, weight_decay=0.3), after)
    assert steps[3] == {"A0": 4, "B0": 4}  # grown in this step, the fourth, and not moved by it
    assert steps[4] == {"A0": 5, "B0": 5, "A2": 1, "B2": 1}
    assert steps[7] == {"A0": 8, "B0": 8, "A2": 4, "B2": 4, "A1": 1, "B1": 1}
    for site in network.sites:  # neither stepped nor decayed
        assert not site.thetas[0].B3.any() and grown(network) == [3] * 5


def test_layers_grow_to_their_largest_rank_and_no_further():
    net = make_layers()
    network = attach_to(net, replace(ALWAYS, interval=1))
    take_steps(network, lambda: loss_of(net), 9, Train(learning_rate=1e-3))
    assert grown(network) == [4] * 5
    assert [site.updates()[0].rank for site in network.sites] == [4] * 5


def test_a_budget_goes_to_the_layers_with_the_highest_ratio():
    net, network = warmed(replace(ALWAYS, budget=7))
    step = begin(network, 3)
    loss_of(net).backward()
    ratios = [1 + new / own for own, new in fisher_information([s.placed[0].theta for s in network.sites])]
    network.methods[0].hooks.after_backward(network, step)
    best = sorted(ratios, reverse=True)[:2]
    assert grown(network) == [1 + (ratio in best) for ratio in ratios]
    take = attach_to(other := make_layers(), replace(ALWAYS, interval=1, budget=7))
    take_steps(take, lambda: loss_of(other), 9, Train(learning_rate=1e-3))
    assert sum(grown(take)) == 7


def test_a_budget_is_the_sum_over_layers_of_every_rank():
    blocks = {"strided": BlockOverride(rank=3), "wide": BlockOverride(rank=2)}
    sums = {}
    for scope in ("all", "rank"):
        method = replace(ALWAYS, interval=1, budget=7, budget_scope=scope)
        network = attach_to(net := make_layers(), method, targets=Targets(unet=("*",), blocks=blocks))
        assert len(network.methods) == 3
        take_steps(network, lambda net=net: loss_of(net), 9, Train(learning_rate=1e-3))
        sums[scope] = sum(grown(network))
        ranks = dict(zip([site.path for site in network.sites], grown(network), strict=True))
        assert ranks["strided"] <= 3 and ranks["wide"] <= 2
    # By rank, each of the three groups has a whole budget: 7 for three layers, and their largest ranks for the others.
    assert sums == {"all": 7, "rank": 7 + 3 + 2}


def test_an_estimate_fills_no_more_than_the_budget():
    blocks = {"strided": BlockOverride(rank=3)}
    for budget, expected in ((0, 3 + 4 * 4), (7, 7)):
        method = replace(ALWAYS, budget=budget)
        network = attach_to(make_layers(), method, targets=Targets(unet=("*",), blocks=blocks))
        for one in network.methods:
            one.hooks.grow_to_max(network)
        assert sum(grown(network)) == expected


def test_a_budget_that_lets_nothing_grow_counts_every_layer():
    network = attach_to(make_layers(), replace(ALWAYS, budget=5))
    assert "each of the 5 layers starts at rank 1" in str(network.methods[0].validate_targets(network.sites))
    assert replace(ALWAYS, budget=6).validate_targets(network.sites) is None


def test_nothing_of_a_forward_pass_or_a_step_without_a_trial_is_read_off_the_device():
    """On the meta device nothing can be read; what components are for is not there."""
    network = attach_to(make_layers(), ALWAYS)
    meta = network.to("meta")
    (site, *_), step = meta.sites, Step(1, 20, rates=(1.0,) * 20)
    theta = site.placed[0].theta
    assert theta["A0"].is_meta and theta["use"].device.type == "cpu" and theta["use"].dtype == torch.int8
    ALWAYS.hooks.begin_step(meta, step)
    assert [site.updates(ForwardContext(training=True))[0].rank for site in meta.sites] == [1] * 5
    ALWAYS.hooks.after_backward(meta, step)


def test_a_checkpoint_with_other_numbers_for_what_components_are_for_is_read():
    _, network = warmed(ALWAYS)
    network.sites[0].placed[0].theta["use"][2] = GROWN
    state = network.state_dict()
    older = {name: value.float() if name.endswith(".use") else value for name, value in state.items()}
    same = attach_to(make_layers(), ALWAYS)
    same.load_state_dict(older)
    assert grown(same) == grown(network) == [2, 1, 1, 1, 1]


def test_a_high_threshold_lets_nothing_grow():
    net = make_layers()
    network = attach_to(net, replace(ALWAYS, threshold=100.0))
    take_steps(network, lambda: loss_of(net), 8, Train(learning_rate=1e-2))
    assert grown(network) == [1] * 5


@pytest.mark.slow
def test_it_grows_where_rank_is_missing():
    draw = torch.Generator().manual_seed(4)
    torch.manual_seed(0)
    net = nn.ModuleList(nn.Linear(10, 12, bias=False) for _ in range(4))
    missing = {0: 1, 1: 1, 2: 5, 3: 1}  # the rank of what each layer has to learn
    targets = [
        torch.randn(12, rank, generator=draw) @ torch.randn(rank, 10, generator=draw) / rank**0.5
        for rank in missing.values()
    ]
    network = attach_to(net, SeLoRA(rank=6, alpha=1.0, threshold=1.3, interval=40))

    def loss() -> Tensor:
        errors = [site.updates(network.holder.context)[0].dense() - target
                  for site, target in zip(network.sites, targets, strict=True)]  # fmt: skip
        return torch.stack([error.square().sum() for error in errors]).sum()

    take_steps(network, loss, 420, Train(learning_rate=2e-2, weight_decay=0.0))
    assert grown(network)[2] >= 5
    rest = [n for number, n in enumerate(grown(network)) if number != 2]
    assert max(rest) <= 2, grown(network)


def test_its_file_has_the_rank_that_was_grown_and_the_same_change():
    site = make_site("strided", SMALL)
    site.placed[0].theta["use"][1] = GROWN
    from trainers.formats.codecs import build_update, file_tensors

    tensors = file_tensors(site.updates()[0], SMALL.file_form().alpha)
    assert tensors["lora_down.weight"].shape[0] == 2
    torch.testing.assert_close(build_update(tensors).dense(site.weight()), site.dense().float())
