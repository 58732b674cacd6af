"""DyLoRA: α / b at every b, what a step may move, and one training for every rank."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.adapters.layers import LAYERS, attach_to, make_input, make_layers, make_site, theta_of
from tests.trainers.adapters.training import take_steps
from trainers.adapters.context import ForwardContext
from trainers.adapters.method import LayerMethod
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import Network
from trainers.adapters.site import Site
from trainers.config.sections import Train
from trainers.errors import VelaturaError
from trainers.formats.codecs import build_update, file_tensors

SMALL = DyLoRA(rank=6, alpha=3.0, unit=2)


def joined(theta: dict[str, Tensor], bands: int = 3) -> tuple[Tensor, Tensor]:
    """B `(out, r)` and A `(r, in)` of the first bands."""
    return (torch.cat([theta[f"{x}{n}"] for n in range(bands)], dim) for x, dim in (("B", 1), ("A", 0)))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("kept", [2, 4, 6, 0])
def test_the_change_at_rank_b_is_alpha_over_b_times_its_first_components(kind, kept):
    site = make_site(kind, replace(SMALL, kept_rank=kept))
    b = kept or 6
    B, A = joined(theta_of(site))
    expected = 3.0 / b * torch.einsum("or,rk->ok", B[:, :b], A[:b])
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))
    assert torch.linalg.matrix_rank(expected) == b


@pytest.mark.parametrize("frozen", [True, False])
def test_in_training_every_b_has_its_own_scale_too(frozen):
    site = make_site("strided", replace(SMALL, frozen=frozen))
    B, A = joined(theta_of(site))
    seen = set()
    for step in range(20):
        now = ForwardContext(seed=1, draw=99 + step, training=True, step=step)
        b = 2 * SMALL.sampled_bands(now)
        (update,) = site.updates(now)
        seen.add(b)
        torch.testing.assert_close(update.dense(), 3.0 / b * (B[:, :b] @ A[:b]).view(site.op.shape))
    assert seen == {2, 4, 6}


def test_the_rank_is_drawn_evenly_and_as_the_same_share_of_every_rank():
    half = SMALL.with_rank(3 * SMALL.unit)
    wide = replace(DyLoRA(rank=12, alpha=3.0, unit=2))
    draws = [
        (wide.sampled_bands(now), half.sampled_bands(now))
        for now in (ForwardContext(seed=4, step=step) for step in range(3000))
    ]
    for b in range(1, 7):
        assert sum(one == b for one, _ in draws) == pytest.approx(500, abs=75)
    assert all(math.ceil(one / 2) == other for one, other in draws)
    assert wide.sampled_bands(ForwardContext(seed=4, draw=1, step=8)) == wide.sampled_bands(
        ForwardContext(seed=4, draw=2, step=8)
    )  # all batches of a step


def moved(before: dict[str, Tensor], network: Network) -> set[str]:
    return {n.rsplit(".", 1)[1] for n, t in network.named_parameters() if not torch.equal(before[n], t)}


@pytest.mark.parametrize("frozen", [True, False])
def test_only_what_a_step_trains_moves_under_adamw_with_decay(frozen):
    method = replace(SMALL, frozen=frozen)
    net, x = make_layers(), make_input()
    network = attach_to(net, method)
    now = {"before": {n: t.detach().clone() for n, t in network.named_parameters()}}
    last = []

    def after(step, optimizer) -> None:
        b = method.sampled_bands(ForwardContext(seed=5, step=step.number))
        bands = range(b - 1, b) if frozen else range(b)
        assert moved(now["before"], network) == {f"{x}{n}" for x in "AB" for n in bands}
        now["before"] = {n: t.detach().clone() for n, t in network.named_parameters()}
        last.append(b)

    take_steps(network, lambda: net(x).square().mean(), 12, Train(learning_rate=1e-2, weight_decay=0.3), after)
    assert set(last) == {1, 2, 3}  # with momentum in each band by the end, and still nothing else moved


@pytest.mark.parametrize("kind", LAYERS)
def test_the_first_components_of_a_file_are_the_smaller_rank(kind):
    site = make_site(kind, SMALL)
    tensors = file_tensors(site.updates()[0], SMALL.file_form().alpha)
    assert tensors["alpha"].item() == 3.0
    for b in (2, 4, 6):
        cut = {"lora_up.weight": tensors["lora_up.weight"][:, :b], "lora_down.weight": tensors["lora_down.weight"][:b]}
        smaller = build_update(cut | {"alpha": tensors["alpha"]}, site.op.shape)
        kept = replace(SMALL, kept_rank=b)
        expected = kept.update(theta_of(site), site).dense()
        torch.testing.assert_close(smaller.dense(site.weight()), expected.float())
        assert kept.file_form().rank == b


def to_learn(values: Tensor) -> Tensor:
    """A change of these singular values, `(14, 10)`."""
    draw = torch.Generator().manual_seed(3)
    U, V = (torch.linalg.qr(torch.randn(n, len(values), generator=draw))[0] for n in (14, 10))
    return U @ torch.diag(values) @ V.T


def learned(method: LayerMethod, target: Tensor, steps: int = 1500) -> Site:
    """A layer whose change was fitted to a target."""
    torch.manual_seed(0)
    network = attach_to(nn.Sequential(nn.Linear(10, 14, bias=False)), method)
    (site,) = network.sites

    def loss() -> Tensor:
        (update,) = site.updates(network.holder.context)
        return (update.dense() - target).square().sum()

    take_steps(network, loss, steps, Train(learning_rate=2e-2, weight_decay=0.0))
    return site


def error(change: Tensor, target: Tensor) -> float:
    return (change - target).square().sum().item()


def errors_by_rank(method: DyLoRA, target: Tensor) -> list[float]:
    """What one training leaves at each rank."""
    site = learned(method, target)
    kept = [replace(method, kept_rank=b) for b in method.nested_ranks]
    return [error(one.update(theta_of(site), site).dense(), target) for one in kept]


@pytest.mark.slow
def test_frozen_each_band_takes_the_largest_part_that_is_left():
    """Once α / b has scaled the smaller ranks by (b − 1) / b: (4, 0, 0, 0), (2, 3, 0, 0), (4/3, 2 …) and so on.

    That is best for rank 1 and behind a LoRA of its own at the whole rank.
    """
    found = errors_by_rank(DyLoRA(rank=4, alpha=4.0), to_learn(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    assert found == pytest.approx([14, 9, 6, 4.25], rel=1e-3)


@pytest.fixture(scope="module")
def cut_down() -> tuple[Tensor, Tensor, Tensor]:
    """A target, and the factors of a LoRA of the whole rank that has learned it."""
    target = to_learn(4 * 0.6 ** torch.arange(8))
    site = learned(LoRA(rank=8, alpha=8.0), target)
    assert error(site.dense(), target) < 1e-3
    return target, theta_of(site)["B"], theta_of(site)["A"]


@pytest.mark.thorough
@pytest.mark.parametrize("frozen", [True, False])
def test_the_low_ranks_of_one_training_are_far_better_than_a_lora_cut_down(cut_down, frozen):
    """As good as a LoRA of its own at rank 1; in between and at the whole rank α / b keeps it behind one."""
    target, B, A = cut_down
    whole = target.square().sum().item()
    ours = errors_by_rank(DyLoRA(rank=8, alpha=8.0, frozen=frozen), target)
    own = {b: error(learned(LoRA(rank=b, alpha=8.0), target, 600).dense(), target) for b in (1, 2, 4)}
    best = [sum((4 * 0.6**k) ** 2 for k in range(b, 8)) for b in range(1, 9)]  # Eckart–Young
    assert [own[b] for b in own] == pytest.approx([best[b - 1] for b in own], rel=0.01)
    assert ours[0] < 1.1 * own[1] and all(mine > 1.5 * best[b - 1] for b, mine in enumerate(ours, 1) if b > 1)
    assert all(whole - mine > 0.6 * (whole - best[b - 1]) for b, mine in enumerate(ours, 1))
    assert ours[7] < 0.1 * whole
    cut = [error(B[:, :b] @ A[:b], target) for b in range(1, 5)]
    as_read = [error(8 / b * B[:, :b] @ A[:b], target) for b in range(1, 5)]  # by its alpha and its new rank
    for mine, plain, loud in zip(ours, cut, as_read, strict=False):
        assert mine < 0.75 * plain and mine < 0.5 * loud
    assert sum(ours[:4]) < 0.55 * sum(cut)


@pytest.mark.parametrize("wrong", [{"unit": 3}, {"kept_rank": 3, "unit": 2}, {"kept_rank": 32}, {"unit": 32}])
def test_ranks_that_cannot_be_are_refused(wrong):
    with pytest.raises(VelaturaError):
        DyLoRA(**wrong)
