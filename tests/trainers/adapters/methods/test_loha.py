"""LoHA against the formulas of the papers, written out anew."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import LAYERS, attach_to, make_site, theta_of
from trainers.adapters.methods.loha import LoHA


@pytest.mark.parametrize("kind", LAYERS)
def test_the_change_is_an_element_wise_product_of_two_low_rank_matrices(kind):
    site = make_site(kind, LoHA(rank=3, alpha=2.0))
    theta = theta_of(site)
    expected = 2 / 3 * (theta["B1"] @ theta["A1"]) * (theta["B2"] @ theta["A2"])
    torch.testing.assert_close(site.dense(), expected.reshape(site.op.shape))


@pytest.mark.parametrize("kind", ["strided", "dilated"])
def test_tucker_is_the_papers_core_times_both_sides(kind):
    site = make_site(kind, LoHA(rank=3, alpha=2.0, tucker=True))
    t = theta_of(site)
    assert t["T1"].shape == (3, 3, 3, 3) and t["D1"].shape == (3, 12)
    one, two = (torch.einsum("abkl,oa,bi->oikl", t["T" + s], t["B" + s], t["D" + s]) for s in "12")  # Prop. 3
    torch.testing.assert_close(site.dense(), 2 / 3 * one * two)


@pytest.mark.parametrize("kind", ["linear", "pointwise"])
def test_tucker_leaves_layers_without_a_kernel_flat(kind):
    assert set(theta_of(make_site(kind, LoHA(rank=3, tucker=True)))) == {"A1", "B1", "A2", "B2"}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("tucker", [False, True])
def test_it_is_exactly_a_low_rank_matrix_of_rank_r_squared(kind, tucker):
    (update,) = make_site(kind, LoHA(rank=3, alpha=2.0, tucker=tucker)).updates()
    low = update.low_rank()
    assert low.up.shape == (20, 9) and low.rank == 9
    torch.testing.assert_close(low.dense(), update.dense())
    torch.testing.assert_close(low.scaled(-0.7).dense(), update.scaled(-0.7).dense())


@pytest.mark.parametrize("rank", [2, 3])
def test_its_rank_is_the_square(rank):
    site = make_site("linear", LoHA(rank=rank, alpha=1.0))
    assert torch.linalg.matrix_rank(site.dense()) == rank**2
    theta = theta_of(site)
    assert torch.linalg.matrix_rank(theta["B1"] @ theta["A1"]) == rank


def test_the_starting_values_are_those_of_the_paper():
    network = attach_to(torch.nn.Sequential(torch.nn.Linear(400, 300)), LoHA(rank=16))
    theta = network.sites[0].placed[0].theta
    assert not theta["B2"].any()
    for name, std in (("B1", 0.1), ("A1", 1.0), ("A2", 1.0)):
        assert theta[name].std().item() == pytest.approx(std, rel=0.05), name


def test_the_loss_of_a_hadamard_target_vanishes():
    draw = torch.Generator().manual_seed(4)
    b1, b2 = (torch.randn(14, 2, generator=draw, dtype=torch.float64) for _ in range(2))
    a1, a2 = (torch.randn(2, 10, generator=draw, dtype=torch.float64) for _ in range(2))
    target = (b1 @ a1) * (b2 @ a2)  # rank 4, out of reach of a LoRA of rank 3
    site = make_site("linear", LoHA(rank=2, alpha=2.0))
    assert site.op.shape == (20, 12)
    wanted = torch.nn.functional.pad(target, (0, 2, 0, 6))
    optimizer = torch.optim.LBFGS(site.parameters(), max_iter=400, line_search_fn="strong_wolfe", history_size=30)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = (site.dense() - wanted).square().sum()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
    assert loss().item() < 1e-6 * wanted.square().sum().item()
