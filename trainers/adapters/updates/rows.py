"""Output rows of another change: one layer's share of a change of several joined layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.adapters.op import Op
from trainers.adapters.updates.kronecker import Kronecker
from trainers.adapters.updates.tensors import add_onto, full_rank
from trainers.adapters.updates.update import LowRank, Update

Ranges = tuple[tuple[int, int], ...]
"""Pairs of first row and end, in order."""


@dataclass(frozen=True)
class Rows(Update):
    """Rows of a Kronecker product of linear layers; no smaller form exists for some of its rows."""

    whole: Kronecker
    ranges: Ranges

    shift = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(end - start for start, end in self.ranges), *self.whole.shape[1:])

    @property
    def rank_bound(self) -> int:
        return min(self.whole.rank_bound, full_rank(self.shape))

    def dense(self, W: Tensor | None = None) -> Tensor:
        return torch.cat(self._of(self.whole.dense(), 0))

    def apply(self, op: Op, x: Tensor, y0: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        output = self.whole.apply(replace(op, shape=self.whole.shape), x)
        return add_onto(torch.cat(self._of(output, -1), -1), onto)

    def scaled(self, strength: float) -> Rows:
        return replace(self, whole=self.whole.scaled(strength))

    def low_rank(self) -> LowRank | None:
        low = self.whole.low_rank()
        return None if low is None else LowRank(torch.cat(self._of(low.up, 0)), low.down, self.shape)

    def largest(self) -> float:
        return self.whole.largest()

    def _of(self, tensor: Tensor, axis: int) -> list[Tensor]:
        return [tensor.narrow(axis, start, end - start) for start, end in self.ranges]
