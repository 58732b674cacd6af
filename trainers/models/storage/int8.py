"""INT8: weights in 8 bits per number, symmetric, with one scale per output channel.

For the numbers w of one output channel of W, `(in·kh·kw,)`:

    s = max |w| / 127                fp32, one per channel, (out,)
    q = round(w / s) ∈ −127 … 127    int8, in the shape of W
    ŵ = s q

The error of a number is at most s / 2: for normal numbers 0.8 % of the weight's norm, an eleventh of NF4's. It takes
8 + 32 / (in·kh·kw) bits per number. Products run in the input's dtype with ŵ, rounded once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVELS = 127
"""The largest code."""
SMALLEST = 1e-38
"""Minimum divisor, for channels of zeros."""
PIECE = 2**19
"""Numbers to quantise at once, but at least one channel."""


def quantise(W: Tensor) -> dict[str, Tensor]:
    """Quantise a weight `(out, …)` to `codes` int8 in its shape and `scales` fp32 (out,), on W's device."""
    rows = W.reshape(len(W), -1)
    codes = torch.empty(rows.shape, dtype=torch.int8, device=W.device)
    scales = torch.empty(len(rows), dtype=torch.float32, device=W.device)
    size = max(1, PIECE // rows.shape[1])
    for first in range(0, len(rows), size):  # avoids a complete copy in fp32
        piece = rows[first : first + size].float()
        s = piece.abs().amax(1) / LEVELS
        scales[first : first + size] = s
        codes[first : first + size] = (piece / s.clamp(min=SMALLEST)[:, None]).round_()
    return {"codes": codes.view(W.shape), "scales": scales}


def packed_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of a packed weight of this shape."""
    return math.prod(shape) + 4 * shape[0]


def dequantise(shape: tuple[int, ...], dtype: torch.dtype, codes: Tensor, scales: Tensor) -> Tensor:
    """Ŵ in its shape, computed in fp32 and rounded once to `dtype`."""
    weight = torch.empty(shape, dtype=dtype, device=codes.device)
    return torch.mul(codes, scales.view(-1, *[1] * (len(shape) - 1)), out=weight)
