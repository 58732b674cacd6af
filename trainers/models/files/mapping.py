"""Tensors that are there for a moment, in memory that goes back to the system at once.

On a common heap, what is packed meanwhile lies behind them, so that their place stays with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from mmap import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def mapped(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of zeros in a mapping of its own."""
    import torch

    numbers = prod(shape)
    return torch.frombuffer(mmap(-1, max(1, numbers) * dtype.itemsize), dtype=dtype)[:numbers].view(tuple(shape))


def rounded(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in another number format, in a mapping of its own; itself if it has that."""
    return tensor if tensor.dtype == dtype else mapped(tensor.shape, dtype).copy_(tensor)
