"""Truncates the sum of several changes of a layer to rank r.

    ΔW = Σᵢ wᵢ sᵢ Bᵢ Aᵢ = U Σ Vᵀ        ΔW_r = (U_r √Σ_r)(√Σ_r V_rᵀ)        ‖ΔW − ΔW_r‖² = Σ_{j > r} σ_j²

The changes include the strengths wᵢ. With factors, no product of the size of ΔW is needed: with B = [B₁ B₂ …] = Q R and
Aᵀ = [A₁; A₂; …]ᵀ = P S, the singular values of ΔW = Q (R Sᵀ) Pᵀ are those of R Sᵀ. Eckart and Young 1936.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.adapters.updates import LowRank, Update
from trainers.adapters.updates.update import concatenate


@dataclass(frozen=True)
class TruncatedSum:
    """A sum of changes truncated to a rank, with its `energy` ‖ΔW‖² and the truncated part of it, `tail`."""

    change: LowRank
    energy: float
    tail: float


def merge_svd(changes: Sequence[Update], W: Tensor, rank: int) -> TruncatedSum:
    """The closest matrix of this rank to the sum of changes of a layer with weight W."""
    lows = [low for change in changes if (low := change.low_rank()) is not None]
    if len(lows) == len(changes):
        total = concatenate(lows)
        Q, R = torch.linalg.qr(total.up)  # (out, q), (q, Σr)
        P, S = torch.linalg.qr(total.down.mT)  # (in·kh·kw, p), (p, Σr)
        core = R @ S.mT  # (q, p)
    else:
        Q, P = None, None
        core = torch.stack([change.dense(W) for change in changes]).sum(0).flatten(1)
    U, σ, Vh = torch.linalg.svd(core, full_matrices=False)
    root = σ[:rank].sqrt()
    up, down = U[:, :rank] * root, root[:, None] * Vh[:rank]
    if Q is not None and P is not None:
        up, down = Q @ up, down @ P.mT
    squares = σ.double().square()
    return TruncatedSum(LowRank(up, down, tuple(W.shape)), squares.sum().item(), squares[rank:].sum().item())


def relative_error(cuts: Sequence[TruncatedSum]) -> float:
    """‖ΔW − ΔW_r‖ / ‖ΔW‖ over all layers."""
    energy = sum(cut.energy for cut in cuts)
    return float((sum(cut.tail for cut in cuts) / energy) ** 0.5) if energy else 0.0
