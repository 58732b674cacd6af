"""KronA beside a block against its formula."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.adapters.blocks import IN, OUT, at, make_block, run
from trainers.adapters import KronABlock
from trainers.adapters.block import Call


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
    method = KronABlock(residual=True)
    site = make_block("ff", KronABlock(), size=0.3)
    theta = dict(site.thetas[0].named_parameters()) | {"g": torch.tensor(g, dtype=torch.float64)}
    x = torch.randn(2, 5, OUT, dtype=torch.float64)
    site.op = type(site.op)((OUT, OUT))
    theta["B"] = torch.randn(5, 5, dtype=torch.float64)
    theta["A"] = torch.randn(4, 4, dtype=torch.float64)
    y = torch.randn_like(x)
    call = Call(x, y, None, lambda *_: y)
    plain = KronABlock().after(call, theta, site, {}, site._clock[0].now)
    torch.testing.assert_close(plain, y + x @ torch.kron(theta["A"], theta["B"]).T)
    torch.testing.assert_close(method.after(call, theta, site, {}, site._clock[0].now), plain + g * x)


def test_the_residual_begins_without_effect():
    site = make_block("ff", KronABlock())
    start = KronABlock(residual=True).init(site, {}, torch.Generator())
    assert set(start) == {"A", "B", "g"} and start["g"].shape == () and not start["g"].any()
    assert start["A"].any() and not start["B"].any()


def test_the_bias_adds_to_each_output_channel():
    site = make_block("ff", KronABlock(bias=True, residual=False), size=0.3)
    b, bare = site.thetas[0].get_parameter("b"), make_block("ff", KronABlock())
    bare.thetas[0].load_state_dict({name: site.thetas[0].get_parameter(name) for name in "AB"})
    assert b.shape == (OUT,)
    torch.testing.assert_close(run(site), run(bare) + b)
    assert not KronABlock(bias=True).init(site, {}, torch.Generator())["b"].any()
