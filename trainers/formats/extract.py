"""The best LoRA of a given rank out of a whole change.

    D ≈ B A        D (out, in·kh·kw),  B = U (out, r),  A = Uᵀ D (r, in·kh·kw)

U holds the left singular vectors of D's r largest singular values σ. No product of that rank is nearer to D: what it
leaves out is √(σ²ᵣ₊₁ + σ²ᵣ₊₂ + …) of ‖D‖ (Eckart and Young 1936).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update


def extract(change: Tensor, rank: int) -> LowRank:
    """The nearest to a change `(out, in[, kh, kw])` of this rank, or all of it where the layer has no more."""
    D = change.flatten(1)
    if D.device.type == "mps":  # which has no fp64
        D = D.cpu()
    # Eigenvectors of D Dᵀ or Dᵀ D, the smaller, in fp64: as exact as a decomposition in fp32, and several times faster.
    wide = D.shape[0] <= D.shape[1]
    thin = D.double() if wide else D.double().T
    basis = torch.linalg.eigh(thin @ thin.T).eigenvectors.flip(1)[:, :rank]
    up, down = (basis, basis.T @ thin) if wide else ((basis.T @ thin).T, basis.T)
    return LowRank(up.to(change), down.to(change), tuple(change.shape))


@torch.no_grad()
def kept_share(written: Mapping[Site, Update]) -> float:
    """How much of the size ‖ΔW‖ of what was cut to a rank, over all layers, its changes in the file still have."""
    whole = kept = 0.0
    for site, update in written.items():
        if any(placed.method.file_form().extract_rank for placed in site.placed):
            W = site.weight()
            whole += float(site.dense().square().sum())
            kept += float(update.dense(W).square().sum())
    return math.sqrt(kept / whole) if whole else 1.0
