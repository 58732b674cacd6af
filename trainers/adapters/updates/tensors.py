"""Helpers for the tensors of updates."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32 if its dtype is bf16 or fp16; otherwise unchanged."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def add_onto(change: Tensor, onto: Tensor | None) -> Tensor:
    """The change, added to `onto` if given."""
    return change if onto is None else onto + change


def times(scale: float, tensor: Tensor) -> Tensor:
    """The tensor times a scale; at 1 the tensor itself, without a copy."""
    return tensor if scale == 1 else scale * tensor


def full_rank(shape: tuple[int, ...]) -> int:
    """The maximum rank of a weight of this shape: `min(out, in·kh·kw)`."""
    return min(shape[0], math.prod(shape[1:]))


def to_cpu_fp32(tensor: Tensor) -> Tensor:
    """The tensor detached, on the CPU, in fp32."""
    return tensor.detach().float().cpu()


def max_abs(tensor: Tensor) -> float:
    """max |t| of a tensor, 0 if it is empty."""
    return tensor.abs().max().item() if tensor.numel() else 0.0
