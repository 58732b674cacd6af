"""DoRA in files, W' = m (W + ΔW) / ‖W + ΔW‖: the magnitudes m next to the tensors of ΔW."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainers.adapters.updates import Dense, LowRank, Normalised, Update
from trainers.formats.layout import LayoutError

MAGNITUDES = ("dora_scale", "lora_magnitude_vector")
"""Their suffixes, the second in PEFT's files."""


def read(update: Update, tensors: Mapping[str, Tensor], W: Tensor) -> Dense:
    """The full change; the norm is by row or, for a `dora_scale (1, in)`, by column."""
    changed = W.float() + update.dense(W)
    by_row = tensors.get("lora_magnitude_vector")  # PEFT: `(out,)`, convolutions `(1, out, 1, 1)`
    magnitude = by_row if by_row is not None else tensors["dora_scale"]
    axis = int(by_row is None and magnitude.shape[:1] == (1,) != W.shape[:1])
    if magnitude.numel() != W.shape[axis]:
        raise LayoutError(
            "has {magnitudes} magnitudes for a layer of shape {shape}",
            magnitudes=magnitude.numel(),
            shape=tuple(W.shape),
        )
    others = tuple(d for d in range(W.dim()) if d != axis)
    norm = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
    return Dense(magnitude.float().reshape(norm.shape) * changed / norm - W.float())


def write(update: Update, W: Tensor) -> tuple[LowRank, dict[str, Tensor]]:
    """The low-rank part of a DoRA or a LoRA, and PEFT's magnitudes: the norms of the rows of W + ΔW."""
    low = update.inner if isinstance(update, Normalised) else update.low_rank()
    assert low is not None, "a change that diffusers loads as DoRA or plain LoRA"
    rows = update.magnitude if isinstance(update, Normalised) else low.row_norms(W)
    # In fp32: a magnitude's error is that of its whole row, not of the change.
    magnitude = rows.detach().float().cpu().clone()
    return low, {"lora_magnitude_vector.weight": magnitude if W.dim() == 2 else magnitude[None, :, None, None]}
