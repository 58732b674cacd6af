"""W + ΔW' = m (W + ΔW) / ‖W + ΔW‖: a learned magnitude per output row over another update (DoRA)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.tensors import add_onto, at_least_fp32
from trainers.adapters.updates.update import LowRank, Update


@dataclass(frozen=True)
class Normalised(Update):
    """A low-rank update whose changed rows are scaled to a learned norm.

    `magnitude (out,)` trains; `norm (out,)` is ‖W + ΔW‖ of each output row, detached. Strength s multiplies the full
    change, so that it is linear and matches a merged file.
    """

    inner: LowRank
    magnitude: Tensor
    norm: Tensor
    strength: float = 1.0

    uses_base_output = True
    shift = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def dense(self, W: Tensor) -> Tensor:
        g = (self.magnitude / self.norm).view(-1, *[1] * (W.dim() - 1))
        return self.strength * ((g - 1) * at_least_fp32(W) + g * self.inner.dense())

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        assert y0 is not None
        g = self.strength * self.magnitude / self.norm
        # g − s in fp32: in bf16 the difference would be lost.
        rescaled = op.over_channels((g - self.strength).to(y0.dtype)) * y0
        return replace(self.inner, up=g[:, None] * self.inner.up).apply(op, x, None, add_onto(rescaled, onto))

    def scaled(self, strength: float) -> Normalised:
        return replace(self, strength=self.strength * strength)


def normalise(inner: LowRank, magnitude: Tensor, W: Tensor) -> Normalised:
    """DoRA over `inner`, with the current norms of the changed rows, detached (paper §4.3)."""
    with torch.no_grad():
        norm = inner.row_norms(W)
        norm[norm == 0] = 1  # a row of zeros keeps its magnitude of zero: 0 / 0 would be NaN
    return Normalised(inner, magnitude, norm)
