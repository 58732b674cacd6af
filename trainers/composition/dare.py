"""DARE: a random part of each change, rescaled to the same expectation.

    mᵢ ~ Bernoulli(1 − p)        ΔW = Σᵢ mᵢ ⊙ ΔWᵢ / (1 − p)        E[ΔW] = Σᵢ ΔWᵢ

This reduces overlap between styles. The ΔWᵢ include the strengths. Yu et al. 2023 (arXiv 2311.03099).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def merge_dare(changes: Sequence[Tensor], drop: float, draws: Sequence[torch.Generator]) -> Tensor:
    """ΔW of a layer from those of several styles, all of one shape; `draws` has a CPU generator for each."""
    parts = []
    for change, draw in zip(changes, draws, strict=True):
        m = (torch.rand(change.shape, generator=draw) >= drop).to(change.device)
        parts.append(change * m / (1 - drop))
    return torch.stack(parts).sum(0)
