"""Short-lived tensors in memory mappings, whose memory returns to the system at once.

On the heap, tensors packed in the meantime lie behind them, and the process keeps their memory.
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
    """A tensor of zeros in its own mapping."""
    import torch

    numbers = prod(shape)
    return torch.frombuffer(mmap(-1, max(1, numbers) * dtype.itemsize), dtype=dtype)[:numbers].view(tuple(shape))


def rounded(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in `dtype`, in its own mapping if it is converted."""
    return tensor if tensor.dtype == dtype else mapped(tensor.shape, dtype).copy_(tensor)
