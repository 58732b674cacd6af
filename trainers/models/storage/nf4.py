"""NF4: weights in 4 bits per number (QLoRA, Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

For the numbers w of W, row by row, in blocks of 64:

    s = max |w| over a block                            one scale per block, (blocks,)
    k = number of midpoints of the codebook c below w / s ∈ [−1, 1]      4 bits, two per byte, high half first
    ŵ = s c[k]

The codebook holds quantiles of the normal distribution, which weights nearly follow: 8 positive, 7 negative and 0,
scaled to [−1, 1]. With double quantisation, the scales are 8-bit numbers in blocks of 256:

    m = mean of all s,  t = max |s − m| over 256 scales,  ŝ = t d[q] + m

where d[q] is the number of an 8-bit code closest to (s − m) / t. `dynamic` is the dynamic code of Dettmers et al. 2021
(2110.02861, §2): ±10⁻ᵉ f for e = 0 … 6, where the 2⁶⁻ᵉ fractions f are the midpoints of equal parts of [0.1, 1], and 0
and 1. `linear` is q / 127 for q = −127 … 127. If all 256 scales are alike, the evenly spaced code is slightly more
accurate; if one is many times larger, that code leaves too few values for the others, and the dynamic code does not.
Both take 4 + 8/64 + 32/(64 · 256) = 4.127 bits per number; with scales in fp32 it is 4.5.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config.sections import ScaleFormat

BLOCK, SCALES = 64, 256
"""Numbers per scale, and scales per outer scale."""
PIECE = 2**19
"""Numbers to quantise at once, a multiple of `BLOCK`."""

CODE = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The codebook, rounded to fp32."""

SMALLEST = 1e-38
"""Minimum divisor, for blocks of zeros."""


def quantise(W: Tensor, scale_format: ScaleFormat = "dynamic") -> dict[str, Tensor]:
    """Quantise a weight of any shape to `codes` uint8 (32·blocks,) and scales, on W's device.

    The scales are `scales` (blocks,), `outer` fp32 (⌈blocks/256⌉,) and `mean` fp32 (), where `scales` are int8 for
    `linear` and uint8 indices into the code for `dynamic`; or only `scales` fp32 (blocks,).
    """
    pieces = zip(*map(_quantise_piece, W.reshape(-1).split(PIECE)), strict=True)
    packed, scales = map(torch.cat, pieces)
    codes = {"codes": packed}
    return codes | ({"scales": scales} if scale_format == "fp32" else _quantise_scales(scales, scale_format))


def _quantise_piece(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and scales of some blocks of a weight, which avoids a complete copy in fp32."""
    blocks = _padded(numbers.float(), BLOCK).view(-1, BLOCK)
    scales = blocks.abs().amax(1)
    # Multiplied by the reciprocal, as in bitsandbytes: at a midpoint a quotient might round to the other side.
    u = (blocks * scales.clamp(min=SMALLEST).reciprocal()[:, None]).clamp_(-1, 1)
    code = _codebook(numbers.device)
    k = torch.bucketize(u.view(-1), (code[1:] + code[:-1]) / 2, out_int32=True).to(torch.uint8)
    return (k[0::2] << 4) | k[1::2], scales


def packed_bytes(shape: tuple[int, ...], scale_format: ScaleFormat = "dynamic") -> int:
    """Bytes of a packed weight of this shape."""
    blocks = math.ceil(math.prod(shape) / BLOCK)
    scales = 4 * blocks if scale_format == "fp32" else blocks + 4 * math.ceil(blocks / SCALES) + 4
    return blocks * BLOCK // 2 + scales


def dequantise(shape: tuple[int, ...], dtype: torch.dtype, codes: Tensor, scales: Tensor, *outer: Tensor) -> Tensor:
    """Ŵ in its shape, computed in fp32 and rounded once to `dtype`; `outer` and `mean` follow 8-bit `scales`."""
    s = scale_of(scales, *outer)
    kernel = _kernel() if codes.device.type in ("cpu", "cuda") and dtype != torch.float64 else None
    if kernel is not None:
        flat = kernel(codes, s, dtype)
    else:
        # One look-up returns both numbers of a byte.
        numbers = _pairs(codes.device).index_select(0, codes.int()).view(torch.float32).view(-1, BLOCK)
        flat = numbers.mul_(s[:, None]).view(-1).to(dtype)
    return flat[: math.prod(shape)].view(shape)


def scale_of(scales: Tensor, *outer: Tensor) -> Tensor:
    """The scales (blocks,) in fp32; 8-bit scales are dequantised with their outer scale and the mean."""
    if not outer:
        return scales
    t, m = outer
    rows = _padded(scales, SCALES).view(-1, SCALES)
    if scales.dtype == torch.int8:
        s = torch.addcmul(m, rows.float(), t[:, None] / 127)
    else:
        s = dynamic_code(scales.device)[rows.int()] * t[:, None] + m
    return s.view(-1)[: len(scales)]


def _quantise_scales(scales: Tensor, scale_format: ScaleFormat) -> dict[str, Tensor]:
    mean = scales.mean()
    rows = _padded(scales - mean, SCALES).view(-1, SCALES)
    outer = rows.abs().amax(1)
    if scale_format == "linear":
        q = (rows * (127 / outer.clamp(min=SMALLEST))[:, None]).round().to(torch.int8)
    else:
        code = dynamic_code(scales.device)
        u = rows / outer.clamp(min=SMALLEST)[:, None]
        q = torch.bucketize(u, (code[1:] + code[:-1]) / 2, out_int32=True).to(torch.uint8)
    return {"scales": q.view(-1)[: len(scales)].clone(), "outer": outer, "mean": mean}


@cache
def dynamic_code(device: torch.device) -> Tensor:
    """The 256 numbers of the dynamic 8-bit code, ascending, in fp32."""
    edges = [torch.linspace(0.1, 1, 2 ** (6 - e) + 1) for e in range(7)]
    half = torch.cat([10.0**-e * ((edge[1:] + edge[:-1]) / 2) for e, edge in enumerate(edges)])
    return torch.cat([-half, torch.tensor([0.0, 1.0]), half]).sort().values.to(device)


def _padded(flat: Tensor, block: int) -> Tensor:
    return F.pad(flat, (0, -len(flat) % block))


@cache
def _codebook(device: torch.device) -> Tensor:
    return torch.tensor(CODE, dtype=torch.float32, device=device)


@cache
def _pairs(device: torch.device) -> Tensor:
    """The two codebook numbers of each byte, (256,), as the bits of an int64."""
    code = _codebook(device)
    return torch.stack([code.repeat_interleave(16), code.repeat(16)], 1).view(torch.int64).view(-1)


@cache
def _kernel() -> Any:
    """bitsandbytes' kernel from codes (32·blocks,) and scales to numbers, bit-identical; None if not installed."""
    try:
        from bitsandbytes.functional import QuantState, dequantize_4bit
    except (ImportError, OSError, RuntimeError):  # not installed, or its library cannot be loaded
        return None

    def dequantised(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        numbers = torch.Size((1, 2 * len(codes)))
        state = QuantState(scales, numbers, _codebook(codes.device), BLOCK, "nf4", dtype)
        return dequantize_4bit(codes.view(-1, 1), state).view(-1)

    return dequantised
