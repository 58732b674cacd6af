"""GLoRA in LyCORIS' files: `a1.weight`, `a2.weight`, `b1.weight` and `b2.weight`.

    W' = W + W A + B,           A = A₁ A₂ (in × in) and B = B₁ B₂ (out × in) of rank r, both times α / r

Chavan et al. 2023 (arXiv 2306.07967). On a convolution A mixes the input channels alike at every position of the
kernel, as in LyCORIS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.updates import Dense, LowRank, Update
from trainers.formats.layout import GLORA, LayoutError, scale_of


def read(tensors: Mapping[str, Tensor], W: Tensor) -> Update:
    """GLoRA: A₁ (in, r), A₂ (r, in), B₁ (out, r), B₂ (r, in·kh·kw); older files have both pairs swapped."""
    if W.dim() < 2:
        raise LayoutError("has GLoRA matrices, but a norm has no matrix")
    a1, a2, b1, b2 = (tensors[name].float().flatten(1) for name in GLORA)
    out, fan_in, inputs = W.shape[0], math.prod(W.shape[1:]), W.shape[1]
    if not _are(a1, a2, b1, b2, out, inputs, fan_in):
        a1, a2, b1, b2 = a2, a1, b2, b1
        if not _are(a1, a2, b1, b2, out, inputs, fan_in):
            sizes = ", ".join(str(tuple(tensors[name].shape)) for name in GLORA)
            raise LayoutError(
                "has GLoRA matrices {sizes} for a layer of shape {shape}", sizes=sizes, shape=tuple(W.shape)
            )
    scale, weight = scale_of(tensors, len(a2)), W.float()
    if fan_in == inputs:
        up = torch.cat([weight.reshape(out, inputs) @ a1, b1], 1) * scale
        return LowRank(up, torch.cat([a2, b2]), tuple(W.shape))
    between = (a1, a2) if len(a2) <= inputs else (a1 @ a2, torch.eye(inputs))  # no intermediate larger than W
    mixed = torch.einsum("oikl,ir,rj->ojkl", weight, *between)
    return Dense(scale * (mixed + (b1 @ b2).view(W.shape)))


def _are(a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor, out: int, inputs: int, fan_in: int) -> bool:
    rank = a1.shape[1]
    return (*a1.shape, *a2.shape, *b1.shape, *b2.shape) == (inputs, rank, rank, inputs, out, rank, rank, fan_in)
