"""KronA beside a block against its formula."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.blocks import IN, OUT, at, make_block, run
from trainers.adapters.methods.krona_block import KronABlock


def test_the_output_is_the_formula():
    site = make_block("ff", KronABlock(scale=0.7), size=0.3)
    A, B = (site.thetas[0].get_parameter(name) for name in "AB")
    assert (A.shape, B.shape) == ((4, 3), (5, 4))  # of 20 and 12
    x = torch.eye(IN, dtype=torch.float64)[None]
    change = site.block(x) - _bare(site, x)
    torch.testing.assert_close(change[0].T, 0.7 * torch.kron(A, B))
    assert (run(site) - at(site, 0)).abs().max() > 1e-3


def _bare(site, x):
    return site.block.forward(x)


@pytest.mark.parametrize("g", [0.0, -0.4])
def test_the_residual_adds_the_input_times_a_number(g):
    site = make_block("mlp", KronABlock(scale=0.7, residual=True), size=0.3)
    theta = site.thetas[0]
    with torch.no_grad():
        theta.g.fill_(g)
    assert (theta.A.shape, theta.B.shape) == ((3, 3), (4, 4))
    x = torch.randn(2, 5, IN, dtype=torch.float64)
    expected = _bare(site, x) + 0.7 * x @ torch.kron(theta.A, theta.B).T + g * x
    torch.testing.assert_close(site.block(x), expected)


def test_the_residual_begins_without_effect():
    start = dict(make_block("mlp", KronABlock(residual=True)).thetas[0].named_parameters())
    assert set(start) == {"A", "B", "g"} and start["g"].shape == () and not start["g"].any()
    assert start["A"].any() and not start["B"].any()


def test_the_bias_adds_to_each_output_channel():
    site = make_block("ff", KronABlock(bias=True, residual=False), size=0.3)
    b, bare = site.thetas[0].get_parameter("b"), make_block("ff", KronABlock())
    bare.thetas[0].load_state_dict({name: site.thetas[0].get_parameter(name) for name in "AB"})
    assert b.shape == (OUT,)
    torch.testing.assert_close(run(site), run(bare) + b)
    assert not KronABlock(bias=True).init(site, {}, torch.Generator())["b"].any()
