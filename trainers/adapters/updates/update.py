"""The contract of updates, the structured matrices that change a layer, and the low-rank product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from trainers.adapters.updates.products import ThinProduct
from trainers.adapters.updates.tensors import at_least_fp32, full_rank, max_abs, times
from trainers.adapters.updates.tree import TensorFields

if TYPE_CHECKING:
    from trainers.adapters.op import Op

NOT_ONE_MATRIX = "this update differs between images and is not a single matrix"


class Update(TensorFields):
    """A change ΔW of a layer's weight, as factors; it acts on the layer's *base output* y₀ = W x.

    No update acts on another's result, so several on one layer add up in any order and the live network equals the
    merged one. By default ΔW has full rank.
    """

    if TYPE_CHECKING:  # a field, a class variable or a property of each update

        @property
        def shape(self) -> tuple[int, ...]:
            """Shape of the layer's weight."""
            ...

        @property
        def shift(self) -> Tensor | None:
            """The change of the layer's bias, `(out,)`, or None; `apply` adds it too."""
            ...

    fits_norms: ClassVar[bool] = False
    """Whether it can change a norm, which has a scale and a shift but no matrix."""

    @property
    def uses_base_output(self) -> bool:
        """Whether `apply` reads y₀, which is computed only then."""
        return False

    @property
    def rank_bound(self) -> int:
        """An upper bound on the rank of ΔW, without multiplying its factors."""
        return full_rank(self.shape)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        """The change of the layer's output, in the output's shape and dtype; added to `onto` if given.

        Adding it here saves a pass over the output if the last product can accumulate.
        """
        raise NotImplementedError

    def dense(self, W: Tensor) -> Tensor:
        """ΔW in the shape of W, in fp32 (fp64 if the factors are fp64)."""
        raise NotImplementedError

    def scaled(self, strength: float) -> Self:
        """The update at another strength: its `dense` is `strength · ΔW`."""
        raise NotImplementedError

    def low_rank(self) -> LowRank | None:
        """The same ΔW as `up · down`, exactly; None if no such form is smaller than the matrix."""
        return None

    def largest(self) -> float:
        """An upper bound on |ΔW| and |shift| from the factors; NaN if a factor has NaN."""
        return max((max_abs(tensor) for tensor in self.tensors().values()), default=0.0)


@dataclass(frozen=True)
class LowRank(Update):
    """A product of two thin matrices: `up (out, r)`, `down (r, in·kh·kw)`, `gate (r,)` or, per image, `(n, r)`.

    `rows (out,)` scale the rows of `up`, which layers may share.
    `shape` is the layer's weight shape. For convolutions `down` is the k×k kernel, which has the stride and padding,
    and `up` the 1×1 kernel after it (LoCon). Both factors may be given per image, `(n, out, r)`, `(n, r, in·kh·kw)`.
    """

    up: Tensor
    down: Tensor
    shape: tuple[int, ...]
    gate: Tensor | None = None
    rows: Tensor | None = None

    shift = None

    @property
    def rank(self) -> int:
        return self.down.shape[-2]

    @property
    def _scaled_up(self) -> Tensor:
        return self.up if self.rows is None else self.rows[:, None] * self.up

    def _gated_up(self) -> Tensor:
        if self.up.dim() == 3 or (self.gate is not None and self.gate.dim() == 2):
            raise ValueError(NOT_ONE_MATRIX)
        return self._scaled_up if self.gate is None else self._scaled_up * self.gate

    def dense(self, W: Tensor | None = None) -> Tensor:
        return (at_least_fp32(self._gated_up()) @ at_least_fp32(self.down)).view(self.shape)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        if not self.rank:  # fully pruned: convolutions reject a kernel without outputs
            return op(x, x.new_zeros(op.shape)) if onto is None else onto
        down = self.down.view(*self.down.shape[:-1], *self.shape[1:])
        if self.up.dim() == 2 and (self.gate is None or self.gate.dim() == 1) and not torch.compiler.is_compiling():
            product: Tensor = ThinProduct.apply(op, x, down, self.gate, self.up, onto, self.rows, None)
            return product
        hidden = op(x, down)  # (…, r) or (n, r, h, w)
        if self.gate is not None:
            hidden = hidden * op.over_channels(self.gate.to(hidden.dtype), hidden.dim())
        return op.pointwise(hidden, self._scaled_up, onto)

    def norm(self) -> Tensor:
        """‖B A‖ = √tr((BᵀB)(A Aᵀ)), without weight-sized tensors."""
        B, A = at_least_fp32(self._gated_up()), at_least_fp32(self.down)
        return ((B.T @ B) * (A @ A.T)).sum().clamp(min=0).sqrt()

    def scaled(self, strength: float) -> LowRank:
        return replace(self, up=times(strength, self.up))

    def low_rank(self) -> LowRank:
        return LowRank(self._gated_up(), self.down, self.shape)

    @property
    def rank_bound(self) -> int:
        return min(self.rank, full_rank(self.shape))

    def largest(self) -> float:
        return max_abs(self._gated_up()) * max_abs(self.down) * max(1, self.rank)

    def row_norms(self, W: Tensor) -> Tensor:
        """‖W + ΔW‖ of each output row, `(out,)`, from ‖w‖² + 2 B·(W Aᵀ) + B A Aᵀ Bᵀ, without weight-sized tensors."""
        W, B, A = W.flatten(1), at_least_fp32(self._gated_up()), at_least_fp32(self.down)
        base = torch.linalg.vector_norm(W, dim=1, dtype=torch.promote_types(W.dtype, B.dtype)).square()
        cross = (B * (W @ A.T.to(W.dtype))).sum(1)  # in W's dtype: a copy of W in fp32 would be weight-sized
        return (base + 2 * cross + (B @ (A @ A.T) * B).sum(1)).clamp(min=0).sqrt()


def concatenate(changes: Sequence[LowRank]) -> LowRank:
    """The exact sum of changes of one layer, of rank Σr: `up (out, Σr)`, `down (Σr, in·kh·kw)`."""
    lows = [change.low_rank() for change in changes]
    up, down = (
        torch.cat([at_least_fp32(low.up) for low in lows], 1),
        torch.cat([at_least_fp32(low.down) for low in lows], 0),
    )
    return LowRank(up, down, lows[0].shape)


def minus_init(B: Tensor, A: Tensor, B0: Tensor, A0: Tensor) -> tuple[Tensor, Tensor]:
    """B A − B₀ A₀ as one product of rank 2r, `up (out, 2r)` and `down (2r, in·kh·kw)`: (B − B₀) A + B₀ (A − A₀).

    This form is exactly 0 at A = A₀, B = B₀ in any number format.
    """
    return torch.cat([B - B0, B0], 1), torch.cat([A, A - A0])
