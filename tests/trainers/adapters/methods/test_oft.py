"""OFT and BOFT against the formulas of their papers, written out anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainers.adapters.layers import LAYERS, input_for, make_site, put_on, theta_of
from trainers.adapters.methods.oft import OFT, skew
from trainers.adapters.updates import Rotation
from trainers.formats.codecs import file_tensors


def rotation(site) -> Tensor:
    """R as one matrix `(out, out)`, from what it does to an identity."""
    update = site.updates()[0]
    identity = torch.eye(site.op.out, dtype=torch.float64)
    return Rotation(update.skew, (site.op.out, site.op.out), update.butterfly).dense(identity) + identity


def cayley(Q: Tensor) -> Tensor:
    one = torch.eye(len(Q), dtype=Q.dtype)
    return (one + Q) @ torch.linalg.inv(one - Q)


def test_a_skew_matrix_holds_its_upper_half():
    expected = torch.tensor([[0.0, 1, 2], [-1, 0, 3], [-2, -3, 0]])
    assert torch.equal(skew(torch.tensor([1.0, 2, 3]), 3), expected)


@pytest.mark.parametrize("kind", LAYERS)
def test_oft_turns_neighbouring_outputs_by_the_cayley_transform(kind):
    site = make_site(kind, OFT(block_size=4))
    Q = skew(theta_of(site)["q"][0], 4)  # (5, 4, 4)
    R = torch.block_diag(*(cayley(block) for block in Q))
    torch.testing.assert_close(R @ R.T, torch.eye(20, dtype=torch.float64))
    W = site.weight().flatten(1)
    torch.testing.assert_close(site.dense().flatten(1), R @ W - W)
    angles = (W + site.dense().flatten(1)).T  # what the layer gives keeps its length, whatever it reads
    torch.testing.assert_close(angles.norm(dim=1), W.T.norm(dim=1))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_file_has_the_turn_as_lycoris_reads_it(kind):
    """Its diag-oft takes blocks less their transposes for Q, and sums R over its rows: W' = Rᵀ W."""
    site = make_site(kind, OFT(block_size=4))
    blocks = file_tensors(site.updates()[0], 1.0)["oft_blocks"]  # (5, 4, 4)
    R, W = torch.block_diag(*(cayley(block - block.T) for block in blocks)), site.weight().flatten(1)
    assert (R.T - R).norm() > 0.1
    torch.testing.assert_close(R.T @ W - W, site.dense().flatten(1))


def lengths_and_angles(rows: Tensor) -> tuple[Tensor, Tensor]:
    """‖row‖ of each, and the cosine between any two."""
    lengths = rows.norm(dim=1)
    unit = rows / lengths[:, None]
    return lengths, unit @ unit.T


@pytest.mark.parametrize("butterfly", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_turns_inputs_keeps_neurons_and_what_turns_outputs_keeps_columns(kind, dtype, tolerance, butterfly):
    """The rows of W are its neurons: W R keeps their lengths and angles, and R W those of the columns."""
    for side, kept, moved in (("input", "rows", "columns"), ("output", "columns", "rows")):
        site = make_site(kind, OFT(block_size=4, butterfly=butterfly, side=side)).to(dtype)
        site.layer.to(dtype)
        W, change = site.weight().flatten(1), site.dense().flatten(1)
        before = {"rows": lengths_and_angles(W), "columns": lengths_and_angles(W.T)}
        after = {"rows": lengths_and_angles(W + change), "columns": lengths_and_angles((W + change).T)}
        for one, other in zip(before[kept], after[kept], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
        assert max((o - p).abs().max() for o, p in zip(before[moved], after[moved], strict=True)) > 0.05


@pytest.mark.parametrize("kind", LAYERS)
def test_the_input_side_is_w_times_r_on_every_tap(kind):
    site = make_site(kind, OFT(block_size=4, side="input"))
    R = torch.block_diag(*(cayley(block) for block in skew(theta_of(site)["q"][0], 4)))
    assert site.op.shape[1] == len(R) == 12
    W, x = site.weight(), input_for(kind)
    expected = torch.einsum("oi...,ij->oj...", W, R) - W
    torch.testing.assert_close(site.dense(), expected)
    (update,) = site.updates()
    torch.testing.assert_close(update.apply(site.op, x), site.op(x, expected))
    torch.testing.assert_close(update.scaled(-0.5).apply(site.op, x), site.op(x, -0.5 * expected))
    read = file_tensors(update, 1.0)["diff"]
    torch.testing.assert_close(read, expected)


def test_input_blocks_are_as_large_as_is_asked_for():
    assert OFT(side="input").block(320) == 32 and OFT(side="output").block(320) == 16
    site = put_on(torch.nn.Linear(12, 16), OFT(block_size=6, side="input"))
    assert sum(p.numel() for p in site.parameters()) == 12 * (6 - 1) // 2


def test_boft_is_a_product_of_turns_over_channels_ever_further_apart():
    site = make_site("linear", OFT(block_size=4, butterfly=True))
    assert site.op.out == 20  # blocks of 4 would leave 5, of 10 leave 2 = 2¹
    theta = theta_of(site)["q"]
    assert theta.shape == (2, 2, 45)
    R = torch.eye(20, dtype=torch.float64)
    for i, blocks in enumerate(skew(theta, 10)):
        apart = 5 * 2**i
        order = torch.arange(20).view(-1, 2, apart).mT.flatten()  # channels that meet, side by side
        P = torch.eye(20, dtype=torch.float64)[order]
        R = P.T @ torch.block_diag(*(cayley(block) for block in blocks)) @ P @ R
    torch.testing.assert_close(rotation(site), R)
    torch.testing.assert_close(R @ R.T, torch.eye(20, dtype=torch.float64))
    assert (R.abs() > 1e-9).all()  # every channel meets every other


@pytest.mark.parametrize(
    ("out", "wanted", "plain", "butterfly"),
    [(320, 32, 16, 20), (640, 32, 20, 20), (1280, 32, 32, 20), (768, 7, 6, 6), (16, 4, 4, 4)],
)
def test_the_size_of_blocks(out, wanted, plain, butterfly):
    assert OFT(block_size=wanted).block(out) == plain <= out // plain
    assert OFT(block_size=wanted, butterfly=True).block(out) == butterfly


def test_how_many_numbers_are_trained():
    for method, factors in ((OFT(block_size=4), 1), (OFT(block_size=2, butterfly=True), 4)):
        site = put_on(torch.nn.Linear(12, 16), method)
        b = method.block(16)
        assert sum(p.numel() for p in site.parameters()) == factors * 16 * (b - 1) // 2


def test_a_constraint_bounds_each_turn():
    site = make_site("linear", OFT(block_size=4, constraint=0.1), size=1.0)
    assert torch.linalg.matrix_norm(site.updates()[0].skew).max() <= 0.1 + 1e-9
    loose = make_site("linear", OFT(block_size=4, constraint=10.0), size=0.1)
    torch.testing.assert_close(loose.updates()[0].skew[0], skew(theta_of(loose)["q"][0], 4))


def test_a_small_turn_survives_bfloat16():
    """(R − I) y is summed up, not a difference of two large numbers."""
    site = put_on(torch.nn.Linear(12, 20, bias=False), OFT(block_size=4), size=1e-4)
    update, y = site.updates()[0], torch.randn(7, 20, dtype=torch.float64)
    exact = update.apply(site.op, y, y)
    rough = update.apply(site.op, y.bfloat16(), y.bfloat16())
    assert (rough.double() - exact).abs().max() < 0.02 * exact.abs().max() < 1e-4


def test_gradients_are_those_of_finite_differences():
    site = put_on(torch.nn.Linear(6, 8).requires_grad_(False), OFT(block_size=4, butterfly=True), size=0.3)
    x = torch.randn(3, 6, dtype=torch.float64)
    q = next(site.parameters())

    def change(values: Tensor) -> Tensor:
        skewed = skew(values, 4)
        return Rotation(skewed, site.op.shape, True).apply(site.op, x, site.op(x, site.weight()))

    assert torch.autograd.gradcheck(change, (q.detach().requires_grad_(),))


@pytest.mark.parametrize("kind", LAYERS)
def test_both_ways_of_turning_are_equal_in_value_and_gradient(kind):
    site = make_site(kind, OFT(block_size=4, butterfly=True))
    y = site.op(input_for(kind), site.weight())
    found = []
    for way in (Rotation._by_factors, Rotation._by_matrix):
        update = site.updates()[0]
        change = way(update, site.op, y.requires_grad_())
        found.append((change, *torch.autograd.grad(change.square().sum(), [y, *site.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_many_positions_of_a_narrow_layer_are_turned_by_one_matrix():
    narrow = Rotation(torch.zeros(6, 32, 10, 10), (320, 320), butterfly=True)
    wide = Rotation(torch.zeros(9, 256, 10, 10), (2560, 320), butterfly=True)
    assert narrow._pays_as_matrix(16384) and not narrow._pays_as_matrix(64)
    assert not wide._pays_as_matrix(16384) and not Rotation(torch.zeros(1, 10, 32, 32), (320, 9))._pays_as_matrix(16384)
