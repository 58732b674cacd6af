"""LoKr against torch.kron and the formulas of the paper, and its split of a width against the reference library's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.adapters.layers import LAYERS, make_site, theta_of
from trainers.adapters.methods.initial import factorise
from trainers.adapters.methods.lokr import LoKr
from trainers.errors import VelaturaError

FULL = LoKr(rank=3, alpha=2.0, factor=4)
LOW_RANK = LoKr(rank=2, alpha=3.0, factor=2, full_matrix=False)
TUCKER = LoKr(rank=2, alpha=3.0, factor=2, full_matrix=False, tucker=True)
BOTH = LoKr(rank=1, alpha=2.0, factor=4, full_matrix=False, decompose_both=True)


def expected(theta: dict, scale: float, shape: tuple[int, ...]) -> torch.Tensor:
    """(α / r) C ⊗ W₂ by torch.kron, with C's kernel 1×1."""
    C = theta["C"] if "C" in theta else theta["Cb"] @ theta["Ca"]
    v_in, kernel = shape[1] // C.shape[1], shape[2:]
    if "W2" in theta:
        W2 = theta["W2"]
    elif "T" in theta:
        W2 = torch.einsum("abkl,oa,bi->oikl", theta["T"], theta["B"], theta["D"])
    else:
        W2 = torch.einsum("or,rk->ok", theta["B"], theta["A"]).reshape(-1, v_in, *kernel)
    return scale * torch.kron(C.reshape(*C.shape, *[1] * len(kernel)).contiguous(), W2.contiguous())


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("method", "names"),
    [(FULL, {"C", "W2"}), (LOW_RANK, {"C", "A", "B"}), (TUCKER, {"C", "B"}), (BOTH, {"Ca", "Cb", "A", "B"})],
)
def test_the_change_is_a_kronecker_product(kind, method, names):
    site = make_site(kind, method)
    theta = theta_of(site)
    if method is TUCKER:
        names = names | ({"T", "D"} if kind in ("strided", "dilated") else {"A"})
    assert set(theta) == names
    change = expected(theta, method.alpha / method.rank, site.op.shape)
    torch.testing.assert_close(site.dense(), change)


def test_each_block_of_the_change_is_a_multiple_of_the_large_factor():
    site = make_site("strided", FULL)
    theta = theta_of(site)
    change = site.dense()  # (4·5, 3·4, 3, 3)
    assert theta["C"].shape == (4, 3) and theta["W2"].shape == (5, 4, 3, 3)
    for a in range(4):
        for b in range(3):
            block = change[a * 5 : a * 5 + 5, b * 4 : b * 4 + 4]
            torch.testing.assert_close(block, 2 / 3 * theta["C"][a, b] * theta["W2"])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("method", [LOW_RANK, TUCKER, BOTH])
def test_a_low_rank_large_factor_makes_it_exactly_low_rank(kind, method):
    (update,) = make_site(kind, method).updates()
    low = update.low_rank()
    C = update.left.detach()
    assert low.rank == torch.linalg.matrix_rank(C) * method.rank
    torch.testing.assert_close(low.dense(), update.dense())


def test_a_full_large_factor_makes_no_low_rank_matrix():
    (update,) = make_site("linear", FULL).updates()
    assert update.low_rank() is None


@pytest.mark.parametrize("method", [FULL, LOW_RANK, BOTH])
@pytest.mark.parametrize("kind", ["linear", "strided"])
def test_its_rank_is_the_product_of_the_ranks(kind, method):
    site = make_site(kind, method)
    (update,) = site.updates()
    left = torch.linalg.matrix_rank(update.left.detach()).item()
    right = torch.linalg.matrix_rank(update._right_dense().detach().flatten(1)).item()
    assert left == (1 if method is BOTH else min(update.left.shape))
    assert right == (min(5, site.op.fan_in // 3) if method is FULL else method.rank)
    assert torch.linalg.matrix_rank(site.dense().flatten(1)).item() == left * right


def test_the_large_factor_stays_full_where_two_thin_ones_would_be_larger():
    factors = {
        rank: set(theta_of(make_site("linear", LoKr(rank=rank, factor=2, full_matrix=False)))) for rank in (4, 5)
    }
    assert factors == {4: {"C", "A", "B"}, 5: {"C", "W2"}}  # v = (10, 6)


def test_the_small_factor_starts_random_and_the_large_at_zero():
    site = make_site("linear", FULL, size=0.0)
    theta = theta_of(site)
    assert not theta["W2"].any() and 0.1 < theta["C"].abs().max() <= 1 / math.sqrt(3)


@given(size=st.integers(1, 5000), factor=st.one_of(st.just(-1), st.integers(2, 600)))
@settings(max_examples=300)
def test_a_width_is_split_as_the_reference_library_does(size, factor):
    from lycoris.functional.general import factorization

    u, v = factorise(size, factor)
    assert (u, v) == tuple(factorization(size, factor))
    assert u * v == size and u <= v


@pytest.mark.parametrize(
    ("size", "factor", "split"), [(320, 8, (8, 40)), (320, -1, (16, 20)), (320, 40, (8, 40)), (768, 7, (6, 128))]
)
def test_some_splits_in_numbers(size, factor, split):
    assert factorise(size, factor) == split


@pytest.mark.parametrize("wrong", [{"factor": 0}, {"factor": 1}, {"rank_dropout": 0.1}, {"tucker": True}])
def test_settings_without_effect_are_refused(wrong):
    with pytest.raises(VelaturaError):
        LoKr(**wrong)


@given(st.integers(2, 6000), st.integers(2, 512))
def test_the_papers_split_is_the_largest_divisor_up_to_factor_and_root(size, factor):
    u, v = factorise(size, factor, as_paper=True)
    assert u * v == size and u == max(d for d in range(1, size + 1) if size % d == 0 and d <= factor and d * d <= size)


def test_the_papers_split_of_a_layer():
    assert (factorise(320, 40), factorise(320, 40, as_paper=True)) == ((8, 40), (16, 20))
    method = LoKr(rank=3, alpha=2.0, factor=10, paper_split=True)
    site = make_site("strided", method)  # 20 by 12
    theta = theta_of(site)
    assert theta["C"].shape == (4, 3) and theta["W2"].shape == (5, 4, 3, 3)
    torch.testing.assert_close(site.dense(), expected(theta, 2 / 3, site.op.shape))
    assert theta_of(make_site("strided", LoKr(rank=3, factor=10)))["C"].shape == (2, 3)
    assert method.validate_targets([site]) is None
    assert LoKr(factor=4, paper_split=True).validate_targets([site]).startswith("method.paper_split has no effect")
