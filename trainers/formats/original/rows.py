"""The output rows of diffusers' layers in a layer of the original layout."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from trainers.models.families.family import OriginalLayer


def rows_of(layer: OriginalLayer, total: int) -> list[Tensor]:
    """The output rows of each of diffusers' layers in a layer of the original layout, in diffusers' order."""
    if layer.swapped:
        return [torch.arange(total).roll(total // 2)]
    ends = list(accumulate(layer.rows))
    return [torch.arange(end - count, end) for end, count in zip(ends, layer.rows, strict=True)]
