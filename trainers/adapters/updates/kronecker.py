"""ΔW = left ⊗ right."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.built import build_and_apply
from trainers.adapters.updates.cost import ELEMENT, PASSES, built_cost
from trainers.adapters.updates.low_rank import LowRank


@dataclass(frozen=True)
class Kronecker:
    """A Kronecker product: `left (p, q)`, `right (out/p, in/q[, kh, kw])`, dense or itself low rank.

    It runs by reshaping, (A ⊗ B) vec X = vec(A X Bᵀ) with channels as a q × in/q matrix, and is not built unless a
    layer is so small that building is cheaper.
    """

    left: Tensor
    right: Tensor | LowRank
    shape: tuple[int, ...]

    uses_base_output = False

    def _right_dense(self) -> Tensor:
        return self.right.dense() if isinstance(self.right, LowRank) else self.right

    def dense(self, W: Tensor | None = None) -> Tensor:
        return kron(self.left.float(), self._right_dense().float(), self.shape)

    def runs_factored(self, op: Op, tokens: int) -> bool:
        """Whether reshaping is cheaper than building ΔW, for this layer and number of positions."""
        p, q = self.left.shape
        inner = op.fan_in // q  # inputs to one output of the right factor
        if isinstance(self.right, LowRank):
            right = q * self.right.rank * (op.out // p + inner)
        else:
            right = q * (op.out // p) * inner
        moved = ELEMENT / 8 * (op.shape[1] + 2 * op.out)  # channels are regrouped, which is a copy for linear layers
        return PASSES * tokens * (right + q * op.out + moved) < built_cost(op, tokens, 1)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None) -> Tensor:
        if self.runs_factored(op, op.tokens(x)):
            return self.apply_factored(op, x)
        return self.apply_built(op, x)

    def apply_factored(self, op: Op, x: Tensor) -> Tensor:
        p, q = self.left.shape
        left = self.left.to(x.dtype)
        inner = replace(op, shape=(self.shape[0] // p, self.shape[1] // q, *self.shape[2:]))
        if op.is_linear:
            groups = x.reshape(-1, q, x.shape[-1] // q).transpose(0, 1)  # (q, tokens, in/q)
            mixed = left @ self._apply_right(inner, groups).flatten(1)  # (p, tokens·out/p)
            tokens = groups.shape[1]
            return mixed.view(p, tokens, -1).transpose(0, 1).reshape(*x.shape[:-1], op.out)
        n = x.shape[0]
        hidden = self._apply_right(inner, x.unflatten(1, (q, -1)).flatten(0, 1))  # (n·q, out/p, h, w)
        height, width = hidden.shape[-2:]
        return (left @ hidden.view(n, q, -1)).view(n, op.out, height, width)

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
        return replace(self, left=self.left * strength)

    def low_rank(self) -> LowRank | None:
        """`rank(left)·r` columns where the right factor is low rank; None where it is dense (its rank may be full)."""
        if not isinstance(self.right, LowRank):
            return None
        right = self.right.low_rank()
        U, S, Vh = torch.linalg.svd(self.left.float(), full_matrices=False)
        keep = S > S.max() * 1e-6
        root = S[keep].sqrt()
        up = torch.kron((U[:, keep] * root).contiguous(), right.up.float())  # (out, rank·r)
        down = torch.kron((root[:, None] * Vh[keep]).contiguous(), right.down.float().contiguous())
        return LowRank(up, down, self.shape)

    def file_tensors(self, alpha: float) -> dict[str, Tensor]:
        tensors = {"lokr_w1": self.left}
        if isinstance(self.right, LowRank):
            right = self.right.low_rank()
            tensors |= {"lokr_w2_a": right.up, "lokr_w2_b": right.down, "alpha": torch.tensor(float(right.rank))}
        else:  # readers ignore alpha when both factors are dense
            tensors |= {"lokr_w2": self.right, "alpha": torch.tensor(1.0)}
        return tensors


def kron(left: Tensor, right: Tensor, shape: tuple[int, ...]) -> Tensor:
    """left ⊗ right of a kernel, `(out, in[, kh, kw])`; the kernel's extent belongs to the right factor."""
    left = left.view(*left.shape, *[1] * (right.dim() - 2))
    return torch.kron(left.contiguous(), right.contiguous()).view(shape)
