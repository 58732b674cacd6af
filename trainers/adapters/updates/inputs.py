"""y₀ → y₀ + W (gain ⊙ x): input channels scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.base import added, precise
from trainers.adapters.updates.dense import Dense
from trainers.adapters.updates.low_rank import LowRank


@dataclass(frozen=True)
class InputScale:
    """A scale of each input of a linear layer: ΔW = W diag(gain), `gain (in,)`, with `weight` the layer's own W.

    No client has a form of it that all read, so a file holds ΔW whole.
    """

    gain: Tensor
    weight: Tensor

    shift = None
    uses_base_output = False

    def dense(self, W: Tensor | None = None) -> Tensor:
        return precise(self.weight) * precise(self.gain)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        return added(op(x * self.gain.to(x.dtype), self.weight), onto)

    def scaled(self, strength: float) -> InputScale:
        return replace(self, gain=self.gain * strength)

    def low_rank(self) -> LowRank | None:
        return None

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        return Dense(self.dense()).file_tensors(alpha)
