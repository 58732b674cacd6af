"""AdaLoRA against the paper's numbers: scores, budget, penalty, and where the rank ends up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.layers import (
    LAYERS,
    attach_to,
    make_input,
    make_layers,
    make_site,
    put_on,
    shake,
    theta_of,
)
from tests.trainers.adapters.training import take_steps
from trainers.adapters.context import ForwardContext
from trainers.adapters.hooks import Step
from trainers.adapters.methods.adalora import AdaLoRA, budget
from trainers.adapters.targets import BlockOverride, Targets
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.formats.codecs import file_tensors
from trainers.ranks.history import current_ranks
from trainers.training.step.optim import MovingAverage

SMALL = AdaLoRA(rank=3, alpha=2.0, target_rank=2)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("training", [False, True])
def test_the_change_is_p_lambda_q(kind, training):
    site = make_site(kind, SMALL)
    theta = theta_of(site)
    expected = 2 / 3 * theta["P"] @ torch.diag(theta["lam"]) @ theta["Q"]
    (update,) = site.updates(ForwardContext(training=training))
    torch.testing.assert_close(update.dense(), expected.reshape(site.op.shape))


def test_the_starting_values_are_those_of_the_paper():
    theta = theta_of(put_on(nn.Linear(300, 200), AdaLoRA(rank=32)))
    assert not theta["lam"].any()
    for name in "PQ":
        assert theta[name].std().item() == pytest.approx(0.02, rel=0.03) and abs(theta[name].mean().item()) < 1e-3


def test_the_penalty_in_numbers():
    network = attach_to(nn.Sequential(nn.Linear(2, 2, bias=False)), AdaLoRA(rank=2, target_rank=1, orthogonality=0.5))
    theta = network.sites[0].thetas[0]
    with torch.no_grad():
        theta.P.copy_(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))  # PᵀP − 1 = [[0, 1], [1, 1]]: √3
        theta.Q.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))  # QQᵀ − 1 = [[3, 0], [0, 0]]: 3
    method = network.methods[0]
    assert method.hooks.penalty(network).item() == pytest.approx(0.5 * (3**0.5 + 3) / 2)
    assert replace(method, orthogonality=0.0).hooks.penalty(network) is None
    with torch.no_grad():
        theta.P.copy_(torch.eye(2))
        theta.Q.copy_(torch.tensor([[0.6, 0.8], [-0.8, 0.6]]))
    assert method.hooks.penalty(network).item() == pytest.approx(0, abs=1e-6)


def test_the_score_in_numbers():
    method = AdaLoRA(rank=2, target_rank=1, beta1=0.5, beta2=0.75)
    network = attach_to(nn.Sequential(nn.Linear(1, 2, bias=False)), method)
    theta = network.sites[0].thetas[0]
    values = {"P": [[1.0, 2.0], [3.0, 4.0]], "lam": [1.0, -2.0], "Q": [[0.5], [2.0]]}
    gradients = [
        {"P": [[1.0, 0.0], [1.0, -1.0]], "lam": [2.0, 1.0], "Q": [[4.0], [0.5]]},
        {"P": [[0.0, 1.0], [2.0, 0.0]], "lam": [-1.0, 1.0], "Q": [[0.0], [1.0]]},
    ]
    with torch.no_grad():
        for name, value in values.items():
            getattr(theta, name).copy_(torch.tensor(value))
    for number, gradient in enumerate(gradients):
        for name, value in gradient.items():
            getattr(theta, name).grad = torch.tensor(value)
        method.hooks.after_backward(network, Step(number, 100))
    # λ₁: I = 2, 1; Ī = 1, 1; Ū = ¼·1, ¾·¼ + ¼·0.  λ₂: I = 2, 2; Ī = 1, 1.5; Ū = ¼, 3/16 + ⅛.
    # P₁: I = (1, 3), (0, 6): Ī = (½, 1.5), (¼, 3.75); Ū = (⅛, ⅜), (3/32 + 1/16, 9/32 + 9/16).
    # P₂: I = (0, 4), (2, 0): Ī = (0, 2), (1, 1); Ū = (0, ½), (¼, ⅜ + ¼).
    # Q₁: I = 2, 0: Ī = 1, ½; Ū = ¼, 3/16 + ⅛.  Q₂: I = 1, 2: Ī = ½, 1¼; Ū = ⅛, 3/32 + 3/16.
    first = 1 * (3 / 16) + (1 / 4 * 5 / 32 + 15 / 4 * 27 / 32) / 2 + 1 / 2 * 5 / 16
    second = 3 / 2 * 5 / 16 + (1 * 1 / 4 + 1 * 5 / 8) / 2 + 5 / 4 * 9 / 32
    torch.testing.assert_close(method.hooks.score(network.sites[0].placed[0].theta), torch.tensor([first, second]))
    by_size = replace(method, importance="magnitude", beta1=0.85, beta2=0.85)
    assert by_size.hooks.score(network.sites[0].placed[0].theta).tolist() == [1, 2]


def test_the_budget_falls_by_the_cube_between_two_plateaus():
    method = AdaLoRA(rank=12, target_rank=8, begin=0.1, settle=0.4)
    at = {
        t: budget(t, 1000, 5 * method.rank, 5 * method.target_rank, method)
        for t in (1, 100, 200, 225, 350, 475, 599, 600, 1000)
    }
    # 40 + 20 (1 − (t − 100) / 500)³, rounded down
    assert at == {1: 60, 100: 60, 200: 50, 225: 48, 350: 42, 475: 40, 599: 40, 600: 40, 1000: 40}
    whole = [budget(t, 1000, 60, 40, method) for t in range(1, 1001)]
    assert whole == sorted(whole, reverse=True)
    assert budget(1, 1, 60, 40, method) == 40  # however short the run, it ends at the target


def ranks(network) -> dict[str, int]:
    return {site.path: site.updates()[0].rank for site in network.sites}


@pytest.mark.parametrize("importance", ["sensitivity", "magnitude"])
@pytest.mark.parametrize("steps", [7, 30])
def test_the_ranks_at_the_end_add_up_to_the_budget_exactly(importance, steps):
    net, x = make_layers(), make_input()
    network = attach_to(net, replace(SMALL, importance=importance, interval=3))
    left = []

    def after(step, optimizer) -> None:
        left.append(sum(int((site.thetas[0].lam != 0).sum()) for site in network.sites))

    take_steps(network, lambda: (net(x) - 1).square().mean(), steps, Train(learning_rate=1e-2), after)
    assert sum(ranks(network).values()) == 5 * 2
    settled = steps - round(0.4 * steps)
    assert left[settled - 1 :] == [10] * (steps - settled + 1)  # the choice stands
    if steps == 30:
        assert left[3] == 15 and left[11] < 15  # between two cuts λ comes back; a cut takes it again


def test_the_rank_is_that_of_the_latest_cut_also_where_a_run_goes_on():
    """Between two cuts every λ is off zero again; the rank only narrows, whoever looks when."""
    net, x = make_layers(), make_input()
    method = replace(SMALL, interval=3)
    network = attach_to(net, method)
    others = attach_to(make_layers(), method)
    seen, nonzero = [], []

    def after(step, optimizer) -> None:
        seen.append(sum(current_ranks(network).values()))
        nonzero.append(sum(int((site.thetas[0].lam != 0).sum()) for site in network.sites))
        others.load_state_dict(network.state_dict())
        assert current_ranks(others) == current_ranks(network)

    take_steps(network, lambda: (net(x) - 1).square().mean(), 30, Train(learning_rate=1e-2), after)
    cuts = [budget(t, 30, 15, 10, method) for t in (3, 6, 9, 12, 15)]
    assert seen == [15] * 2 + [b for b in cuts for _ in range(3)] + [10] * 13 and cuts[2] < 15
    assert nonzero[9] == 15 > seen[9], "λ itself says another thing"
    assert list(current_ranks(network).values()) == list(ranks(network).values()), "at the end, those of the file"
    assert sum(ranks(network).values()) == seen[-1] == 10


def test_what_a_cut_takes_away_still_counts_in_a_file_until_the_last_cut():
    network = attach_to(make_layers(), replace(SMALL, importance="magnitude", interval=4, settle=0.0, begin=0.0))
    with torch.no_grad():
        for number, site in enumerate(network.sites):
            site.thetas[0].lam.copy_(torch.arange(1.0, 4.0) + number)
        network.methods[0].hooks.after_step(network, Step(3, 8))
        assert sum(current_ranks(network).values()) == 10 + int(5 * 0.5**3) == sum(ranks(network).values())
        for site in network.sites:
            site.thetas[0].lam.add_(0.1)
    assert sum(current_ranks(network).values()) == 10 and sum(ranks(network).values()) == 15


def test_a_last_cut_whose_step_was_left_out_is_made_up_for():
    network = attach_to(make_layers(), replace(SMALL, importance="magnitude", interval=100))
    with torch.no_grad():
        for number, site in enumerate(network.sites):
            site.thetas[0].lam.copy_(torch.arange(1.0, 4.0) + 1.1 * number)
    for number in (0, 1, 7, 8, 9):  # of ten steps, the sixth is the last cut
        network.methods[0].hooks.after_step(network, Step(number, 10))
    assert sum(ranks(network).values()) == 10
    assert ranks(network) == {"strided": 0, "dilated": 1, "pointwise": 3, "wide": 3, "narrow": 3}


ALL = {"strided": 0, "dilated": 3, "pointwise": 3, "narrow": 3, "wide": 2}
BY_RANK = {"strided": 4, "dilated": 0, "pointwise": 3, "narrow": 3, "wide": 1}


@pytest.mark.parametrize(("scope", "expected"), [("all", ALL), ("rank", BY_RANK)])
def test_layers_of_several_ranks_share_one_budget(scope, expected):
    """Targets of 4, three times 2 and 1 are 11 in all, of all layers together or of each group by itself."""
    blocks = {"strided": BlockOverride(rank=6), "wide": BlockOverride(rank=2)}
    targets, method = Targets(unet=("*",), blocks=blocks), replace(SMALL, budget_scope=scope, importance="magnitude")
    network = attach_to(make_layers(), method, targets=targets)
    with torch.no_grad():
        for number, site in enumerate(network.sites):  # those that come later are all more important
            site.thetas[0].lam.copy_(torch.arange(1.0, len(site.thetas[0].lam) + 1) + 100 * number)
    for number in range(20):
        for one in network.methods:
            one.hooks.after_step(network, Step(number, 20))
    found = {name.rpartition(".")[2]: rank for name, rank in current_ranks(network).items()}
    assert found == expected and sum(found.values()) == 11


def test_the_term_for_orthogonality_is_the_mean_over_layers_of_every_rank():
    targets = Targets(unet=("*",), blocks={"strided": BlockOverride(rank=6)})
    network = attach_to(make_layers(), SMALL, targets=targets)
    shake(network)
    norms = []
    for site in network.sites:
        P, Q = site.thetas[0].P, site.thetas[0].Q
        norms += [(P.T @ P - torch.eye(P.shape[1])).norm(), (Q @ Q.T - torch.eye(P.shape[1])).norm()]
    terms = [term for one in network.methods if (term := one.hooks.penalty(network)) is not None]
    assert len(network.methods) == 2 and len(terms) == 1
    torch.testing.assert_close(terms[0], SMALL.orthogonality * torch.stack(norms).mean())


class Six(nn.Module):
    """Six layers side by side, of which two will have to change."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10, 12, bias=False) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([layer(x) for layer in self.layers])


def test_what_has_stopped_learning_keeps_its_triplets_out_of_the_same_budget():
    net = make_layers()
    network = attach_to(net, replace(SMALL, target_rank=1, importance="magnitude", begin=0.0, settle=0.2, interval=1))
    method = network.methods[0]
    for site in network.sites:
        with torch.no_grad():
            site.thetas[0].lam.copy_(0.1 * torch.tensor([1.0, 2.0, 3.0]))
    still = network.sites[1]
    still.requires_grad_(False)
    before = still.thetas[0].lam.clone()
    for number in range(10):
        method.hooks.after_step(network, Step(number, 10))
    ranks = [method.hooks.rank_of(site.placed[0].theta) for site in network.sites]
    assert torch.equal(still.thetas[0].lam, before) and ranks[1] == 3
    assert sum(ranks) == len(ranks)  # one each, of which the still one has three
    network.requires_grad_(False)
    method.hooks.after_step(network, Step(0, 10))


@pytest.mark.slow
def test_the_rank_goes_to_the_layers_that_need_it():
    draw = torch.Generator().manual_seed(6)
    torch.manual_seed(0)
    net, wanted = Six(), Six()
    wanted.load_state_dict(net.state_dict())
    with torch.no_grad():
        for number in (1, 4):
            wanted.layers[number].weight += torch.randn(12, 3, generator=draw) @ torch.randn(3, 10, generator=draw)
    network = attach_to(net, AdaLoRA(rank=3, alpha=3.0, target_rank=1, interval=5))

    def loss() -> Tensor:
        x = torch.randn(16, 10, generator=draw)
        noise = 0.3 * torch.randn(6, 16, 12, generator=draw)
        return (net(x) - wanted(x).detach() - noise).square().mean()

    take_steps(network, loss, 300, Train(learning_rate=2e-2))
    assert sum(ranks(network).values()) == 6
    assert ranks(network)["layers.1"] == ranks(network)["layers.4"] == 3


def test_pruned_triplets_are_left_out_of_the_file_and_of_the_moving_average():
    net, x = make_layers(), make_input()
    network = attach_to(net, replace(SMALL, interval=2))
    average = MovingAverage(network, 0.99)
    take_steps(network, lambda: (net(x) - 1).square().mean(), 20, Train(learning_rate=1e-2),
               lambda *_: average.update())  # fmt: skip
    live = ranks(network)
    for site in network.sites:
        theta = theta_of(site)
        whole = 2 / 3 * theta["P"] @ torch.diag(theta["lam"]) @ theta["Q"]
        torch.testing.assert_close(site.dense(), whole.view(site.op.shape))
        tensors = file_tensors(site.updates()[0], SMALL.file_form().alpha)
        assert len(tensors["lora_down.weight"]) == live[site.path] and tensors["alpha"] == 2
    with average.in_place():
        assert all(bool((site.thetas[0].lam != 0).all()) for site in network.sites)
        assert ranks(network) == live


def test_another_rank_keeps_the_share_that_stays():
    method = AdaLoRA(rank=12, alpha=6.0, target_rank=8).with_rank(6)
    assert (method.rank, method.target_rank, method.alpha) == (6, 4, 3.0)
    assert AdaLoRA(rank=12, target_rank=2).with_rank(2).target_rank == 1


@pytest.mark.parametrize(
    "wrong",
    [{"target_rank": 13}, {"begin": 0.6}, {"importance": "magnitude", "beta1": 0.5}],
)
def test_settings_that_leave_nothing_to_do_are_refused(wrong):
    with pytest.raises(VelaturaError):
        AdaLoRA(**wrong)
