"""ΔW = (R − I) W: rotated output channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.products import build_and_apply
from trainers.adapters.updates.tensors import add_onto, at_least_fp32, max_abs
from trainers.adapters.updates.update import Update

MOVED = 8.0
"""Cost of moving and rotating one number, in multiply-adds of a matrix product, measured on a CPU."""


class Blocks:
    """Block matrices `(k, b, b)` on the channels of `(n, k·b, p)`."""

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        return _joined(weight.to(x.dtype) @ _split(x, weight), x.shape)

    def gradients(self, x: Tensor, weight: Tensor, grad: Tensor, needed: tuple[bool, bool]) -> tuple[Any, Any]:
        """The needed gradients of x and of the weight."""
        blocks = _split(grad, weight)
        grad_x = _joined(weight.mT @ blocks, x.shape) if needed[0] else None
        return grad_x, blocks @ _split(x, weight).mT if needed[1] else None


def _split(x: Tensor, weight: Tensor) -> Tensor:
    """`(n, k·b, p)` as `(k, b, n·p)`."""
    k, b = weight.shape[:2]
    return x.unflatten(1, (k, b)).permute(1, 2, 0, 3).flatten(2)


def _joined(blocks: Tensor, shape: torch.Size) -> Tensor:
    """`(k, b, n·p)` as `(n, k·b, p)`."""
    return blocks.unflatten(2, (shape[0], shape[2])).permute(2, 0, 1, 3).flatten(1, 2)


@dataclass(frozen=True)
class Rotation(Update):
    """A product R of `m` block-diagonal rotations, each the Cayley transform of skew blocks: `skew (m, out/b, b, b)`.

    With `butterfly`, the i-th acts on channels 2ⁱ b / 2 apart; otherwise m = 1, and it acts on neighbouring channels.
    `gain (out,)` scales the rotated output, `shift (out,)` is added to it. Strength s multiplies the full change.
    """

    skew: Tensor
    shape: tuple[int, ...]
    butterfly: bool = False
    gain: Tensor | None = None
    shift: Tensor | None = None
    strength: float = 1.0

    uses_base_output = True

    def rotate_minus_identity(self, y: Tensor) -> Tensor:
        """(R − I) y for channels along dim 1 of `(n, out, p)`, summed factor by factor to avoid cancellation."""
        change: Tensor | None = None
        # One rotation is not split, which would copy its gradient and round sums of it otherwise.
        for i, skew in enumerate(self.skew.split(1) if len(self.skew) > 1 else (self.skew,)):
            blocks = self._to_blocks(y if change is None else y + change, i)
            product = self._from_blocks(build_and_apply(Blocks(), _first_cayley, blocks, skew), i)
            change = product if change is None else change + product
        return torch.zeros_like(y) if change is None else change

    def _to_blocks(self, y: Tensor, i: int) -> Tensor:
        if not self.butterfly:
            return y
        return y.unflatten(1, (-1, 2, self._distance(i))).transpose(2, 3).flatten(1, 3)

    def _from_blocks(self, y: Tensor, i: int) -> Tensor:
        if not self.butterfly:
            return y
        return y.unflatten(1, (-1, self._distance(i), 2)).transpose(2, 3).flatten(1, 3)

    def _distance(self, i: int) -> int:
        return int(self.skew.shape[-1] // 2 * 2**i)

    def _changed(self, y: Tensor) -> Tensor:
        change = self.rotate_minus_identity(y)
        if self.gain is not None:
            change = change + self.gain.to(y.dtype)[:, None] * (y + change)
        return change

    def dense(self, W: Tensor) -> Tensor:
        W = at_least_fp32(W)
        return self.strength * self._changed(W.flatten(1)[None])[0].view(W.shape)

    def apply(self, op: Op, x: Tensor, y0: Tensor | None, onto: Tensor | None = None) -> Tensor:
        assert y0 is not None
        change = self.strength * (
            self._by_matrix(op, y0) if self._pays_as_matrix(y0.numel() // op.out) else self._by_factors(op, y0)
        )
        if self.shift is not None:
            change = change + self.strength * op.over_channels(self.shift.to(y0.dtype))
        return add_onto(change, onto)

    def _pays_as_matrix(self, tokens: int) -> bool:
        """Whether building R − I twice per step and multiplying by it costs less than applying every factor."""
        (m, _, b, _), out = self.skew.shape, self.shape[0]
        by_factors = MOVED * b * m * out  # for one position
        return m > 1 and 2 * out * by_factors + tokens * out**2 < tokens * by_factors

    def _by_factors(self, op: Op, y0: Tensor) -> Tensor:
        channels = y0.reshape(-1, op.out, 1) if op.channels_last else y0.flatten(2)  # (tokens, out, 1), (n, out, h·w)
        return self._changed(channels).reshape(y0.shape)

    def _by_matrix(self, op: Op, y0: Tensor) -> Tensor:
        """The change of y₀ by one matrix `(out, out)`, which backward rebuilds."""

        def build(skew: Tensor, *gain: Tensor) -> Tensor:
            same = replace(self, skew=skew, gain=gain[0] if gain else None)
            return same._changed(torch.eye(op.out, dtype=skew.dtype, device=skew.device)[None])[0].view(across.shape)

        across = Op((op.out, op.out) if op.channels_last else (op.out, op.out, 1, 1))
        factors = (self.skew,) if self.gain is None else (self.skew, self.gain)
        return build_and_apply(across, build, y0, *factors)

    def scaled(self, strength: float) -> Rotation:
        return replace(self, strength=self.strength * strength)

    def largest(self) -> float:
        """The bound for its gain and shift; a rotation preserves norms."""
        return max((max_abs(part) for part in (self.gain, self.shift) if part is not None), default=0.0)


def cayley_minus_identity(skew: Tensor) -> Tensor:
    """R − I = 2 (I − Q)⁻¹ Q of the Cayley transform R = (I + Q)(I − Q)⁻¹, `(…, b, b)`, at least fp32; 0 at Q = 0."""
    Q = at_least_fp32(skew)
    identity = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
    return torch.linalg.solve_ex(identity - Q, 2 * Q).result  # never singular, and checking would wait for the device


def _first_cayley(skew: Tensor) -> Tensor:
    return cayley_minus_identity(skew)[0]


def divisors(width: int, largest: int) -> list[int]:
    """The divisors of a width up to `largest`, in order."""
    return [b for b in range(1, min(width, largest) + 1) if width % b == 0]


def butterfly_block(width: int, largest: int) -> int:
    """The largest even block size up to `largest` that splits a width into 2ⁿ blocks; if none, the smallest one.

    Raises ValueError for an odd width.
    """
    fits = [b for b in divisors(width, width) if b % 2 == 0 and (width // b).bit_count() == 1]
    if not fits:
        raise ValueError(f"a butterfly cannot span {width} channels, an odd number")
    return max((b for b in fits if b <= largest), default=fits[0])
