"""NF4: a weight in 4 bits a number (QLoRA, Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

The numbers of W, row by row, in blocks of 64:

    s = max |w| over a block                            one scale a block, (blocks,)
    k = how many midpoints of the codebook c lie below w / s ∈ [−1, 1]      4 bits, two to a byte, the first one high
    ŵ = s c[k]

The codebook holds quantiles of the normal distribution, which weights nearly follow: 8 positive ones, 7 negative ones
and 0 itself, scaled to [−1, 1]. Doubly quantised, the scales are 8-bit numbers too, in blocks of 256:

    m = mean of all s,  t = max |s − m| over 256 scales,  q = round(127 (s − m) / t),  ŝ = q t / 127 + m

which is 4 + 8/64 + 32/(64 · 256) = 4.127 bits a number; with scales in fp32 it is 4.5. The paper has 8-bit floats for
q; evenly spaced numbers are nearer to the scales of a layer, which lie within a small range.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK, SCALES = 64, 256
"""Numbers that share a scale; scales that share a scale of theirs."""

CODE = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The codebook, as fp32 holds it."""

SMALLEST = 1e-38
"""Stands for the scale of a block of zeros."""


def quantise(W: Tensor, double: bool = True) -> dict[str, Tensor]:
    """A weight of any shape as `codes` uint8 (32·blocks,) and its scales, on W's device.

    Doubly quantised `scales` int8 (blocks,), `outer` fp32 (⌈blocks/256⌉,) and `mean` fp32 (); else `scales` fp32.
    """
    blocks = _padded(W.reshape(-1).float(), BLOCK).view(-1, BLOCK)
    scales = blocks.abs().amax(1)
    # Times the reciprocal, as bitsandbytes has it: at a midpoint a quotient may fall on the other side.
    u = (blocks * scales.clamp(min=SMALLEST).reciprocal()[:, None]).clamp(-1, 1)
    code = _codebook(W.device)
    k = torch.bucketize(u.view(-1), (code[1:] + code[:-1]) / 2, out_int32=True).to(torch.uint8)
    codes = (k[0::2] << 4) | k[1::2]
    return {"codes": codes} | (_quantise_scales(scales) if double else {"scales": scales})


def dequantise(shape: tuple[int, ...], dtype: torch.dtype, codes: Tensor, scales: Tensor, *outer: Tensor) -> Tensor:
    """Ŵ in its shape, computed in fp32 and rounded once; `outer` and `mean` follow where `scales` are int8."""
    s = scale_of(scales, *outer)
    kernel = _kernel() if codes.device.type in ("cpu", "cuda") and dtype != torch.float64 else None
    if kernel is not None:
        flat = kernel(codes, s, dtype)
    else:
        # One look-up gives the two numbers of a byte at once.
        found = _pairs(codes.device).index_select(0, codes.int()).view(torch.float32).view(-1, BLOCK)
        flat = found.mul_(s[:, None]).view(-1).to(dtype)
    return flat[: math.prod(shape)].view(shape)


def scale_of(scales: Tensor, *outer: Tensor) -> Tensor:
    """The scales (blocks,) in fp32, of int8 ones by the `outer` scale of their 256 and the mean of all."""
    if not outer:
        return scales
    t, m = outer
    rows = _padded(scales, SCALES).view(-1, SCALES)
    return torch.addcmul(m, rows.float(), t[:, None] / 127).view(-1)[: len(scales)]


def _quantise_scales(scales: Tensor) -> dict[str, Tensor]:
    mean = scales.mean()
    rows = _padded(scales - mean, SCALES).view(-1, SCALES)
    outer = rows.abs().amax(1)
    q = (rows * (127 / outer.clamp(min=SMALLEST))[:, None]).round().to(torch.int8)
    return {"scales": q.view(-1)[: len(scales)].clone(), "outer": outer, "mean": mean}


def _padded(flat: Tensor, block: int) -> Tensor:
    return F.pad(flat, (0, -len(flat) % block))


@cache
def _codebook(device: torch.device) -> Tensor:
    return torch.tensor(CODE, dtype=torch.float32, device=device)


@cache
def _pairs(device: torch.device) -> Tensor:
    """For each byte its two numbers of the codebook, (256,), as the bits of one integer."""
    code = _codebook(device)
    return torch.stack([code.repeat_interleave(16), code.repeat(16)], 1).view(torch.int64).view(-1)


@cache
def _kernel() -> Any:
    """bitsandbytes' own way from codes (32·blocks,) and scales to numbers, bit for bit the same; None without it."""
    try:
        from bitsandbytes.functional import QuantState, dequantize_4bit
    except (ImportError, OSError, RuntimeError):  # one that cannot be loaded is as good as none
        return None

    def made(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        numbers = torch.Size((1, 2 * len(codes)))
        state = QuantState(scales, numbers, _codebook(codes.device), BLOCK, "nf4", dtype)
        return dequantize_4bit(codes.view(-1, 1), state).view(-1)

    return made
