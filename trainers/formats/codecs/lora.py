"""LoRA in files: `lora_up.weight (out, r)`, `lora_down.weight (r, in[, kh, kw])` and Tucker's `lora_mid.weight`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.updates import LowRank
from trainers.formats.layout import scale_of


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...] | None) -> LowRank:
    up, down = tensors["lora_up.weight"].flatten(1), tensors["lora_down.weight"]  # (out, r), (r, in[, kh, kw])
    rank = len(down)
    inferred = (len(up), *down.shape[1:])
    if "lora_mid.weight" in tensors:  # Tucker: mid (r, r, kh, kw), down (r, in, 1, 1)
        mid = tensors["lora_mid.weight"]
        inferred = (len(up), down.shape[1], *mid.shape[2:])
        down = torch.einsum("mnkl,ni->mikl", mid, down.flatten(1))
    return product(up * scale_of(tensors, rank), down.flatten(1), shape or inferred)


def product(up: Tensor, down: Tensor, shape: tuple[int, ...]) -> LowRank:
    """The product of two factors; ValueError if they do not fit each other or a layer of this shape."""
    if up.dim() != 2 or down.dim() != 2:
        raise ValueError("factors that are not matrices")  # torch would multiply batches of them
    if up.shape[1] != len(down):
        raise ValueError("ranks differ")
    if (len(up), down.shape[1]) != (shape[0], math.prod(shape[1:])):
        raise ValueError("another layer's shape")
    return LowRank(up, down, shape)


def write(update: LowRank, alpha: float) -> dict[str, Tensor]:
    low, kernel = update.low_rank(), update.shape[1:]
    ones = (1,) * (len(kernel) - 1)  # convolutions are written as 4-D kernels
    up = low.up * (low.rank / alpha)  # readers multiply by alpha / rank
    return {
        "lora_up.weight": up.reshape(*up.shape, *ones),
        "lora_down.weight": low.down.reshape(low.rank, *kernel),
        "alpha": torch.tensor(float(alpha)),
    }
