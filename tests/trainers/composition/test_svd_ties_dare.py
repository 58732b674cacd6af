"""SVD, TIES and DARE on whole matrices, against what a hand computes."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.layers import LAYERS, VARIANTS, make_site
from trainers.adapters.updates import LowRank
from trainers.adapters.updates.update import concatenate
from trainers.composition.dare import merge_dare
from trainers.composition.svd import merge_svd, relative_error
from trainers.composition.ties import merge_ties, trim
from trainers.randomness import generator

FIRST = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
SECOND = torch.tensor([[-2.0, -4.0], [1.0, 0.5]])


def test_ties_by_hand():
    assert trim(FIRST, 0.5).tolist() == [[3, 0], [0, 2]] and trim(SECOND, 0.5).tolist() == [[-2, -4], [0, 0]]
    # Above left they pull apart, 3 against −2: the larger wins and is not made smaller by the other.
    assert merge_ties([FIRST, SECOND], 0.5).tolist() == [[3, -4], [0, 2]]
    # With everything kept, what agrees is averaged: (−1 − 4) / 2, (0.5 + 1) / 2, (2 + 0.5) / 2.
    assert merge_ties([FIRST, SECOND], 1.0).tolist() == [[3, -2.5], [0.75, 1.25]]


def test_a_stronger_style_wins_the_election():
    assert merge_ties([FIRST, 2 * SECOND], 0.5).tolist() == [[-4, -8], [0, 2]]
    assert merge_ties([FIRST, -FIRST], 1.0).tolist() == [[0, 0], [0, 0]]
    assert merge_ties([FIRST], 1.0).equal(FIRST)


def test_at_least_one_entry_is_kept():
    assert trim(FIRST, 0.01).tolist() == [[3, 0], [0, 0]]
    assert trim(torch.zeros(2, 2), 0.3).tolist() == [[0, 0], [0, 0]]


def test_dare_keeps_the_expectation():
    changes, draws = [FIRST, SECOND], 4000
    merged = torch.stack([merge_dare(changes, 0.6, [generator(n, 0), generator(n, 1)]) for n in range(draws)])
    # The variance of an entry is Σ Δ² p / (1 − p).
    spread = ((FIRST.square() + SECOND.square()) * 0.6 / 0.4 / draws).sqrt()
    assert ((merged.mean(0) - FIRST - SECOND).abs() <= 4 * spread).all()
    alone = merge_dare([FIRST], 0.6, [generator(3)])
    assert all(value in (0, entry / 0.4) for value, entry in zip(alone.flatten(), FIRST.flatten(), strict=True))
    assert alone.equal(merge_dare([FIRST], 0.6, [generator(3)]))
    assert merge_dare(changes, 0.0, [generator(0), generator(1)]).equal(FIRST + SECOND)


def test_svd_by_hand():
    """diag(3, 4) of two styles, at rank 1: the 3 is lost."""
    up, down = torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0, 0.0]])
    first, second = LowRank(up, down, (2, 2)), LowRank(4 * up.flip(0) / 3, down.flip(1), (2, 2))
    cut = merge_svd([first, second], torch.zeros(2, 2), 1)
    torch.testing.assert_close(cut.change.dense(), torch.diag(torch.tensor([0.0, 4.0])))
    assert (cut.energy, cut.tail) == pytest.approx((25, 9)) and relative_error([cut]) == pytest.approx(0.6)
    assert relative_error([cut, merge_svd([first, second], torch.zeros(2, 2), 2)]) == pytest.approx((9 / 50) ** 0.5)


@pytest.mark.parametrize("names", [("lora", "lokr-low-rank"), ("loha", "lora-dora"), ("lora", "lokr")])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_tail_is_the_error(kind, names):
    """From factors (Σr of the first pair) and from whole matrices alike; no other matrix of that rank is nearer."""
    sites = [make_site(kind, VARIANTS[name]) for name in names]
    changes, W = [site.updates()[0].scaled(0.7) for site in sites], sites[0].weight()
    exact = sum(change.dense(W) for change in changes)
    for rank in (2, 40):
        cut = merge_svd(changes, W, rank)
        σ = torch.linalg.svdvals(exact.flatten(1))
        assert cut.change.shape == W.shape and cut.change.rank <= rank
        torch.testing.assert_close((exact - cut.change.dense()).square().sum().item(), cut.tail, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(cut.tail, σ[rank:].square().sum().item(), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(cut.energy, exact.square().sum().item())


def test_concatenated_factors_are_the_sum():
    sites = [make_site("strided", VARIANTS[name]) for name in ("lora", "sora")]
    changes = [site.updates()[0].low_rank() for site in sites]
    whole = concatenate([changes[0].scaled(0.5), changes[1]])
    assert whole.rank == 6
    torch.testing.assert_close(whole.dense(), 0.5 * changes[0].dense() + changes[1].dense())
