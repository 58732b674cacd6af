"""NF4's codebook, its error and size, and the same bytes as bitsandbytes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.config.sections import ScaleFormat
from trainers.models.storage import nf4
from trainers.models.storage.nf4 import BLOCK, CODE, SCALES, dequantise, dynamic_code, quantise, scale_of

NORMAL = torch.randn(1000, 1280, generator=torch.Generator().manual_seed(4))
FP4 = (0.0, 1 / 192, 2 / 3, 1.0, 1 / 3, 1 / 2, 1 / 6, 1 / 4)
"""What FP4 (E2M1) holds on the positive side."""
FORMATS = ("fp32", "linear", "dynamic")


def through(W: Tensor, scale_format: ScaleFormat = "dynamic", dtype: torch.dtype = torch.float32) -> Tensor:
    return dequantise(tuple(W.shape), dtype, *quantise(W, scale_format).values())


def bits(W: Tensor, scale_format: ScaleFormat) -> float:
    return sum(8 * t.numel() * t.element_size() for t in quantise(W, scale_format).values()) / W.numel()


@pytest.fixture(autouse=True)
def uncompiled() -> Iterator[None]:
    """bitsandbytes as it is written: to compile it for each shape takes seconds, and gives the same bits."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture
def own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bitsandbytes, whether it is here or not."""
    monkeypatch.setattr(nf4, "_kernel", lambda: None)


def test_the_codebook_is_made_of_quantiles_of_the_normal_distribution():
    offset = 0.9677083
    assert offset == pytest.approx(1 - (1 / 32 + 1 / 30) / 2, abs=1e-7)
    positive, negative = (torch.special.ndtri(torch.linspace(offset, 0.5, n)[:-1].double()) for n in (9, 8))
    code = torch.cat([positive, torch.zeros(1), -negative]).float().sort().values
    assert torch.equal(code / code.max(), torch.tensor(CODE)) and len(code) == 16


@pytest.mark.usefixtures("own_way")
def test_its_error_on_normal_numbers_is_the_known_one_and_below_those_of_whole_numbers_and_fp4():
    errors = [(through(NORMAL, one) - NORMAL).square().mean().sqrt().item() for one in FORMATS]
    assert errors == pytest.approx([0.0919] * 3, rel=0.01)
    blocks = NORMAL.view(-1, BLOCK)
    scales = blocks.abs().amax(1, keepdim=True)
    values = torch.tensor(sorted({*FP4, *(-v for v in FP4)}))
    nearest = values[torch.bucketize(blocks / scales, (values[1:] + values[:-1]) / 2)]
    fp4 = (nearest * scales - blocks).square().mean().sqrt().item()
    whole = ((7 * blocks / scales).round() / 7 * scales - blocks).square().mean().sqrt().item()  # −7 … 7
    assert [whole, fp4] == pytest.approx([0.1077, 0.1219], rel=0.01) and max(errors) < whole < fp4


def test_it_takes_4_127_bits_a_number_and_4_5_with_scales_in_fp32():
    for scale_format in ("dynamic", "linear"):
        assert bits(NORMAL, scale_format) == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-4)
    assert bits(NORMAL, "fp32") == 4.5


def test_linear_scales_are_within_a_254th_of_their_spread():
    exact, packed = quantise(NORMAL, "fp32")["scales"], quantise(NORMAL, "linear")
    found = scale_of(packed["scales"], packed["outer"], packed["mean"])
    spread = torch.nn.functional.pad(exact - exact.mean(), (0, -len(exact) % SCALES)).view(-1, SCALES).abs().amax(1)
    assert ((found - exact).abs() <= spread.repeat_interleave(SCALES)[: len(exact)] / 254 + 1e-6).all()
    assert ((found - exact).abs() / exact).mean() == pytest.approx(0.0012, rel=0.1)


def test_the_dynamic_code_holds_fractions_by_powers_of_ten():
    code = dynamic_code(torch.device("cpu"))
    assert len(code) == 256 and bool((code.diff() > 0).all())
    assert code[127] == 0 and code[-1] == 1 and torch.equal(-code[:127].flip(0), code[128:-1])
    for e in range(7):  # 2^(6 − e) of them, evenly spaced between 0.1 and 1 times 10^−e
        of_power = code[(code > 0.1 * 10.0**-e) & (code < 10.0**-e)]
        count = 2 ** (6 - e)
        expected = 10.0**-e * (0.1 + 0.9 * (torch.arange(count) + 0.5) / count)
        torch.testing.assert_close(of_power, expected.float())


def test_dynamic_scales_are_the_nearest_of_their_code():
    exact, packed = quantise(NORMAL, "fp32")["scales"], quantise(NORMAL)
    found = scale_of(packed["scales"], packed["outer"], packed["mean"])
    shares = (exact - exact.mean())[: len(exact) // SCALES * SCALES].view(-1, SCALES) / packed["outer"][:-1, None]
    nearest = (shares[..., None] - dynamic_code(exact.device)).abs().argmin(-1).flatten()
    assert torch.equal(packed["scales"][: len(nearest)].long(), nearest)
    assert ((found - exact).abs() / exact).mean() == pytest.approx(0.0016, rel=0.1)


@pytest.mark.usefixtures("own_way")
@pytest.mark.parametrize("times", [20, 40, 75])
def test_one_block_of_large_numbers_costs_the_others_of_its_256_nothing(times):
    W = torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    W[0] *= times
    errors = {one: ((through(W, one) - W)[1:].norm() / W[1:].norm()).item() for one in FORMATS}
    assert errors["dynamic"] == pytest.approx(errors["fp32"], rel=0.02)
    assert errors["dynamic"] < 0.1 < errors["linear"]


@pytest.mark.usefixtures("own_way")
def test_one_large_number_among_small_ones_costs_them_nothing():
    W = 0.02 * torch.randn(256, 64, generator=torch.Generator().manual_seed(1))
    W[0, 0] = 3.0
    errors = {one: ((through(W, one) - W)[1:].norm() / W[1:].norm()).item() for one in FORMATS}
    assert errors["dynamic"] == pytest.approx(errors["fp32"], rel=0.02)
    assert errors["dynamic"] < 0.1 < 0.15 < errors["linear"]


def test_bitsandbytes_has_the_same_dynamic_code_and_scales_no_nearer():
    functional = pytest.importorskip("bitsandbytes.functional")
    _, state = functional.quantize_4bit(NORMAL, blocksize=BLOCK, quant_type="nf4", compress_statistics=True)
    exact, packed = quantise(NORMAL, "fp32")["scales"], quantise(NORMAL)
    assert torch.equal(dynamic_code(torch.device("cpu")), state.state2.code)
    assert torch.equal(packed["mean"], state.offset) and torch.equal(packed["outer"], state.state2.absmax)
    theirs = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
    found = scale_of(packed["scales"], packed["outer"], packed["mean"])
    assert ((found - exact).abs() <= (theirs - exact).abs() + 1e-6).all()
    assert (packed["scales"] != state.absmax).float().mean() < 0.01  # its CPU kernel takes a neighbour at times


@pytest.mark.usefixtures("own_way")
@given(st.integers(1, 400), st.sampled_from(FORMATS), st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
@settings(max_examples=60)
def test_any_number_of_numbers_and_any_size_of_them_comes_back(n, scale_format, size):
    W = size * torch.randn(n, generator=torch.Generator().manual_seed(n))
    back = through(W, scale_format)
    assert back.shape == W.shape and back.isfinite().all()
    largest = W.abs().max()
    assert (back - W).abs().max() <= 0.18 * largest  # half the widest gap, and what the scales are off
    if scale_format == "fp32":
        blocks = torch.nn.functional.pad(W, (0, -n % BLOCK)).view(-1, BLOCK)
        tops = blocks.abs().argmax(1) + BLOCK * torch.arange(len(blocks))
        torch.testing.assert_close(back[tops].abs(), W[tops].abs())  # the largest of each block is held exactly


@pytest.mark.usefixtures("own_way")
@pytest.mark.parametrize("scale_format", FORMATS)
def test_zeros_stay_zeros_and_a_number_lies_on_its_half_of_a_byte(scale_format):
    W = torch.zeros(3, 64)
    W[1, 0], W[1, 1] = -2.0, 0.5
    codes = quantise(W, scale_format)["codes"].view(3, 32)
    zero = CODE.index(0.0)
    assert codes[0].tolist() == codes[2].tolist() == [zero << 4 | zero] * 32
    assert codes[1, 0] == 0 << 4 | CODE.index(0.24611230194568634)
    back = through(W, scale_format)
    assert (back[[0, 2]] == 0).all() and back[1, 0] == pytest.approx(-2.0, rel=0.02)


@pytest.mark.usefixtures("own_way")
def test_it_is_rounded_once():
    exact = through(NORMAL, dtype=torch.float32)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert torch.equal(through(NORMAL, dtype=dtype), exact.to(dtype))


@pytest.mark.parametrize("shape", [(20, 12, 3, 3), (30, 70), (1280, 320), (7, 9)])
def test_bitsandbytes_has_the_same_bytes_and_the_same_numbers(shape, monkeypatch):
    functional = pytest.importorskip("bitsandbytes.functional")
    W = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    codes, state = functional.quantize_4bit(W, blocksize=BLOCK, quant_type="nf4")
    own = quantise(W, "fp32")
    used = math.ceil(W.numel() / 2)
    assert torch.equal(own["codes"][:used], codes.view(-1)) and torch.equal(own["scales"], state.absmax)
    theirs = functional.dequantize_4bit(codes, state)
    by_kernel = {d: [through(W, one, d) for one in FORMATS] for d in (torch.float32, torch.bfloat16)}
    monkeypatch.setattr(nf4, "_kernel", lambda: None)
    assert torch.equal(through(W, "fp32"), theirs)
    for dtype, found in by_kernel.items():
        assert all(torch.equal(through(W, d, dtype), one) for d, one in zip(FORMATS, found, strict=True))


def test_without_bitsandbytes_it_goes_its_own_way(monkeypatch):
    with suppress(ImportError):  # else it would be left half imported
        import bitsandbytes  # noqa: F401
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    nf4._kernel.cache_clear()
    try:
        assert nf4._kernel() is None
    finally:
        nf4._kernel.cache_clear()
