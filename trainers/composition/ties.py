"""TIES: keeps the largest entries of each change; where signs disagree, the side with the larger sum wins.

    trim     τᵢ = ΔWᵢ where |ΔWᵢ| is among its ⌈d n⌉ largest of n entries, else 0        (d: density)
    elect    γ = sign(Σᵢ τᵢ), entry by entry
    merge    ΔW = mean of those τᵢ ≠ 0 with sign(τᵢ) = γ, else 0

The ΔWᵢ include the strengths, so a stronger style has more weight in the election. Trimming acts on ΔW and not on
factors, whose trimmed product would differ. Yadav et al. 2023 (arXiv 2306.01708), algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def merge_ties(changes: Sequence[Tensor], density: float) -> Tensor:
    """ΔW of a layer from those of several styles, all of one shape."""
    τ = torch.stack([trim(change, density) for change in changes])  # (styles, out, in[, kh, kw])
    γ = τ.sum(0).sign()
    agreeing = (τ.sign() == γ) & (τ != 0)
    return (τ * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def trim(change: Tensor, density: float) -> Tensor:
    """A change with all but the ⌈d n⌉ largest of its n entries set to 0, for density d."""
    kept = math.ceil(density * change.numel())
    sizes = change.abs().flatten()
    smallest = sizes.kthvalue(len(sizes) - kept + 1).values
    return torch.where(change.abs() >= smallest, change, 0)
