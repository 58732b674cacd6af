"""ΔW = left ⊙ right, both low rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.built import build_and_apply
from trainers.adapters.updates.cost import built_cost, low_rank_cost
from trainers.adapters.updates.low_rank import LowRank


@dataclass(frozen=True)
class Hadamard:
    """An element-wise product of two low-rank matrices of rank r: exactly a `LowRank` of rank r² (Khatri–Rao)."""

    left: LowRank
    right: LowRank

    uses_base_output = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.left.shape

    def dense(self, W: Tensor | None = None) -> Tensor:
        return self.left.dense() * self.right.dense()

    def low_rank(self) -> LowRank:
        left, right = self.left.low_rank(), self.right.low_rank()
        up = (left.up[:, :, None] * right.up[:, None, :]).flatten(1)  # (out, r·r)
        down = (left.down[:, None] * right.down[None]).flatten(0, 1)  # (r·r, in·k)
        return LowRank(up, down, self.shape)

    def runs_factored(self, op: Op, tokens: int) -> bool:
        """Whether two products of rank r² are cheaper than building ΔW, for this layer and number of positions."""
        rank = self.left.rank * self.right.rank
        return low_rank_cost(op, tokens, rank) + _khatri_rao_cost(op, rank) < built_cost(op, tokens, self.left.rank * 2)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None) -> Tensor:
        if self.runs_factored(op, op.tokens(x)):
            return self.low_rank().apply(op, x)
        return self.apply_built(op, x)

    def apply_built(self, op: Op, x: Tensor) -> Tensor:
        left, right = self.left.low_rank(), self.right.low_rank()

        def build(b1: Tensor, a1: Tensor, b2: Tensor, a2: Tensor) -> Tensor:
            return ((b1 @ a1) * (b2 @ a2)).view(self.shape)

        return build_and_apply(op, build, x, left.up, left.down, right.up, right.down)

    def scaled(self, strength: float) -> Hadamard:
        return replace(self, left=self.left.scaled(strength))

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        left, right = self.left.low_rank(), self.right.low_rank()
        # alpha = rank makes every reader's scale 1; one reader applies any other scale twice when it merges.
        return {
            "hada_w1_a": left.up,
            "hada_w1_b": left.down,
            "hada_w2_a": right.up,
            "hada_w2_b": right.down,
            "alpha": torch.tensor(float(self.left.rank)),
        }


def _khatri_rao_cost(op: Op, rank: int) -> float:
    return 3 * 2 * rank * (op.out + op.fan_in)  # written, read again by the product, and once more for the gradient
