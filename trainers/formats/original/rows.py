"""The output rows of diffusers' layers in a layer of the original layout."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from trainers.adapters.updates.rows import Ranges
from trainers.models.families.family import OriginalLayer


def rows_of(layer: OriginalLayer, total: int) -> list[Tensor]:
    """The output rows of each of diffusers' layers in a layer of the original layout, in diffusers' order."""
    if layer.swapped:
        return [torch.arange(total).roll(total // 2)]
    ends = list(accumulate(layer.rows))
    return [torch.arange(end - count, end) for end, count in zip(ends, layer.rows, strict=True)]


def ranges_of(rows: Tensor) -> Ranges:
    """Ranges of consecutive rows: first row and end."""
    starts = [0, *((rows.diff() != 1).nonzero().flatten() + 1).tolist(), len(rows)]
    return tuple((int(rows[first]), int(rows[last - 1]) + 1) for first, last in pairwise(starts))
