"""The best LoRA of a given rank for a full change.

    D ≈ B A        D (out, in·kh·kw),  B = U (out, r),  A = Uᵀ D (r, in·kh·kw)

U holds the left singular vectors of D's r largest singular values σ. No product of rank r is closer to D: its error is
√(σ²ᵣ₊₁ + σ²ᵣ₊₂ + …) (Eckart and Young 1936).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.site import Site
from trainers.adapters.updates import LowRank, Update


def extract(change: Tensor, rank: int) -> LowRank:
    """The closest change of this rank to `(out, in[, kh, kw])`, or all of it if the layer's full rank is lower."""
    D = change.flatten(1)
    if D.device.type == "mps":  # no fp64
        D = D.cpu()
    # Eigenvectors of the smaller of D Dᵀ and Dᵀ D in fp64: as exact as an SVD in fp32, and several times faster.
    wide = D.shape[0] <= D.shape[1]
    thin = D.double() if wide else D.double().T
    basis = torch.linalg.eigh(thin @ thin.T).eigenvectors.flip(1)[:, :rank]
    up, down = (basis, basis.T @ thin) if wide else ((basis.T @ thin).T, basis.T)
    return LowRank(up.to(change), down.to(change), tuple(change.shape))


@torch.no_grad()
def kept_share(written: Mapping[Site, Update]) -> float:
    """‖ΔW in the file‖ / ‖ΔW‖ over all layers truncated to a rank; 1 if there are none."""
    total = kept = 0.0
    for site, update in written.items():
        if any(placed.method.file_form().extract_rank for placed in site.placed):
            W = site.weight()
            total += float(site.dense().square().sum())
            kept += float(update.dense(W).square().sum())
    return math.sqrt(kept / total) if total else 1.0
