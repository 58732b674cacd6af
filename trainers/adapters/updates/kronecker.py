"""ΔW = left ⊗ right."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.cost import MOVED, PASSES, built_cost
from trainers.adapters.updates.products import build_and_apply
from trainers.adapters.updates.tensors import add_onto, at_least_fp32, full_rank, max_abs, times
from trainers.adapters.updates.update import LowRank, Update


@dataclass(frozen=True)
class Kronecker(Update):
    """A Kronecker product: `left (p, q)`, `right (out/p, in/q[, kh, kw])`, which is dense or low rank.

    It is applied by reshaping, (A ⊗ B) vec X = vec(A X Bᵀ) with the channels as a q × in/q matrix X; in small layers,
    where that is cheaper, ΔW is built.
    """

    left: Tensor
    right: Tensor | LowRank
    shape: tuple[int, ...]

    shift = None

    def _right_dense(self) -> Tensor:
        return self.right.dense() if isinstance(self.right, LowRank) else self.right

    def dense(self, W: Tensor | None = None) -> Tensor:
        return kron(at_least_fp32(self.left), at_least_fp32(self._right_dense()), self.shape)

    def norm(self) -> Tensor:
        """The Frobenius norm of ΔW, a scalar: the product of those of its factors."""
        return at_least_fp32(self.left).norm() * at_least_fp32(self._right_dense()).norm()

    def _order_costs(self, op: Op, tokens: int) -> tuple[float, float]:
        """Costs of applying the left factor before and after the right one."""
        (p, q), v_in, v_out = self.left.shape, op.shape[1] // self.left.shape[1], op.out // self.left.shape[0]
        inner = op.fan_in // q  # inputs to one output of the right factor
        right = self.right.rank * (v_out + inner) if isinstance(self.right, LowRank) else v_out * inner
        moved = MOVED * (p + q) if op.is_linear else 0.0  # groups of a linear layer are copied next to each other
        before = tokens * p * right + op.reduction * tokens * v_in * (p * q + moved)
        after = tokens * q * right + tokens * v_out * (p * q + moved)
        return PASSES * before, PASSES * after

    def _mixes_first(self, op: Op) -> bool:
        before, after = self._order_costs(op, 1)
        return before < after

    def runs_factored(self, op: Op, tokens: int) -> bool:
        """Whether reshaping costs less than building ΔW, for this layer and number of positions."""
        rank = self.right.rank if isinstance(self.right, LowRank) else 0
        return min(self._order_costs(op, tokens)) < built_cost(op, tokens, rank)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        factored = self.runs_factored(op, op.tokens(x))
        return add_onto(self.apply_factored(op, x) if factored else self.apply_built(op, x), onto)

    def apply_factored(self, op: Op, x: Tensor) -> Tensor:
        p, q = self.left.shape
        inner = replace(op, shape=(self.shape[0] // p, self.shape[1] // q, *self.shape[2:]))
        if op.is_linear:
            groups = x.reshape(math.prod(x.shape[:-1]), q, inner.shape[1])  # (tokens, q, in/q); no −1: it may be empty
            if self._mixes_first(op):
                return self._apply_right(inner, self._mix(groups)).reshape(*x.shape[:-1], op.out)
            return self._mix(self._apply_right(inner, groups)).reshape(*x.shape[:-1], op.out)
        n, _, *size = x.shape
        if self._mixes_first(op):
            mixed = op.pointwise(x.reshape(n, q, inner.shape[1] * size[0], size[1]), self.left)
            hidden = self._apply_right(inner, mixed.view(n * p, inner.shape[1], *size))  # (n·p, out/p, h, w)
            return hidden.reshape(n, op.out, *hidden.shape[2:])
        hidden = self._apply_right(inner, x.reshape(n * q, inner.shape[1], *size))  # (n·q, out/p, h, w)
        rows, height, width = hidden.shape[1:]
        return op.pointwise(hidden.reshape(n, q, rows * height, width), self.left).view(n, op.out, height, width)

    def _mix(self, groups: Tensor) -> Tensor:
        """The left factor applied to the groups of each token: `(tokens, q, v)` to `(tokens, p, v)`."""
        tokens, q, v = groups.shape
        mixed = self.left.to(groups.dtype) @ groups.transpose(0, 1).reshape(q, tokens * v)
        return mixed.view(len(self.left), tokens, v).transpose(0, 1)

    def _apply_right(self, inner: Op, x: Tensor) -> Tensor:
        return self.right.apply(inner, x) if isinstance(self.right, LowRank) else inner(x, self.right)

    def apply_built(self, op: Op, x: Tensor) -> Tensor:
        if isinstance(self.right, LowRank):
            right = self.right.low_rank()

            def build(left: Tensor, b: Tensor, a: Tensor) -> Tensor:
                return kron(left, (b @ a).view(right.shape), self.shape)

            return build_and_apply(op, build, x, self.left, right.up, right.down)
        return build_and_apply(op, lambda left, right: kron(left, right, self.shape), x, self.left, self.right)

    def scaled(self, strength: float) -> Kronecker:
        return replace(self, left=times(strength, self.left))

    @property
    def rank_bound(self) -> int:
        if not isinstance(self.right, LowRank) or self.right.rank > full_rank(self.right.shape):
            return full_rank(self.shape)
        return min(min(self.left.shape) * self.right.rank, full_rank(self.shape))

    def low_rank(self) -> LowRank | None:
        """A product of rank `rank(left)·r`; None if the right factor is dense or its r exceeds its full rank."""
        if not isinstance(self.right, LowRank) or self.right.rank > full_rank(self.right.shape):
            return None
        right = self.right.low_rank()
        U, S, Vh = torch.linalg.svd(at_least_fp32(self.left), full_matrices=False)
        keep = S.max() * 1e-6 <= S  # at least one, even for a zero matrix
        root = S[keep].sqrt()
        up = torch.kron((U[:, keep] * root).contiguous(), at_least_fp32(right.up))  # (out, rank·r)
        down = torch.kron((root[:, None] * Vh[keep]).contiguous(), at_least_fp32(right.down).contiguous())
        return LowRank(up, down, self.shape)

    def largest(self) -> float:
        right = self.right.largest() if isinstance(self.right, LowRank) else max_abs(self.right)
        return max_abs(self.left) * right


def kron(left: Tensor, right: Tensor, shape: tuple[int, ...]) -> Tensor:
    """left ⊗ right, `(out, in[, kh, kw])`; the kernel's extent belongs to the right factor."""
    left = left.view(*left.shape, *[1] * (right.dim() - 2))
    return torch.kron(left.contiguous(), right.contiguous()).view(shape)
