"""A share of a Kronecker product is those rows of it, in every form, and holds no more than its factors."""

from __future__ import annotations

import pytest
import torch

from trainers.adapters.op import Op
from trainers.adapters.updates import Kronecker, LowRank, PerImage, Rows
from trainers.adapters.updates.per_image import stack
from trainers.formats.codecs import codec_of
from trainers.formats.original.rows import ranges_of
from trainers.formats.write.diffusers import exact_low_rank

LEFT, DOWN = torch.randn(6, 2, generator=torch.Generator().manual_seed(1)), torch.randn(2, 5)
UP = torch.randn(4, 2, generator=torch.Generator().manual_seed(2))
RIGHTS = {"dense": UP @ DOWN, "thin": LowRank(UP, DOWN, (4, 5))}


@pytest.mark.parametrize("right", RIGHTS)
@pytest.mark.parametrize("ranges", [((5, 13),), ((12, 24), (0, 12))])
def test_a_share_is_those_rows_in_every_form(right, ranges):
    whole = Kronecker(LEFT, RIGHTS[right], (24, 10))
    share, wanted = Rows(whole, ranges), torch.cat([whole.dense()[a:b] for a, b in ranges])
    op, x, y = Op(share.shape), torch.randn(3, 7, 10), torch.randn(3, 7, len(wanted))
    assert torch.equal(share.dense(), wanted) and share.shape == wanted.shape
    assert torch.allclose(share.apply(op, x), x @ wanted.T, atol=1e-5)
    assert torch.allclose(share.scaled(0.5).apply(op, x, None, y), y + 0.5 * x @ wanted.T, atol=1e-5)
    for low in (exact_low_rank(share), *filter(None, [share.low_rank()])):
        assert torch.allclose(low.dense(), wanted, atol=1e-5) and low.rank <= max(share.rank_bound, 8)
    assert (share.low_rank() is None) == (right == "dense")
    assert codec_of(share) is None
    several = PerImage(*stack({0: share}, share.shape, 1), share.shape, index=torch.tensor([0, -1, 0]))
    assert torch.allclose(several.apply(op, x, None, y)[0], y[0] + x[0] @ wanted.T, atol=1e-5)
    assert {tensor.data_ptr() for tensor in share.tensors().values()} == {
        t.data_ptr() for t in whole.tensors().values()
    }


def test_rows_are_runs_of_consecutive_ones():
    assert ranges_of(torch.arange(6).roll(3)) == ((3, 6), (0, 3))
    assert ranges_of(torch.arange(4, 9)) == ((4, 9),)
