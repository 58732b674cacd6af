"""y₀ → (1 + gain) y₀ + shift: output channels scaled and shifted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.tensors import at_least_fp32
from trainers.adapters.updates.update import Update


@dataclass(frozen=True)
class Affine(Update):
    """A scale and a shift per output channel, each optional: ΔW = diag(gain) W.

    `gain` and `shift` are `(out,)` or, per image, `(n, out)`. The bias b is not scaled; to scale it too, add `gain · b`
    to the shift.
    """

    gain: Tensor | None
    shift: Tensor | None
    shape: tuple[int, ...]

    fits_norms = True

    @property
    def uses_base_output(self) -> bool:
        return self.gain is not None

    def dense(self, W: Tensor) -> Tensor:
        if self.gain is None:
            assert self.shift is not None
            return at_least_fp32(self.shift).new_zeros(self.shape)
        return at_least_fp32(self.gain).view(-1, *[1] * (W.dim() - 1)) * at_least_fp32(W)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        out = op(x, x.new_zeros(op.shape)) if onto is None else onto
        if self.gain is not None:
            assert y0 is not None
            out = torch.addcmul(out, op.over_channels(self.gain.to(out.dtype), out.dim()), y0)
        if self.shift is not None:
            out = out + op.over_channels(self.shift.to(out.dtype), out.dim())
        return out

    def scaled(self, strength: float) -> Affine:
        gain, shift = (None if part is None else part * strength for part in (self.gain, self.shift))
        return replace(self, gain=gain, shift=shift)
