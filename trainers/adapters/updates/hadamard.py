"""ΔW = left ⊙ right, both low rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainers.adapters.op import Op
from trainers.adapters.updates.cost import built_cost, khatri_rao_cost, low_rank_cost
from trainers.adapters.updates.products import ThinProduct, build_and_apply
from trainers.adapters.updates.tensors import add_onto, full_rank
from trainers.adapters.updates.update import LowRank, Update


@dataclass(frozen=True)
class Hadamard(Update):
    """An element-wise product of two matrices of rank r, which equals a `LowRank` of rank r² (Khatri–Rao)."""

    left: LowRank
    right: LowRank

    shift = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.left.shape

    def dense(self, W: Tensor | None = None) -> Tensor:
        return self.left.dense() * self.right.dense()

    def norm(self) -> Tensor:
        """The Frobenius norm of ΔW, a scalar."""
        return self.dense().norm()

    @property
    def _product_rank(self) -> int:
        return self.left.rank * self.right.rank

    @property
    def rank_bound(self) -> int:
        return min(self._product_rank, full_rank(self.shape))

    def low_rank(self) -> LowRank | None:
        """`up · down` of rank r²; None if r² is not below full rank, since a file may contain any r."""
        return self.khatri_rao() if self._product_rank < full_rank(self.shape) else None

    def khatri_rao(self, dtype: torch.dtype | None = None) -> LowRank:
        """The same ΔW as `up · down` of rank r², however high; the factors are rounded once to `dtype`."""
        left, right = self.left.low_rank(), self.right.low_rank()
        up, down = KhatriRao.apply(left.up, left.down, right.up, right.down, dtype or left.up.dtype)
        return LowRank(up.T, down, self.shape)  # (out, r·r), (r·r, in·k)

    def runs_factored(self, op: Op, tokens: int) -> bool:
        """Whether two products of rank r² cost less than building ΔW, for this layer and number of positions."""
        rank = self._product_rank
        factored = low_rank_cost(op, tokens, rank) + khatri_rao_cost(op, rank)
        return factored < built_cost(op, tokens, self.left.rank + self.right.rank)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        if self.runs_factored(op, op.tokens(x)):
            return self.apply_factored(op, x, onto)
        return add_onto(self.apply_built(op, x), onto)

    def apply_factored(self, op: Op, x: Tensor, onto: Tensor | None = None) -> Tensor:
        if torch.compiler.is_compiling() or not self._product_rank:
            return self.khatri_rao(x.dtype).apply(op, x, None, onto)

        def build(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
            change = self.khatri_rao(dtype)
            return change.down.view(-1, *self.shape[1:]), change.up

        down, up = build(x.dtype)
        result: Tensor = ThinProduct.apply(op, x, down, None, up, onto, None, build)
        return result

    def apply_built(self, op: Op, x: Tensor) -> Tensor:
        left, right = self.left.low_rank(), self.right.low_rank()

        def build(b1: Tensor, a1: Tensor, b2: Tensor, a2: Tensor) -> Tensor:
            return ((b1 @ a1) * (b2 @ a2)).view(self.shape)

        return build_and_apply(op, build, x, left.up, left.down, right.up, right.down)

    def scaled(self, strength: float) -> Hadamard:
        return replace(self, left=self.left.scaled(strength))

    def largest(self) -> float:
        return self.left.largest() * self.right.largest()


class KhatriRao(torch.autograd.Function):
    """Factors of the element-wise product of two low-rank matrices, rounded once and not saved for backward.

    From `up (out, p)`, `down (p, n)` and `up (out, q)`, `down (q, n)` to `(p·q, out)` and `(p·q, n)`; row i·q + j is
    the element-wise product of columns (rows) i and j of the two ups (downs).
    """

    @staticmethod
    def forward(ctx: Any, b1: Tensor, a1: Tensor, b2: Tensor, a2: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(b1, a1, b2, a2)
        return _row_products(b1.T, b2.T, dtype), _row_products(a1, a2, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        b1, a1, b2, a2 = ctx.saved_tensors
        grad_b1, grad_b2 = _row_product_gradients(b1.T, b2.T, grads[0])
        grad_a1, grad_a2 = _row_product_gradients(a1, a2, grads[1])
        return grad_b1.T, grad_a1, grad_b2.T, grad_a2, None


def _row_products(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Element-wise products of all pairs of rows: `(p, n)` and `(q, n)` to `(p·q, n)`."""
    return (left.contiguous()[:, None] * right.contiguous()).flatten(0, 1).to(dtype)


def _row_product_gradients(left: Tensor, right: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients `(p, n)` and `(q, n)` from the gradient `(p·q, n)` of the row products."""
    parts = []
    columns = 4096  # per pass, to keep the products in the processor's cache
    for a, b, g in zip(*(t.contiguous().split(columns, dim=1) for t in (left, right, grad)), strict=True):
        g = g.to(left.dtype).unflatten(0, (len(left), len(right)))  # (p, q, columns)
        parts.append(((g * b).sum(1), (g * a[:, None]).sum(0)))
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)
