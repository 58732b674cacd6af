"""ΔW as one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.products import build_and_apply
from trainers.adapters.updates.tensors import add_onto, at_least_fp32
from trainers.adapters.updates.update import LowRank, Update


@dataclass(frozen=True)
class Dense(Update):
    """A dense change: `weight` in the shape of the layer's weight, and a `shift (out,)` of its bias."""

    weight: Tensor
    shift: Tensor | None = None

    fits_norms = True

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    def dense(self, W: Tensor | None = None) -> Tensor:
        return at_least_fp32(self.weight)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        if op.is_norm:
            change = add_onto(op(x, self.weight), onto)
        else:
            change = add_onto(build_and_apply(op, _identity, x, self.weight), onto)
        return change if self.shift is None else change + op.over_channels(self.shift.to(change.dtype))

    def replaces(self, W: Tensor, x: Tensor) -> bool:
        """Whether one product with W + ΔW can replace two; in 16 bits, W + ΔW would lose small changes."""
        return W.dtype == x.dtype == self.weight.dtype and W.dtype in (torch.float32, torch.float64)

    def apply_with(self, op: Op, x: Tensor, W: Tensor) -> Tensor:
        """(W + ΔW) x as one product; backward rebuilds the sum instead of keeping it."""
        return build_and_apply(op, torch.add, x, W, self.weight)

    def scaled(self, strength: float) -> Dense:
        return Dense(self.weight * strength, None if self.shift is None else self.shift * strength)

    def factored(self) -> LowRank:
        """The same ΔW, bit for bit, as a product with an identity matrix, for tools that read only plain LoRA."""
        flat = self.weight.flatten(1)  # (out, in·kh·kw)
        identity = torch.eye(min(flat.shape), dtype=flat.dtype, device=flat.device)
        up, down = (identity, flat) if len(flat) == len(identity) else (flat, identity)
        return LowRank(up, down, self.shape)


def _identity(weight: Tensor) -> Tensor:
    return weight
